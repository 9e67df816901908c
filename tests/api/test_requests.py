"""What is refused before any business rule is asked: keys, forms and fields, each with its own problem and no row."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api.administration import issue_key, revoke_key, set_status
from api.errors import MAX_BODY
from api.keys import new_key
from api.resources import Resources, open_resources
from api.starter import Attempt
from models.messages.common import OperationInput
from models.statuses import OperationKind, PartnerStatus, Scope
from settings import Settings
from telemetry import Tracing
from tests.api.desk import Desk, served

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["code"] == code
    assert found["type"] == f"https://loan-engine.dev/problems/{code}"
    assert found["status"] == status
    assert len(found["trace_id"]) == 32
    assert found["title"]
    assert found["detail"]
    return found


async def test_a_request_without_a_key_is_told_how_to_send_one(desk: Desk) -> None:
    answer = await desk.http.post("/v1/loans", json=desk.borrow_body())
    assert "Bearer" in problem(answer, 401, "api_key_missing")["detail"]
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_mistyped_key_is_told_from_an_unknown_one(desk: Desk) -> None:
    good = desk.partner.key
    mistyped = good[:-1] + ("a" if good[-1] != "a" else "b")
    problem(await desk.post("/v1/loans", desk.borrow_body(), key=mistyped), 401, "api_key_malformed")
    unknown = new_key("acme", "sandbox").text
    problem(await desk.post("/v1/loans", desk.borrow_body(), key=unknown), 401, "api_key_unknown")


async def test_a_live_key_is_refused_by_a_sandbox_and_the_reverse(desk: Desk) -> None:
    live = new_key("acme", "live").text
    problem(await desk.post("/v1/loans", desk.borrow_body(), key=live), 401, "api_key_wrong_mode")
    async with served(desk.settings.model_copy(update={"key_mode": "live"})) as http:
        answer = await http.post("/v1/loans", json=desk.borrow_body(), headers=desk.auth())
    problem(answer, 401, "api_key_wrong_mode")


async def test_revoked_and_expired_keys_are_refused_on_the_next_request(desk: Desk) -> None:
    async with desk.transaction() as session:
        past = datetime.now(UTC) - timedelta(seconds=1)
        expired = await issue_key(session, partner_id="acme", mode="sandbox", expires_at=past)
        await revoke_key(session, desk.partner.key_id)
    problem(await desk.borrow(), 401, "api_key_revoked")
    problem(await desk.post("/v1/loans", desk.borrow_body(), key=expired.key), 401, "api_key_revoked")
    assert await desk.operations() == 0


async def test_a_suspended_partner_is_refused_until_it_is_active_again(desk: Desk) -> None:
    async with desk.transaction() as session:
        await set_status(session, "acme", PartnerStatus.SUSPENDED)
    problem(await desk.borrow(), 403, "partner_not_active")
    problem(await desk.get("/v1/grants"), 403, "partner_not_active")
    async with desk.transaction() as session:
        await set_status(session, "acme", PartnerStatus.ACTIVE)
    assert (await desk.get("/v1/grants")).status_code == 200


async def test_each_route_asks_for_its_scope(desk: Desk) -> None:
    async with desk.transaction() as session:
        reader = await issue_key(session, partner_id="acme", mode="sandbox", scopes=[Scope.READ])
        borrower = await issue_key(session, partner_id="acme", mode="sandbox", scopes=[Scope.BORROW])
    found = problem(await desk.post("/v1/loans", desk.borrow_body(), key=reader.key), 403, "scope_missing")
    assert found["figures"] == {"scope": "borrow"}
    repayment = await desk.post("/v1/loans/x/repayments", {"payoff": True}, key=borrower.key, Idempotency_Key="k")
    assert problem(repayment, 403, "scope_missing")["figures"] == {"scope": "repay"}
    problem(await desk.get("/v1/loans/x", key=borrower.key), 403, "scope_missing")


MALFORMED_AMOUNTS = [
    "0",
    "-1",
    "1.5",
    "1e6",
    "",
    " 1",
    "+1",
    "01",
    str(10**30),
    str(10**18),
    "abc",
    5000,
    1.5,
    None,
    True,
    [],
]


@pytest.mark.parametrize("amount", MALFORMED_AMOUNTS, ids=repr)
async def test_each_malformed_amount_is_told_what_an_amount_is(desk: Desk, amount: object) -> None:
    found = problem(await desk.borrow(amount=amount), 422, "invalid_request")
    assert [error["pointer"] for error in found["errors"]] == ["/amount"]
    assert "base units" in found["errors"][0]["detail"]
    assert await desk.operations() == 0


WRONG_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"ammount": "1"}, "/ammount"),
    ({"oaid_token_id": "-1"}, "/oaid_token_id"),
    ({"oaid_token_id": str(2**256)}, "/oaid_token_id"),
    ({"oaid_token_id": True}, "/oaid_token_id"),
    ({"user_wallet": "0x12"}, "/user_wallet"),
    ({"user_wallet": "0x70997970C51812dc3A010C7d01b50e0d17dc79c8"}, "/user_wallet"),
    ({"partner_loan_id": "a/b"}, "/partner_loan_id"),
    ({"partner_loan_id": "a~b"}, "/partner_loan_id"),
    ({"partner_loan_id": ""}, "/partner_loan_id"),
    ({"loan_duration": 0}, "/loan_duration"),
    ({"loan_duration": "30"}, "/loan_duration"),
    ({"loan_duration": 30.5}, "/loan_duration"),
    ({"number_of_installments": 0}, "/number_of_installments"),
    ({"number_of_installments": 10, "loan_duration": 9}, ""),
    ({"metadata": {"a": 1}}, "/metadata/a"),
    ({"metadata": {"a": "x" * 501}}, "/metadata/a"),
]


@pytest.mark.parametrize(("changes", "pointer"), WRONG_FIELDS, ids=repr)
async def test_each_wrong_field_is_pointed_at(desk: Desk, changes: dict[str, Any], pointer: str) -> None:
    found = problem(await desk.borrow(**changes), 422, "invalid_request")
    assert [error["pointer"] for error in found["errors"]] == [pointer]
    assert await desk.operations() == 0


async def test_all_faults_of_a_request_are_told_at_once(desk: Desk) -> None:
    body = desk.borrow_body(amount="0", user_wallet="x")
    del body["oaid_token_id"]
    found = problem(await desk.post("/v1/loans", body, Idempotency_Key="a b"), 422, "invalid_request")
    named = {error.get("pointer") or error.get("header") for error in found["errors"]}
    assert named == {"/amount", "/user_wallet", "/oaid_token_id", "Idempotency-Key"}


async def test_a_body_of_nothing_but_unknown_members_is_not_repeated(desk: Desk) -> None:
    """Twenty faults are told, and how many there are; long names are cut, of a path, too."""
    long = "n" * 5_000
    body = desk.borrow_body() | {f"{at}{'' if at else long}": 1 for at in range(3_000)}
    answer = await desk.post("/v1/loans", body)
    found = problem(answer, 422, "invalid_request")
    assert len(found["errors"]) == 20
    assert found["detail"].startswith("3000 part(s) of the request are not valid; see errors, which names the first 20")
    assert found["errors"][0]["pointer"] == f"/0{'n' * 198}\N{HORIZONTAL ELLIPSIS}"
    assert len(answer.content) < 4_000
    nowhere = await desk.get(f"/v1/{long}")
    problem(nowhere, 404, "route_not_found")
    assert len(nowhere.content) < 1_000


REPAYMENTS: list[tuple[dict[str, Any], str]] = [
    ({}, ""),
    ({"amount": "1", "payoff": True}, ""),
    ({"payoff": False}, ""),
    ({"amount": "0"}, "/amount"),
    ({"payoff": "yes"}, "/payoff"),
    ({"payoff": True, "transfer_log_index": 0}, ""),
    ({"payoff": True, "transfer_tx_hash": "0x12"}, "/transfer_tx_hash"),
    ({"payoff": True, "transfer_tx_hash": "0x" + "ab" * 32, "transfer_log_index": -1}, "/transfer_log_index"),
    ({"payoff": True, "memo": "x"}, "/memo"),
]


@pytest.mark.parametrize(("body", "pointer"), REPAYMENTS, ids=repr)
async def test_each_malformed_repayment_is_pointed_at(desk: Desk, body: dict[str, Any], pointer: str) -> None:
    found = problem(await desk.post("/v1/loans/x/repayments", body, Idempotency_Key="k"), 422, "invalid_request")
    assert [error["pointer"] for error in found["errors"]] == [pointer]


async def test_a_repayment_needs_an_idempotency_key(desk: Desk) -> None:
    found = problem(await desk.post("/v1/loans/x/repayments", {"payoff": True}), 422, "invalid_request")
    assert found["errors"] == [{"detail": "Must be given.", "header": "Idempotency-Key"}]


NO_JSON: list[tuple[bytes, str]] = [
    (b"{", "malformed_json"),
    (b"", "malformed_json"),
    (b'{"a": NaN}', "malformed_json"),
    (b'{"a": 1, "a": 2}', "malformed_json"),
    (b'{"a": "\\ud800"}', "malformed_json"),
    (b'{"a": "\\u0000"}', "malformed_json"),
    (b'{"a": "\xff"}', "malformed_json"),
    (b'{"a": 1e999}', "malformed_json"),
    (b"[" * MAX_BODY, "malformed_json"),
    (b'{"a": ' + b"9" * 5_000 + b"}", "malformed_json"),
    (b"[]", "invalid_request"),
    (b'"text"', "invalid_request"),
    (b"null", "invalid_request"),
]


@pytest.mark.parametrize(("raw", "code"), NO_JSON, ids=lambda value: repr(value)[:24])
async def test_what_is_not_an_object_of_json_is_refused(desk: Desk, raw: bytes, code: str) -> None:
    headers = {**desk.auth(), "Content-Type": "application/json"}
    answer = await desk.http.post("/v1/loans", content=raw, headers=headers)
    problem(answer, 400 if code == "malformed_json" else 422, code)


async def test_a_body_that_is_not_declared_as_json_is_refused(desk: Desk) -> None:
    answer = await desk.http.post("/v1/loans", data={"amount": "1"}, headers=desk.auth())
    problem(answer, 415, "unsupported_media_type")


async def test_a_body_that_is_too_large_is_refused_announced_or_not(desk: Desk) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 1_000

    headers = {**desk.auth(), "Content-Type": "application/json"}
    problem(await desk.http.post("/v1/loans", content=b" " * 100_000, headers=headers), 413, "payload_too_large")
    problem(await desk.http.post("/v1/loans", content=chunks(), headers=headers), 413, "payload_too_large")


async def test_unknown_routes_and_methods_are_problems_too(desk: Desk) -> None:
    problem(await desk.http.get("/nowhere"), 404, "route_not_found")
    problem(await desk.http.get("/v1/loans/x/"), 404, "route_not_found")
    answer = await desk.http.patch("/v1/loans")
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, POST"


async def test_ids_that_cannot_be_are_refused_before_they_reach_the_database(desk: Desk) -> None:
    problem(await desk.get("/v1/loans/%00"), 422, "invalid_request")
    problem(await desk.get("/v1/operations/borrow:acme:%00"), 422, "invalid_request")
    problem(await desk.get("/v1/operations/x?wait=31"), 422, "invalid_request")
    problem(await desk.get(f"/v1/credit-lines/{2**256}"), 422, "invalid_request")
    problem(await desk.get("/v1/grants?cursor=%00"), 422, "invalid_request")


async def test_the_callers_trace_is_continued(desk: Desk) -> None:
    headers = {**desk.auth(), "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    answer = await desk.http.get("/v1/loans/x", headers=headers)
    assert problem(answer, 404, "loan_not_found")["trace_id"] == TRACE
    answer = await desk.http.get(
        "/v1/loans/x", headers={**headers, "traceparent": "00-" + "0" * 32 + "-00f067aa0ba902b7-01"}
    )
    assert problem(answer, 404, "loan_not_found")["trace_id"] not in (TRACE, "0" * 32)


class _Broken:
    async def decide(self, kind: OperationKind, start: OperationInput) -> Attempt:
        raise ZeroDivisionError(f"a bug in {kind} {start.operation_id}")

    async def check(self) -> None:
        raise ZeroDivisionError


async def test_a_bug_leaves_as_a_problem_that_tells_nothing_of_the_inside(desk: Desk) -> None:
    async def broken(settings: Settings, stack: AsyncExitStack, tracing: Tracing) -> Resources:
        return replace(await open_resources(settings, stack, tracing), starter=_Broken())

    async with served(desk.settings, broken) as http:
        answer = await http.post("/v1/loans", json=desk.borrow_body(), headers=desk.auth())
    found = problem(answer, 500, "internal_error")
    assert "bug" not in answer.text
    assert found["trace_id"] in found["detail"] or "trace_id" in found["detail"]
