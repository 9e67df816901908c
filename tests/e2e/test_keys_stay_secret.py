"""A key is in nothing that the engine keeps or says: after a full run its tables, logs, histories and answers are read through.

The run is one of a partner whose engineer makes every mistake: keys in paths, queries, bodies, headers and names, of all kinds.
"""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio
from google.protobuf.json_format import MessageToJson
from sqlalchemy import text
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent

from api.administration import issue_key, revoke_key
from api.keys import new_admin_key, new_key
from models.tables.administration import Administrator, AdminKey
from sandbox.engine import API, WORKER
from sandbox.services import Anvil, Temporal
from tests.chain.world import USD
from tests.faults.processes import Running, Site, open_running, start_and_fund

PEPPER = "pepper-that-nobody-may-read"
SEAL = "5e" * 32
DISPLAYED = 34
"""The random end of a key beyond the four letters that may be displayed."""


@dataclass(frozen=True)
class Secrets:
    """Everything that must not be found, in words that a failure may name it by."""

    mine: str
    unknown: str
    live: str
    revoked: str
    admin: str
    issued: str
    signing: str
    webhook: str = "whsec_" + "MfKQ9r8GKYqrTwjUPD8I" * 2

    def needles(self) -> dict[str, bytes]:
        keys = {
            "mine": self.mine,
            "unknown": self.unknown,
            "live": self.live,
            "revoked": self.revoked,
            "issued": self.issued,
        }
        found = {name: key[-DISPLAYED:] for name, key in {**keys, "admin": self.admin}.items()}
        others = {
            "webhook": self.webhook.removeprefix("whsec_"),
            "signing": self.signing,
            "pepper": PEPPER,
            "seal": SEAL,
        }
        return {name: needle.encode() for name, needle in (found | others).items()}

    def found_in(self, where: bytes) -> list[str]:
        return [name for name, needle in self.needles().items() if needle in where]


@dataclass(frozen=True)
class Run:
    running: Running
    secrets: Secrets
    answers: list[httpx.Response]


@pytest_asyncio.fixture
async def running(database_url: str, temporal_server: Temporal, anvil: Anvil, tmp_path: Path) -> AsyncIterator[Running]:
    site = Site(tmp_path, database_url, temporal_server, anvil)
    async with open_running(site, KEY_PEPPER=PEPPER, SEALING_KEY=SEAL) as running:
        await start_and_fund(running, API, WORKER)
        running.engine.partner = await running.engine.new_partner(pepper=running.engine.settings.key_pepper)
        yield running


@pytest_asyncio.fixture
async def run(running: Running) -> Run:
    secrets = await made_secrets(running)
    answers = [*await money_moves(running), *await every_mistake(running, secrets)]
    return Run(running, secrets, answers)


@pytest.fixture
def logs(run: Run, tmp_path: Path) -> dict[str, bytes]:
    """The logs of all processes, the services' included, by their names."""
    found: dict[str, bytes] = {}
    for path in tmp_path.parent.rglob("*.log"):
        found[path.name] = found.get(path.name, b"") + path.read_bytes()
    assert run.answers
    return found


async def test_no_key_is_in_anything_that_is_kept_or_said(run: Run, logs: dict[str, bytes]) -> None:
    """Not in an answer, a table, a log of any process, nor in a workflow's history; and what was looked through is not little."""
    engine = run.running.engine
    for answer in run.answers:
        assert run.secrets.found_in(answer.content) == [], (answer.request.method, answer.request.url)
    rows = 0
    async for table, row in every_row(run.running):
        rows += 1
        assert run.secrets.found_in(row) == [], table
    histories = 0
    async for execution in engine.temporal.list_workflows():
        history = await engine.temporal.get_workflow_handle(execution.id, run_id=execution.run_id).fetch_history()
        assert run.secrets.found_in(execution.id.encode()) == []
        for event in history.events:
            histories += 1
            for form in forms_of(event):
                assert run.secrets.found_in(form) == [], (execution.id, event.event_type)
    for name, log in logs.items():
        assert run.secrets.found_in(log) == [], name
    assert {"api.log", "worker.log", "postgres.log"} <= logs.keys()
    assert (rows > 100, histories > 50, len(run.answers) > 30) == (True, True, True)


