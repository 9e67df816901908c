"""The request log: what is kept of each call, what never is, and that no answer leaves without its row."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from psycopg import AsyncConnection
from sqlalchemy import select, text, update
from starlette.types import Message, Scope

from api.administration import revoke_key
from api.app import create_app
from api.keys import new_key
from api.request_rows import BODY_BYTES
from models.ids import new_id
from models.redaction import GONE
from models.statuses import PartnerStatus
from models.tables.partners import Partner
from models.tables.requests import RequestLog
from tests.api.desk import Desk
from tests.api.test_requests import problem

PREFIX_LENGTH = len("pk_acme_sandbox_") + 4


async def rows(desk: Desk) -> Sequence[RequestLog]:
    async with desk.transaction() as session:
        return (await session.scalars(select(RequestLog).order_by(RequestLog.at, RequestLog.id))).all()


async def newest(desk: Desk) -> RequestLog:
    return (await rows(desk))[-1]


def shown(key: str) -> str:
    return f"{key[:PREFIX_LENGTH]}{GONE}"


async def test_an_authenticated_call_is_kept_with_whose_it_is_and_what_became_of_it(desk: Desk) -> None:
    """Partner, key, route, status, addresses and bodies of a grant are in its row."""
    answer = await desk.grant()
    assert answer.status_code == 201, answer.text
    row = await newest(desk)
    assert (row.partner_id, row.key_prefix) == ("acme", desk.partner.key[:PREFIX_LENGTH])
    assert (row.method, row.route, row.path, row.status, row.code) == ("POST", "/v1/grants", "/v1/grants", 201, None)
    assert row.api_key_id is not None
    assert (row.user_wallet, row.oaid_token_id) == (desk.user, desk.world.line.credit_line_id)
    assert (row.address, row.user_agent) == ("127.0.0.1", answer.request.headers["user-agent"])
    assert row.duration_us > 0
    assert row.request_body is not None
    assert json.loads(row.request_body) == {**json.loads(answer.request.content), "signature": GONE}
    assert row.response_body == answer.text


async def test_a_borrow_is_found_by_everything_that_it_names(working_desk: Desk) -> None:
    """Operation, loan, the partner's name of it, wallet, line, key and trace of a refused and of an accepted borrow are kept."""
    desk = working_desk
    refused = await desk.borrow()
    row = await newest(desk)
    assert (row.status, row.code) == (422, "grant_required")
    assert (row.operation_id, row.trace_id) == (refused.json()["operation_id"], refused.json()["trace_id"])
    await desk.grant()
    body = desk.borrow_body()
    answer = await desk.post("/v1/loans?a=b&c=%20", body, Idempotency_Key="k-1")
    row = await newest(desk)
    assert (row.operation_id, row.loan_id) == (answer.json()["operation_id"], answer.json()["loan_id"])
    assert (row.partner_loan_id, row.idempotency_key, row.query) == (body["partner_loan_id"], "k-1", "a=b&c=%20")
    assert (row.user_wallet, row.oaid_token_id) == (desk.user, int(body["oaid_token_id"]))
    operation_id = answer.json()["operation_id"]
    await desk.get(f"/v1/operations/{operation_id}")
    row = await newest(desk)
    assert (row.route, row.operation_id) == ("/v1/operations/{operation_id}", operation_id)
    assert row.path == f"/v1/operations/{operation_id}"
    assert row.partner_loan_id == body["partner_loan_id"]


async def test_each_refusal_is_one_row_with_its_code(desk: Desk) -> None:
    """Business rules, unknown things, invalid fields, unreadable bodies, unknown routes and wrong methods are kept alike."""
    json_headers = {**desk.auth(), "content-type": "application/json"}
    await desk.get("/v1/loans/none")
    await desk.post("/v1/loans", {"amount": 1})
    await desk.http.post("/v1/loans", content=b"{", headers=json_headers)
    await desk.http.post("/v1/loans", content=b"x" * 70_000, headers=json_headers)
    await desk.get("/v1/nowhere")
    await desk.http.put("/v1/loans", headers=desk.auth())
    found = [(row.status, row.code, row.partner_id, row.key_prefix) for row in await rows(desk)]
    known = ("acme", desk.partner.key[:PREFIX_LENGTH])
    assert found == [
        (404, "loan_not_found", *known),
        (422, "invalid_request", *known),
        (400, "malformed_json", *known),
        (413, "payload_too_large", *known),
        (404, "route_not_found", *known),
        (405, "method_not_allowed", *known),
    ]


