"""A request is one operation, for ever: repeats get its answer, other requests under its key a conflict."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from api.administration import issue_key, revoke_key
from api.idempotency import fingerprint
from models.statuses import DecisionKind, OperationState
from models.tables.operations import Operation
from tests.api.desk import USD, Desk, new_partner, served, working
from tests.api.test_requests import problem

REPLAYED = "idempotency-replayed"


def same_answer(first: httpx.Response, second: httpx.Response) -> None:
    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert REPLAYED not in first.headers
    assert second.headers[REPLAYED] == "true"


def test_the_fingerprint_ignores_the_order_of_keys_and_nothing_else() -> None:
    assert fingerprint("POST", {}, {"a": 1, "b": "x"}) == fingerprint("POST", {}, {"b": "x", "a": 1})
    others: list[tuple[dict[str, str], dict[str, Any]]] = [
        ({}, {"a": "1", "b": "x"}),
        ({}, {"a": 1, "b": "x", "c": None}),
        ({"partner_loan_id": "y"}, {"a": 1, "b": "x"}),
        ({}, {"a": True, "b": "x"}),
    ]
    assert (
        len({fingerprint("POST", path, body) for path, body in others} | {fingerprint("POST", {}, {"a": 1, "b": "x"})})
        == 5
    )


async def test_an_accepted_borrow_is_answered_with_its_quote_and_again_when_repeated(working_desk: Desk) -> None:
    desk = working_desk
    assert (await desk.grant()).status_code == 201
    body = desk.borrow_body()
    first = await desk.post("/v1/loans", body)
    assert first.status_code == 202, first.text
    found = first.json()
    assert found["decision"] == "accepted"
    assert found["quote"] == {"principal": "5000000000", "fee": "25000000", "payout": "4975000000"}
    assert found["operation_id"] == f"borrow:acme:loan~{body['partner_loan_id']}"
    assert first.headers["location"] == f"/v1/operations/{found['operation_id']}"
    same_answer(first, await desk.post("/v1/loans", body))
    shuffled = dict(reversed(body.items()))
    same_answer(first, await desk.post("/v1/loans", shuffled))
    assert await desk.operations() == 1


async def test_a_decided_operation_is_answered_without_temporal(working_desk: Desk) -> None:
    desk = working_desk
    await desk.grant()
    body = desk.borrow_body()
    first = await desk.post("/v1/loans", body)
    refused = await desk.post("/v1/loans", desk.borrow_body(amount=str(11_000 * USD)))
    away = desk.settings.model_copy(update={"temporal_address": "127.0.0.1:1"})
    async with served(away) as http:
        same_answer(first, await http.post("/v1/loans", json=body, headers=desk.auth()))
        again = desk.borrow_body(amount=str(11_000 * USD), partner_loan_id=desk.names[-1])
        same_answer(refused, await http.post("/v1/loans", json=again, headers=desk.auth()))


async def test_a_refusal_names_its_operation_and_is_repeated_word_for_word(working_desk: Desk) -> None:
    desk = working_desk
    body = desk.borrow_body()
    first = await desk.post("/v1/loans", body)
    found = problem(first, 422, "grant_required")
    assert found["operation_id"] == f"borrow:acme:loan~{body['partner_loan_id']}"
    same_answer(first, await desk.post("/v1/loans", body))
    row = await desk.operation(found["operation_id"])
    assert (row.state, row.decision) == (OperationState.DONE, DecisionKind.REFUSED)
    assert row.trace_id == found["trace_id"]


@pytest.mark.parametrize(
    "changes", [{"amount": "1"}, {"loan_duration": 2_592_000}, {"metadata": {"a": "b"}, "amount": "2"}]
)
async def test_another_body_is_a_conflict_before_and_after_the_decision(desk: Desk, changes: dict[str, Any]) -> None:
    body = desk.borrow_body(amount=str(50_000 * USD))
    waiting = asyncio.create_task(desk.post("/v1/loans", body))
    await _until_recorded(desk)
    named = ", ".join(sorted(changes))
    before = problem(await desk.post("/v1/loans", {**body, **changes}), 409, "idempotency_key_reused")
    assert before["figures"] == {"fields": named}
    async with working(desk.settings):
        problem(await waiting, 422, "grant_required")
    after = problem(await desk.post("/v1/loans", {**body, **changes}), 409, "idempotency_key_reused")
    assert after["figures"] == {"fields": named}
    assert after["operation_id"] == before["operation_id"]


async def test_a_repayment_of_another_loan_under_the_same_key_is_a_conflict(working_desk: Desk) -> None:
    desk = working_desk
    first = await desk.post("/v1/loans/one/repayments", {"payoff": True}, Idempotency_Key="k")
    assert problem(first, 404, "loan_not_found")["operation_id"] == "repay:acme:k"
    same_answer(first, await desk.post("/v1/loans/one/repayments", {"payoff": True}, Idempotency_Key="k"))
    other = await desk.post("/v1/loans/two/repayments", {"payoff": True}, Idempotency_Key="k")
    assert problem(other, 409, "idempotency_key_reused")["figures"] == {"fields": "partner_loan_id (path)"}


async def test_a_key_means_one_thing_to_a_partner_and_another_to_the_next(working_desk: Desk) -> None:
    desk = working_desk
    other = await new_partner(desk.transaction, "zeta")
    body = desk.borrow_body()
    first = await desk.post("/v1/loans", body, Idempotency_Key="same")
    second = await desk.post("/v1/loans", {**body, "amount": "7"}, key=other.key, Idempotency_Key="same")
    assert problem(first, 422, "grant_required")["operation_id"] == "borrow:acme:same"
    assert problem(second, 422, "grant_required")["operation_id"] == "borrow:zeta:same"


async def test_two_hundred_equal_borrows_at_once_are_one_operation_and_equal_answers(working_desk: Desk) -> None:
    desk = working_desk
    await desk.grant()
    body = desk.borrow_body()
    began = time.monotonic()
    answers = await asyncio.gather(*(desk.post("/v1/loans", body) for _ in range(200)))
    took = time.monotonic() - began
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].json()["decision"] == "accepted"
    assert sum(REPLAYED not in answer.headers for answer in answers) == 1
    assert await desk.operations() == 1
    assert took < 5, took


async def test_without_a_worker_the_answer_is_pending_and_the_decision_comes_later(desk: Desk) -> None:
    body = desk.borrow_body()
    answer = await desk.post("/v1/loans", body)
    assert answer.status_code == 202
    assert answer.json() == {
        "operation_id": f"borrow:acme:loan~{body['partner_loan_id']}",
        "loan_id": answer.json()["loan_id"],
        "decision": "pending",
    }
    async with working(desk.settings):
        done = await desk.get(f"{answer.headers['location']}?wait=20")
    assert done.json()["state"] == "DONE"
    assert done.json()["problem"]["code"] == "grant_required"


async def test_a_request_that_was_given_up_is_started_by_its_repeat(working_desk: Desk) -> None:
    desk = working_desk
    body = desk.borrow_body()
    async with served(desk.settings.model_copy(update={"temporal_address": "127.0.0.1:1"})) as http:
        problem(await http.post("/v1/loans", json=body, headers=desk.auth()), 503, "workflows_unavailable")
    operation_id = f"borrow:acme:loan~{body['partner_loan_id']}"
    async with desk.transaction() as session:
        given_up = update(Operation).where(Operation.id == operation_id).values(state=OperationState.NOT_STARTED)
        await session.execute(given_up)
    assert (await desk.get(f"/v1/operations/{operation_id}")).json()["step"] == "not_started"
    problem(await desk.post("/v1/loans", body), 422, "grant_required")


async def test_a_repeat_with_a_new_key_counts_where_the_first_was_revoked_meanwhile(working_desk: Desk) -> None:
    desk = working_desk
    body = desk.borrow_body()
    async with served(desk.settings.model_copy(update={"temporal_address": "127.0.0.1:1"})) as http:
        problem(await http.post("/v1/loans", json=body, headers=desk.auth()), 503, "workflows_unavailable")
    async with desk.transaction() as session:
        fresh = await issue_key(session, partner_id="acme", mode="sandbox")
        await revoke_key(session, desk.partner.key_id)
    problem(await desk.post("/v1/loans", body, key=fresh.key), 422, "grant_required")


async def test_a_repeat_renews_the_time_of_receipt_so_that_the_sweep_does_not_give_it_up(desk: Desk) -> None:
    body = desk.borrow_body()
    operation_id = f"borrow:acme:loan~{body['partner_loan_id']}"
    long_ago = datetime.now(UTC) - timedelta(minutes=9)
    async with served(desk.settings.model_copy(update={"temporal_address": "127.0.0.1:1"})) as http:
        await http.post("/v1/loans", json=body, headers=desk.auth())
        async with desk.transaction() as session:
            await session.execute(update(Operation).values(received_at=long_ago))
        await http.post("/v1/loans", json=body, headers=desk.auth())
    assert (await desk.operation(operation_id)).received_at > long_ago + timedelta(minutes=8)


async def _until_recorded(desk: Desk) -> None:
    for _ in range(500):
        if await desk.operations() > 0:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the request was not recorded")