async def test_the_search_finds_what_is_there(run: Run) -> None:
    """A key that was put into a table on purpose, as text or as bytes, and a payload of a history, are found."""
    async with run.running.engine.transaction() as session:
        await session.execute(text("UPDATE request_log SET user_agent = :key"), {"key": run.secrets.mine})
        await session.execute(text("CREATE TABLE kept (held bytea)"))
        await session.execute(text("INSERT INTO kept VALUES (:held)"), {"held": run.secrets.webhook.encode()})
    found = {(table, name) async for table, row in every_row(run.running) for name in run.secrets.found_in(row)}
    assert {("request_log", "mine"), ("kept", "webhook")} <= found
    payload = Payload(data=json.dumps({"escaped": run.secrets.mine}).encode())
    event = HistoryEvent()
    event.workflow_execution_started_event_attributes.input.payloads.append(payload)
    stored, _ = forms_of(event)
    assert run.secrets.found_in(stored) == ["mine"]


async def made_secrets(running: Running) -> Secrets:
    engine = running.engine
    admin = new_admin_key("sandbox")
    async with engine.transaction() as session:
        revoked = await issue_key(
            session, partner_id=engine.partner.id, mode="sandbox", pepper=engine.settings.key_pepper
        )
        await revoke_key(session, revoked.key_id)
        session.add(Administrator(id="adm_1", name="Ada"))
        await session.flush()
        hashed = admin.hash(engine.settings.key_pepper)
        session.add(AdminKey(id="akey_1", administrator_id="adm_1", prefix=admin.prefix, secret_hash=hashed))
    path = f"/v1/admin/partners/{engine.partner.id}/keys"
    shown_once = await engine.api.post(path, json={"with_signing_secret": True}, headers=bearer(admin.text))
    assert shown_once.status_code == httpx.codes.CREATED, shown_once.text
    return Secrets(
        issued=shown_once.json()["key"],
        signing=shown_once.json()["signing_secret"],
        mine=engine.partner.issued.key,
        unknown=new_key(engine.partner.id, "sandbox").text,
        live=new_key(engine.partner.id, "live").text,
        revoked=revoked.key,
        admin=admin.text,
    )


async def money_moves(running: Running) -> list[httpx.Response]:
    """A borrow and a repayment, from request to end."""
    engine = running.engine
    borrower = await engine.new_borrower()
    borrow = await engine.borrow(borrower, metadata={"channel": "mobile"})
    assert (await engine.finished(borrow))["outcome"]["status"] == "ACTIVE"
    repayment = await engine.repay(borrower, {"amount": str(1_000 * USD)})
    assert (await engine.finished(repayment))["outcome"]["status"] == "APPLIED"
    return [borrow, repayment]


