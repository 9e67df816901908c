"""What the engine needs is away: 503 with Retry-After, nothing half done, and the same request works later."""

import asyncio
import socket
from datetime import timedelta

import httpx
from pydantic import SecretStr

from api.starter import LOOK, SLACK, NotReached, TemporalStarter
from models.messages.common import OperationInput
from models.statuses import OperationKind, OperationState
from tests.api.desk import Desk, served
from tests.api.test_requests import problem

NOWHERE = "127.0.0.1:1"


def away(answer: httpx.Response, code: str) -> None:
    problem(answer, 503, code)
    assert answer.headers["retry-after"] == "5"


async def test_with_temporal_away_a_borrow_is_recorded_only_and_works_when_it_is_back(working_desk: Desk) -> None:
    desk = working_desk
    await desk.grant()
    body = desk.borrow_body()
    async with served(desk.settings.model_copy(update={"temporal_address": NOWHERE})) as http:
        away(await http.post("/v1/loans", json=body, headers=desk.auth()), "workflows_unavailable")
        away(await http.post("/v1/loans", json=body, headers=desk.auth()), "workflows_unavailable")
        assert (await http.get("/v1/grants", headers=desk.auth())).status_code == 200
    row = await desk.operation(f"borrow:acme:loan~{body['partner_loan_id']}")
    assert (row.state, row.decision, await desk.operations()) == (OperationState.RECEIVED, None, 1)
    assert (await desk.get(f"/v1/loans/{body['partner_loan_id']}")).status_code == 404
    answer = await desk.post("/v1/loans", body)
    assert (answer.status_code, answer.json()["decision"]) == (202, "accepted")
    assert answer.json()["loan_id"] == row.loan_id


async def test_a_server_that_takes_connections_and_says_nothing_is_away_too(desk: Desk) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        async with served(desk.settings.model_copy(update={"temporal_address": address})) as http:
            away(await http.post("/v1/loans", json=desk.borrow_body(), headers=desk.auth()), "workflows_unavailable")


async def test_a_silent_server_costs_one_wait_and_not_one_for_each_who_asks() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        starter = TemporalStarter(f"127.0.0.1:{silent.getsockname()[1]}", "none", timedelta(seconds=4))
        asked = [OperationInput(operation_id=f"borrow:acme:{number}") for number in range(20)]
        async with asyncio.timeout((2 * (LOOK + SLACK)).total_seconds()):
            told = await asyncio.gather(*(starter.decide(OperationKind.BORROW, each) for each in asked))
    assert {type(each) for each in told} == {NotReached}


async def test_with_the_database_away_every_keyed_route_says_so(desk: Desk) -> None:
    nowhere = SecretStr(f"postgresql+psycopg://postgres@{NOWHERE}/nothing")
    async with served(desk.settings.model_copy(update={"database_url": nowhere})) as http:
        away(await http.post("/v1/loans", json=desk.borrow_body(), headers=desk.auth()), "database_unavailable")
        away(await http.get("/v1/operations/borrow:acme:x?wait=5", headers=desk.auth()), "database_unavailable")
    assert await desk.operations() == 0


async def test_with_the_node_away_reads_of_the_chain_say_so_and_others_work(desk: Desk) -> None:
    async with served(desk.settings.model_copy(update={"rpc_url": SecretStr(f"http://{NOWHERE}")})) as http:
        away(await http.get("/v1/credit-lines/1"), "chain_unavailable")
        away(await http.get("/v1/positions/1"), "chain_unavailable")
        grant = await desk.signed_grant()
        away(await http.post("/v1/grants", json=grant, headers=desk.auth()), "chain_unavailable")
        assert (await http.get("/v1/grants", headers=desk.auth())).json()["grants"] == []


async def test_readiness_names_each_part_that_is_away(desk: Desk) -> None:
    assert (await desk.http.get("/v1/health/live")).json() == {"status": "ok"}
    ready = await desk.http.get("/v1/health/ready")
    assert ready.json() == {"status": "ok", "checks": {"postgresql": "ok", "temporal": "ok", "rpc": "ok"}}
    nowhere = {
        "database_url": SecretStr(f"postgresql+psycopg://postgres@{NOWHERE}/nothing"),
        "temporal_address": NOWHERE,
        "rpc_url": SecretStr(f"http://{NOWHERE}"),
    }
    for name, setting in (("postgresql", "database_url"), ("temporal", "temporal_address"), ("rpc", "rpc_url")):
        async with served(desk.settings.model_copy(update={setting: nowhere[setting]})) as http:
            answer = await http.get("/v1/health/ready")
            away(answer, "not_ready")
            assert answer.json()["figures"] == {**ready.json()["checks"], name: "away"}