async def test_each_failed_authentication_is_a_row(desk: Desk) -> None:
    """No key, a mistyped one, one of another deployment, an unknown, a revoked one, a suspended partner's: each is kept."""
    other, live = new_key("acme", "sandbox").text, new_key("acme", "live").text
    await desk.http.get("/v1/grants")
    await desk.http.get("/v1/grants", headers={"Authorization": "Basic YWRtaW46YWRtaW4="})
    await desk.get("/v1/grants", key=desk.partner.key[:-1])
    await desk.get("/v1/grants", key=live)
    await desk.get("/v1/grants", key=other)
    async with desk.transaction() as session:
        await session.execute(update(Partner).values(status=PartnerStatus.SUSPENDED))
    await desk.get("/v1/grants")
    async with desk.transaction() as session:
        await revoke_key(session, desk.partner.key_id)
    await desk.get("/v1/grants")
    mine = ("acme", desk.partner.key[:PREFIX_LENGTH])
    assert [(row.code, row.status, row.partner_id, row.key_prefix) for row in await rows(desk)] == [
        ("api_key_missing", 401, None, None),
        ("api_key_missing", 401, None, None),
        ("api_key_malformed", 401, None, None),
        ("api_key_wrong_mode", 401, None, live[: PREFIX_LENGTH - len("sandbox") + len("live")]),
        ("api_key_unknown", 401, None, other[:PREFIX_LENGTH]),
        ("partner_not_active", 403, *mine),
        ("api_key_revoked", 401, *mine),
    ]


async def test_nobodys_calls_are_not_kept(desk: Desk) -> None:
    """Public reads, health, documents and strangers' wrong paths leave no row."""
    for path in (
        "/v1/health/live",
        "/v1/health/ready",
        "/v1/credit-lines/1",
        "/v1/positions/99",
        "/openapi.json",
        "/x",
    ):
        await desk.http.get(path)
    assert await rows(desk) == []


async def test_the_answer_to_a_bug_is_kept(desk: Desk) -> None:
    """A 500 under a key has its row, although no route wrote it."""
    app = create_app(desk.settings)
    break_routes(app)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://engine") as http:
            answer = await http.delete(f"/v1/grants/{new_id('grant')}", headers=desk.auth())
    found = problem(answer, 500, "internal_error")
    row = await newest(desk)
    assert (row.status, row.code, row.trace_id) == (500, "internal_error", found["trace_id"])
    assert (row.partner_id, row.route) == ("acme", "/v1/grants/{grant_id}")


def break_routes(app: FastAPI) -> None:
    """Whatever needs a transaction fails as a bug does."""

    def broken() -> Any:
        raise RuntimeError(f"a bug that quotes {new_key('acme', 'sandbox').text}")

    @app.middleware("http")
    async def break_it(request: Any, call_next: Any) -> Any:
        resources = request.app.state.resources
        object.__setattr__(resources, "transaction", broken)
        return await call_next(request)


@pytest.mark.parametrize("escaped", [False, True])
async def test_no_part_of_a_row_holds_a_key(desk: Desk, escaped: bool) -> None:
    """Keys and webhook secrets in path, query, headers, names and values of fields, escaped or not, are their prefix."""
    mine, admins = desk.partner.key, "ak_sandbox_" + "b2C3" * 9 + "zz"
    hook = "whsec_" + "Zm9v" * 8
    spelt = mine.replace("_", "%5F") if escaped else mine
    body = json.dumps({"amount": f"x{mine}y", mine: hook, "secret": ["plain words"], "metadata": {"api_key": "short"}})
    if escaped:
        body = body.replace("pk_", "\\u0070k\\u005f").replace("whsec_", "\\u0077hsec_")
    answer = await desk.http.post(
        f"/v1/loans/{spelt}/repayments?q={spelt}&secret=plain&x={admins}",
        content=body,
        headers={
            **desk.auth(),
            "content-type": "application/json",
            "user-agent": f"curl {mine}",
            "Idempotency-Key": mine,
        },
    )
    assert answer.status_code == 422
    row = await newest(desk)
    kept = " ".join(str(getattr(row, column.key)) for column in RequestLog.__table__.columns)
    for secret in (mine, mine[PREFIX_LENGTH:], admins[-34:], hook[6:], "plain", "short"):
        assert secret not in kept
        assert secret not in answer.text or secret == "short"
    assert (row.path, row.idempotency_key) == (f"/v1/loans/{shown(mine)}/repayments", shown(mine))
    assert row.query == f"q={shown(mine)}&secret={GONE}&x={admins[:15]}{GONE}"
    assert row.partner_loan_id == shown(mine)


async def test_what_is_long_is_cut_and_says_so(desk: Desk) -> None:
    """Of a body its first bytes are kept and its size is told; other texts are cut; a secret at the cut is recognised."""
    key = desk.partner.key
    filler = "x" * (BODY_BYTES - len('{"memo":"') - PREFIX_LENGTH - 8)
    body = f'{{"memo":"{filler}{key}"}}'
    await desk.http.post(
        "/v1/loans",
        content=body,
        headers={**desk.auth(), "content-type": "application/json", "user-agent": "u" * 2_000},
    )
    row = await newest(desk)
    assert row.request_body is not None
    assert row.request_body == f'{{"memo":"{filler}{shown(key)}{GONE} (cut: {len(body)} bytes in all)'
    assert row.user_agent == "u" * 512