async def every_mistake(running: Running, secrets: Secrets) -> list[httpx.Response]:
    """A key in every place that a request has; and every key that is not let in."""
    api, mine = running.engine.api, secrets.mine
    answers = [
        await api.get("/v1/grants", headers=bearer(key))
        for key in (
            secrets.unknown,
            secrets.live,
            secrets.revoked,
            secrets.admin,
            mine[:-1],
            mine + "x",
            f"{mine} {mine}",
        )
    ]
    answers.append(await api.get("/v1/grants", auth=("user", mine)))
    answers.append(await api.get("/v1/admin/requests", headers=bearer(mine)))
    answers.append(await api.get("/v1/admin/requests", headers=bearer(secrets.admin)))
    answers += [await api.get(path, headers=bearer(mine)) for path in misplaced_paths(mine)]
    headers = {**bearer(mine), "Content-Type": "application/json", "Idempotency-Key": "k"}
    answers += [
        await api.post(path, content=content, headers=headers)
        for content in misplaced_bodies(running, secrets)
        for path in ("/v1/loans", "/v1/loans/x/repayments", "/v1/grants")
    ]
    body = json.dumps({"payoff": True})
    answers += [
        await api.post("/v1/loans/x/repayments", content=body, headers=headers | {name: mine})
        for name in ("Idempotency-Key", "User-Agent", "traceparent", "Cookie", "X-Api-Key", "Content-Type")
    ]
    for body_ in ({"label": mine}, {"label": secrets.signing}, {"signing_secret": secrets.signing}, {mine: 1}):
        answers.append(
            await api.post(f"/v1/admin/partners/{mine[3:12]}/keys", json=body_, headers=bearer(secrets.admin))
        )
    answers.append(await api.get("/v1/me/requests?limit=200", headers=bearer(mine)))
    answers.append(await api.get("/v1/admin/requests?limit=200", headers=bearer(secrets.admin)))
    assert not [answer for answer in answers if answer.is_server_error]
    return answers


def misplaced_paths(key: str) -> Iterator[str]:
    for text_ in (key, quote(key).replace("_", "%5F"), quote(key).replace("_", "%255F")):
        yield f"/v1/loans/{text_}"
        yield f"/v1/operations/borrow:acme:{text_}"
        yield f"/v1/nowhere/{text_}"
        yield f"/v1/grants?key={text_}"
        yield f"/v1/grants?cursor={text_}&{text_}=1"
        yield f"/v1/me/requests?route={text_}&{text_}=x"
        yield f"/v1/credit-lines/{text_}"


def misplaced_bodies(running: Running, secrets: Secrets) -> Iterator[str]:
    """Bodies that would be taken but for the key in them, and bodies that nobody can read."""
    mine, wallet = secrets.mine, running.engine.chain.wallet
    good = {"oaid_token_id": "1", "user_wallet": wallet, "amount": "1", "partner_loan_id": "x"}
    yield json.dumps(good | {"partner_loan_id": mine})
    yield json.dumps(good | {"metadata": {"note": f"my key is {mine}"}})
    yield json.dumps(good | {"metadata": {"hook": secrets.webhook}})
    yield json.dumps(good | {"metadata": {"signing": secrets.signing}})
    yield json.dumps(good | {"metadata": {mine[:40]: "x"}})
    yield json.dumps(good | {"key": mine, "webhook_secret": secrets.webhook})
    yield json.dumps(good | {mine: secrets.webhook})
    yield json.dumps(good | {"amount": mine, "user_wallet": mine, "oaid_token_id": mine})
    yield json.dumps(good | {"partner_loan_id": mine}).replace("pk_", "\\u0070k\\u005f")
    yield json.dumps(good | {"nested": [{"deep": [mine]}]})
    yield f'{{"partner_loan_id": "{mine}'
    yield f"api_key={mine}&secret={secrets.webhook}"
    yield json.dumps(mine)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def every_row(running: Running) -> AsyncIterator[tuple[str, bytes]]:
    """Every row of every table as text; bytes are shown as hex, so they are read as what they are, too."""
    tables = text("SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace")
    async with running.engine.transaction() as session:
        for table in (await session.scalars(tables)).all():
            for row in await session.scalars(text(f'SELECT each::text FROM "{table}" AS each')):  # noqa: S608 - a name of the catalog
                yield table, row.encode() + b"".join(hex_in(row))


def hex_in(row: str) -> Iterator[bytes]:
    for part in row.split("\\x")[1:]:
        digits = "".join(iter(part.lower().partition('"')[0].partition(",")[0].partition(")")[0].split()))
        if digits and len(digits) % 2 == 0 and set(digits) <= set("0123456789abcdef"):
            yield bytes.fromhex(digits)


def forms_of(event: HistoryEvent) -> tuple[bytes, bytes]:
    """As it is stored, where payloads are plain JSON; and as a person reads it."""
    return event.SerializeToString(), MessageToJson(event).encode()
