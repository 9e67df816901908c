"""The alerts about processes and neighbours, on real processes: each is away, is found as its entry says, and is brought back."""

import socket
from datetime import timedelta

import httpx
from sqlalchemy import make_url

from api.administration import create_administrator, issue_admin_key
from models.tables.partners import Partner
from sandbox.engine import API
from tests.chain.world import USD
from tests.engine import Engine, until
from tests.faults.processes import Running
from tests.faults.test_away import bring_back, what_it_says
from tests.metrics.scraping import scrape
from tests.metrics.test_processes import BACK_SECONDS, LANE, LOANS, Told, told
from tests.runbook.entries import trying
from tests.runbook.states import at_work, figure

__all__ = ["told"]
BEAT_IS_OLD = timedelta(seconds=2).total_seconds()


def places(told: Told) -> dict[str, str]:
    """What the engine's programs, and those of its neighbours, read."""
    processes, settings = told.running.processes, told.running.engine.settings
    database = make_url(settings.database_url.get_secret_value())
    return {
        **processes.variables,
        "TEMPORAL_ADDRESS": settings.temporal_address,
        "TEMPORAL_NAMESPACE": settings.temporal_namespace,
        "PGHOST": str(database.host),
        "PGPORT": str(database.port),
    }


async def says(told: Told, name: str, value: int) -> None:
    async def is_told() -> bool:
        return (await told.figures()).get(name) == value

    await until(is_told, BACK_SECONDS)


async def borrows(running: Running) -> None:
    answer = await running.engine.borrow(await running.engine.new_borrower())
    assert (await running.finishes(answer.json()["operation_id"]))["outcome"]["status"] == "ACTIVE"


async def log_says(told: Told, name: str, event: str) -> None:
    log = told.running.processes.process(name).program.log

    async def is_said() -> bool:
        return bool(what_it_says(log, event))

    await until(is_said)


async def test_temporal_is_away(told: Told) -> None:
    """The API answers 5xx, which are counted, and names what is away; started again, Temporal is healthy and a borrow ends."""
    tried = trying("TemporalUnreachable", "ApiErrors")
    health, ready = "temporal operator cluster health", "curl http://API/v1/health/ready"
    running, where = told.running, places(told)
    borrower = await running.engine.new_borrower()
    host = running.processes.api_url.removeprefix("http://")
    await told.stack.temporal.process.kill()
    await says(told, "loan_engine_temporal_up", 0)
    assert (await running.engine.borrow(borrower)).status_code == httpx.codes.SERVICE_UNAVAILABLE
    counted = {"route": "/v1/loans", "method": "POST", "status": "5xx"}
    assert (await scrape(told.ports[API])).get("loan_engine_http_requests_total", **counted) == 1
    assert "temporal" in (await tried.runs(ready, where, API=host))[1]
    assert (await tried.runs(health, where))[0] != 0
    await told.stack.temporal.process.start()
    await says(told, "loan_engine_temporal_up", 1)
    status, said = await tried.runs(health, where)
    assert (status, "SERVING" in said) == (0, True), said
    await borrows(running)


async def test_postgresql_is_away(told: Told) -> None:
    """The worker's log and `pg_isready` say so; back again, the audit holds, and a borrow ends without any restart."""
    tried = trying("PostgresqlUnreachable")
    running, where = told.running, places(told)
    await told.stack.postgres.process.kill()
    await says(told, "loan_engine_postgresql_up", 0)
    await log_says(told, LOANS, "metrics: rows cannot be read")
    assert (await tried.runs("pg_isready", where))[0] != 0
    await told.stack.postgres.process.start()
    await running.engine.parts.database.dispose()
    assert (await tried.runs("pg_isready", where))[0] == 0
    await says(told, "loan_engine_postgresql_up", 1)
    status, said = await tried.runs("python audit.py", where)
    assert status == 0, said
    await borrows(running)


async def test_the_node_is_away(told: Told) -> None:
    """The lane's log says so and the node does not answer; back again, it tells its block and a borrow ends."""
    tried = trying("NodeUnreachable")
    ask = """curl --json '{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}' "$ENGINE_RPC_URL\""""
    await told.stack.anvil.process.stop()
    await says(told, "loan_engine_node_up", 0)
    await log_says(told, LANE, "chain_not_answering")
    assert (await tried.runs(ask, places(told)))[0] != 0
    await bring_back(told.running, told.stack)
    await says(told, "loan_engine_node_up", 1)
    status, said = await tried.runs(ask, places(told))
    assert (status, '"result":"0x' in said) == (0, True), said
    await borrows(told.running)


async def test_no_lane_works(told: Told) -> None:
    """A lane that is killed beats no more, and legs wait QUEUED; one that is started by the entry's line sends them."""
    tried = trying("LaneNotWorking")
    running = told.running
    await running.processes.kill(LANE)
    await log_says(told, LANE, "term_began")

    async def beat_is_old() -> bool:
        return (await told.figures()).one("loan_engine_lane_beat_age_seconds") > BEAT_IS_OLD

    await until(beat_is_old)
    answer = await running.engine.borrow(await running.engine.new_borrower())
    assert await running.engine.legs(answer.json()["operation_id"]) == [("borrow", 1, "QUEUED")]
    async with tried.starts("python worker.py --role lane", places(told)):
        assert (await running.finishes(answer.json()["operation_id"]))["outcome"]["status"] == "ACTIVE"
    await running.processes.start(LANE)


async def test_a_process_tells_nothing(told: Told) -> None:
    """A lane whose port another has works, and its log says why it tells nothing; with its port free it tells again."""
    tried = trying("MetricsAbsent")
    running, port = told.running, told.ports[LANE]
    await running.processes.stop(LANE)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        await running.processes.start(LANE)
        await log_says(told, LANE, "no metrics: the port cannot be had")
        status, said = await tried.runs("python audit.py", places(told))
        assert status == 0, said
        await borrows(running)
        await running.processes.stop(LANE)
    await running.processes.start(LANE)
    assert (await scrape(port)).get("loan_engine_info", service="worker-lane") == 1


async def test_a_limit_that_is_nearly_used(shared: Engine) -> None:
    """An administrator sees what is used, raises the limit, and what was refused is accepted."""
    tried = trying("LimitNearlyUsed")
    async with at_work(shared) as engine:
        await has_limit(engine, 5_200 * USD)
        await engine.active_loan(await engine.new_borrower())
        used = await figure(engine, "loan_engine_limit_used_base_units", partner=engine.partner.id, limit="total")
        assert used > 0.9 * 5_200 * USD
        refused = await engine.borrow(await engine.new_borrower())
        assert refused.status_code == httpx.codes.UNPROCESSABLE_ENTITY
        async with engine.transaction() as session:
            administrator = await create_administrator(session, "ada")
            key = await issue_admin_key(session, administrator.id, mode="sandbox")
        headers, whom = {"Authorization": f"Bearer {key.key}"}, {"PARTNER": engine.partner.id}
        seen = await tried.asks(engine.api, "GET /v1/admin/partners/PARTNER", headers, **whom)
        assert seen.json()["usage"]["outstanding"] == str(5_000 * USD), seen.text
        raised = {"total_borrow_limit": str(50_000 * USD)}
        changed = await tried.asks(engine.api, "PATCH /v1/admin/partners/PARTNER", headers, raised, **whom)
        assert changed.is_success, changed.text
        await engine.active_loan(await engine.new_borrower())
        await engine.assert_sound()


async def has_limit(engine: Engine, limit: int) -> None:
    async with engine.transaction() as session:
        partner = await session.get_one(Partner, engine.partner.id)
        partner.total_borrow_limit = limit