@pytest.mark.parametrize(
    "body",
    [b"\x00\xff\xfe{", b'{"user_wallet":"\\u0000","oaid_token_id":"\\ud800"}', b"[" * 60_000, b'{"partner_loan_id":"a\\u0000b"}',
     b'{"oaid_token_id":' + b"9" * 5_000 + b"}", b'{"oaid_token_id":"' + b"9" * 78 + b'"}', b'{"oaid_token_id":true,"user_wallet":[]}'],
)  # fmt: skip
async def test_what_postgresql_cannot_keep_breaks_no_row(desk: Desk, body: bytes) -> None:
    """NUL characters, bytes that are no text, halves of surrogate pairs and absurd numbers are kept in another form."""
    sent = {**desk.auth(), "content-type": "application/json", "user-agent": "\xff\x00"}
    headers = [(name.encode(), value.encode("latin-1")) for name, value in sent.items()]
    answer = await desk.http.post("/v1/loans?a=%00%ff&%ed%a0%80", content=body, headers=headers)
    assert answer.status_code in (400, 422), answer.text
    row = await newest(desk)
    assert (row.status, row.partner_id, row.oaid_token_id, row.user_wallet) == (
        answer.status_code,
        "acme",
        None,
        None,
    )
    assert row.request_body is not None


async def test_the_answer_leaves_after_the_row(desk: Desk) -> None:
    """While the table is locked no byte of the answer leaves; when it is free again, row and answer are there."""
    app = create_app(desk.settings)
    left: list[Message] = []

    async def send(message: Message) -> None:
        left.append(message)

    async with app.router.lifespan_context(app):
        url = desk.settings.database_url.get_secret_value().replace("+psycopg", "")
        async with await AsyncConnection.connect(url) as locker:
            await locker.execute("LOCK TABLE request_log IN ACCESS EXCLUSIVE MODE")
            asking = asyncio.create_task(app(scope_of("/v1/grants", desk.auth()), nothing_more, send))
            await until_waited_for(locker)
            assert left == []
            await locker.rollback()
        await asking
    assert [message.get("status") for message in left] == [200, None]
    assert [row.status for row in await rows(desk)] == [200]


def scope_of(path: str, headers: dict[str, str]) -> Scope:
    sent = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    address = ("127.0.0.1", 1)
    return {
        "type": "http", "method": "GET", "path": path, "query_string": b"", "headers": sent, "client": address, "server": address,
        "scheme": "http", "http_version": "1.1", "root_path": "", "asgi": {"version": "3.0"}, "raw_path": path.encode(),
    }  # fmt: skip


async def nothing_more() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def until_waited_for(locker: AsyncConnection[Any]) -> None:
    """Somebody waits for the lock that this connection holds."""
    waits = "SELECT count(*) FROM pg_locks WHERE relation = 'request_log'::regclass AND NOT granted"
    async with asyncio.timeout(10):
        while (await (await locker.execute(waits)).fetchone()) != (1,):
            pass


async def test_an_answer_whose_row_cannot_be_written_is_503_and_the_request_works_later(working_desk: Desk) -> None:
    """A borrow that was accepted is not told of while the log is away; its repeat is the same operation."""
    desk = working_desk
    await desk.grant()
    body = desk.borrow_body()
    async with desk.transaction() as session:
        await session.execute(text("ALTER TABLE request_log RENAME TO request_log_away"))
        await session.execute(text(REFUSING_LOG))
    answer = await desk.post("/v1/loans", body)
    problem(answer, 503, "database_unavailable")
    assert answer.headers["retry-after"] == "5"
    assert (await desk.operation(f"borrow:acme:loan~{body['partner_loan_id']}")).decision is not None
    problem(await desk.get("/v1/grants", key="nonsense"), 503, "database_unavailable")
    async with desk.transaction() as session:
        await session.execute(text("DROP TABLE request_log; ALTER TABLE request_log_away RENAME TO request_log"))
    again = await desk.post("/v1/loans", body)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (202, "true")
    assert await desk.operations() == 1


REFUSING_LOG = """
CREATE TABLE request_log (LIKE request_log_away INCLUDING DEFAULTS);
CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION USING ERRCODE = '57P03'; END $$;
CREATE TRIGGER away BEFORE INSERT ON request_log FOR EACH ROW EXECUTE FUNCTION away();
"""
"""57P03 is what PostgreSQL says while it starts up or shuts down."""


async def test_a_row_that_finds_no_month_is_kept(desk: Desk) -> None:
    """Where nobody has made the month's partition, the default one takes the row."""
    async with desk.transaction() as session:
        months = await session.scalars(
            text(
                "SELECT inhrelid::regclass::text FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = 'request_log'::regclass AND relkind = 'r' AND relname <> 'request_log_else'"
            )
        )
        for month in list(months):
            await session.execute(text(f"DROP TABLE {month}"))
    assert (await desk.get("/v1/grants")).status_code == 200
    async with desk.transaction() as session:
        assert await session.scalar(text("SELECT count(*) FROM request_log_else")) == 1
