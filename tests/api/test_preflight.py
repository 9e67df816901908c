"""Preflight: everything that stands against a borrow at once, the first of it being what the borrow itself is answered."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from eth_account import Account
from sqlalchemy import func, select, update

from api.administration import issue_key, record_grant
from chain.contracts.solvency_vault import TokenType
from contracts.deploy import Sender
from contracts.funding import OpenedLine, fund_gas, open_line, set_operator
from models.statuses import LoanStatus, Scope
from models.tables.loans import Loan, Reservation
from models.tables.operations import Operation
from models.tables.partners import CreditLineGrant, Partner, PartnerDay
from tests.api.desk import USD, Desk, new_partner, served
from tests.api.test_requests import problem

Changes = dict[str, Any]
Situation = Callable[[Desk], Awaitable[tuple[Desk, Changes]]]


async def _preflight(desk: Desk, body: Changes, **headers: str) -> dict[str, Any]:
    answer = await desk.post("/v1/loans/preflight", body, **headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert found["would_be_accepted"] is (found["problems"] == [])
    return found


def _codes(found: dict[str, Any]) -> list[str]:
    return [each["code"] for each in found["problems"]]


def _said(shown: dict[str, Any]) -> dict[str, Any]:
    """A problem without what names this very request."""
    return {name: value for name, value in shown.items() if name not in ("trace_id", "operation_id")}


async def _with_line(
    desk: Desk, value_usd: int, token_type: TokenType = TokenType.RWA, *, approve: bool = True, grant: bool = True
) -> Desk:
    """The same partner with another user, who has a line of this value."""
    key = str(Account.create().key.hex())
    user = Sender(desk.world.client, key)
    await fund_gas(desk.world.client, user.address)
    line = await open_line(desk.world.owner, desk.world.contracts, user, value_usd, token_type)
    if approve:
        await set_operator(user, desk.world.contracts, desk.world.operator.address)
    other = replace(desk, world=replace(desk.world, user=user, line=line), user_key=key)
    if grant:
        assert (await other.grant(max_amount=str(10**15))).status_code == 201
    return other


async def _set_partner(desk: Desk, **values: int) -> None:
    async with desk.transaction() as session:
        await session.execute(update(Partner).where(Partner.id == "acme").values(**values))


async def _good(desk: Desk) -> tuple[Desk, Changes]:
    await desk.grant()
    return desk, {}


async def _no_grant(desk: Desk) -> tuple[Desk, Changes]:
    return desk, {"amount": str(8_000 * USD)}


async def _no_line(desk: Desk) -> tuple[Desk, Changes]:
    async with desk.transaction() as session:
        await _record(desk, session, OpenedLine(desk.world.user.address, 999, 999))
    return desk, {"oaid_token_id": "999"}


async def _record(desk: Desk, session: Any, line: OpenedLine) -> None:
    """An administrator's grant for whatever line."""
    await record_grant(
        session,
        partner_id="acme",
        chain_id=desk.settings.chain_id,
        oaid_address=desk.settings.oaid_address,
        oaid_token_id=line.credit_line_id,
        position_id=line.position_id,
        user_wallet=desk.user,
        max_amount=10**15,
        expires_at=datetime.now(UTC) + timedelta(days=1),
        reason="the test says so",
    )


async def _of_somebody_else(desk: Desk) -> tuple[Desk, Changes]:
    other = await _with_line(desk, 10_000 * USD, grant=False)
    async with desk.transaction() as session:
        await _record(desk, session, other.world.line)
    return desk, {"oaid_token_id": str(other.world.line.credit_line_id)}


async def _no_operator(desk: Desk) -> tuple[Desk, Changes]:
    return await _with_line(desk, 10_000 * USD, approve=False), {}


async def _too_much_for_the_line(desk: Desk) -> tuple[Desk, Changes]:
    await desk.grant(max_amount=str(10**15))
    return desk, {"amount": str(7_001 * USD)}


async def _too_much_for_the_collateral(desk: Desk) -> tuple[Desk, Changes]:
    """A private asset: its line promises 70%, and the vault lends 60%."""
    return await _with_line(desk, 10_000 * USD, TokenType.PRIVATE_ASSET), {"amount": str(6_500 * USD)}


async def _above_the_ceiling(desk: Desk) -> tuple[Desk, Changes]:
    await _set_partner(desk, total_borrow_limit=10**15, daily_borrow_limit=10**15)
    return await _with_line(desk, 1_000_000 * USD), {"amount": str(100_001 * USD)}


async def _everything_at_once(desk: Desk) -> tuple[Desk, Changes]:
    """Above the line, the collateral, the ceiling, the pool, and both limits, with no operator."""
    return await _with_line(desk, 10_000 * USD, approve=False), {"amount": str(2_000_000 * USD)}


async def _total_used_up(desk: Desk) -> tuple[Desk, Changes]:
    await desk.grant()
    await _set_partner(desk, total_borrow_limit=4_000 * USD)
    return desk, {}


async def _both_used_up(desk: Desk) -> tuple[Desk, Changes]:
    await desk.grant()
    await _set_partner(desk, total_borrow_limit=4_000 * USD, daily_borrow_limit=3_000 * USD)
    return desk, {}


async def _day_used_up(desk: Desk) -> tuple[Desk, Changes]:
    await desk.grant()
    async with desk.transaction() as session:
        session.add(PartnerDay(partner_id="acme", day=datetime.now(UTC).date(), borrowed=96_000 * USD, reserved=0))
    return desk, {}


async def _name_in_use(desk: Desk) -> tuple[Desk, Changes]:
    await desk.grant()
    assert (await desk.borrow(partner_loan_id="taken")).status_code == 202
    other = await _with_line(desk, 10_000 * USD)
    return other, {"partner_loan_id": "taken", "_key": "another"}


async def _position_in_use(desk: Desk) -> tuple[Desk, Changes]:
    await desk.grant()
    assert (await desk.borrow()).status_code == 202
    return desk, {}


async def _key_reused(desk: Desk) -> tuple[Desk, Changes]:
    await desk.grant()
    answer = await desk.post("/v1/loans", desk.borrow_body(amount=str(8_000 * USD)), Idempotency_Key="once")
    problem(answer, 422, "insufficient_credit")
    return desk, {"_key": "once"}


SITUATIONS: dict[str, tuple[Situation, list[str]]] = {
    "good": (_good, []),
    "no-grant": (_no_grant, ["grant_required", "insufficient_credit", "ltv_exceeded"]),
    "no-line": (_no_line, ["credit_line_not_found"]),
    "of-somebody-else": (_of_somebody_else, ["wallet_not_owner"]),
    "no-operator": (_no_operator, ["operator_not_approved"]),
    "line": (_too_much_for_the_line, ["insufficient_credit", "ltv_exceeded"]),
    "collateral": (_too_much_for_the_collateral, ["ltv_exceeded"]),
    "ceiling": (_above_the_ceiling, ["debt_ceiling_exceeded"]),
    "everything": (
        _everything_at_once,
        [
            "operator_not_approved",
            "insufficient_credit",
            "ltv_exceeded",
            "debt_ceiling_exceeded",
            "insufficient_liquidity",
            "total_limit_exceeded",
            "daily_limit_exceeded",
        ],
    ),
    "total": (_total_used_up, ["total_limit_exceeded"]),
    "both-limits": (_both_used_up, ["total_limit_exceeded", "daily_limit_exceeded"]),
    "day": (_day_used_up, ["daily_limit_exceeded"]),
    "name": (_name_in_use, ["partner_loan_id_in_use"]),
    "position": (_position_in_use, ["plan_already_active"]),
    "key": (_key_reused, ["idempotency_key_reused"]),
}


@asynccontextmanager
async def _undone(desk: Desk) -> AsyncIterator[None]:
    """The chain is as it was afterwards, so that what one situation opens is not there for the next."""
    snapshot = await desk.world.client.rpc.call("evm_snapshot")
    try:
        yield
    finally:
        await desk.world.client.rpc.call("evm_revert", snapshot)


@pytest.mark.parametrize("name", SITUATIONS)
async def test_what_preflight_says_first_is_what_the_borrow_is_answered(working_desk: Desk, name: str) -> None:
    """In each situation preflight names all that binds, and the borrow that follows is answered with the first of it."""
    situation, codes = SITUATIONS[name]
    async with _undone(working_desk):
        desk, changes = await situation(working_desk)
        headers = {"Idempotency_Key": changes.pop("_key")} if "_key" in changes else {}
        body = desk.borrow_body(**changes)
        found = await _preflight(desk, body, **headers)
        answer = await desk.post("/v1/loans", body, **headers)
    assert _codes(found) == codes
    if codes:
        assert _said(found["problems"][0]) == _said(answer.json())
        assert found["problems"][0]["status"] == answer.status_code
    else:
        assert (answer.status_code, answer.json()["quote"]) == (202, found["quote"])


async def test_preflight_leaves_nothing_behind(working_desk: Desk) -> None:
    """However often it is asked, there is no operation, no loan and no reservation, and the limits are whole."""
    desk = working_desk
    await desk.grant()
    body = desk.borrow_body()
    assert [(await _preflight(desk, body))["would_be_accepted"] for _ in range(5)] == [True] * 5
    assert await desk.operations() == 0
    async with desk.transaction() as session:
        for table in (Loan, Reservation, PartnerDay):
            assert await session.scalar(select(func.count()).select_from(table)) == 0
        assert (await session.get_one(Partner, "acme")).reserved == 0


async def test_the_quote_is_that_of_the_partners_fee(desk: Desk) -> None:
    """Principal, fee and payout, whatever stands against the borrow."""
    found = await _preflight(desk, desk.borrow_body())
    assert found["quote"] == {"principal": "5000000000", "fee": "25000000", "payout": "4975000000"}


async def test_a_request_that_was_decided_is_answered_as_it_was_then(working_desk: Desk) -> None:
    """The same body and key as an earlier borrow: its decision, whatever binds now, and the operation it is answered from."""
    desk = working_desk
    refused = desk.borrow_body(partner_loan_id="refused")
    first = await desk.post("/v1/loans", refused)
    await desk.grant()
    accepted = desk.borrow_body(partner_loan_id="accepted")
    second = await desk.post("/v1/loans", accepted)
    assert second.status_code == 202
    found = await _preflight(desk, refused)
    assert (_codes(found), found.get("repeats")) == (["grant_required"], first.json()["operation_id"])
    assert _said(found["problems"][0]) == _said(first.json())
    found = await _preflight(desk, accepted)
    assert (found["would_be_accepted"], found.get("repeats")) == (True, second.json()["operation_id"])
    assert found["quote"] == second.json()["quote"]


async def test_a_request_that_was_given_up_is_judged_anew(desk: Desk) -> None:
    """An operation that never started decides nothing, and repeating it is a borrow like any other."""
    await desk.grant()
    body = desk.borrow_body()
    assert (await desk.post("/v1/loans", body)).status_code in (202, 503)
    async with desk.transaction() as session:
        await session.execute(update(Operation).values(state="NOT_STARTED"))
    found = await _preflight(desk, body)
    assert (found["would_be_accepted"], found.get("repeats")) == (True, None)


async def test_a_loan_that_came_to_nothing_frees_its_name(working_desk: Desk) -> None:
    """The name of a FAILED loan may be used again, as the borrow itself allows."""
    desk = working_desk
    await desk.grant()
    assert (await desk.borrow(partner_loan_id="again")).status_code == 202
    async with desk.transaction() as session:
        await session.execute(update(Loan).values(status=LoanStatus.FAILED))
    found = await _preflight(desk, desk.borrow_body(partner_loan_id="again"), Idempotency_Key="second")
    assert found["would_be_accepted"] is True


async def test_grants_that_no_longer_hold_are_none(desk: Desk) -> None:
    """A revoked grant, one of another partner and one for less are all missing to preflight, too."""
    other = await new_partner(desk.transaction, "zeta")
    await desk.as_partner(other).grant()
    await desk.grant(max_amount="1")
    assert _codes(await _preflight(desk, desk.borrow_body())) == ["grant_required"]
    await desk.grant()
    assert _codes(await _preflight(desk, desk.borrow_body())) == []
    async with desk.transaction() as session:
        await session.execute(update(CreditLineGrant).values(revoked_at=func.now()))
    assert _codes(await _preflight(desk, desk.borrow_body())) == ["grant_required"]


async def test_where_money_is_real_a_partner_must_be_cleared(desk: Desk) -> None:
    """On a live deployment preflight names the missing clearance, before the grant that is missing too."""
    async with desk.transaction() as session:
        live = await issue_key(session, partner_id="acme", mode="live")
    settings = desk.settings.model_copy(update={"key_mode": "live"})
    async with served(settings) as http:
        there = replace(desk, http=http, settings=settings, partner=live)
        found = await _preflight(there, desk.borrow_body())
        assert _codes(found) == ["partner_not_cleared", "grant_required"]
        async with desk.transaction() as session:
            await session.execute(update(Partner).values(kyc_verified=True, contract_signed=True))
        assert _codes(await _preflight(there, desk.borrow_body())) == ["grant_required"]


async def test_preflight_asks_for_the_form_and_the_scope_of_a_borrow(desk: Desk) -> None:
    """A malformed body is 422 and a key that may not borrow is 403, as for the borrow."""
    found = problem(await desk.post("/v1/loans/preflight", desk.borrow_body(amount="0")), 422, "invalid_request")
    assert [error["pointer"] for error in found["errors"]] == ["/amount"]
    async with desk.transaction() as session:
        reader = await issue_key(session, partner_id="acme", mode="sandbox", scopes=[Scope.READ])
    answer = await desk.post("/v1/loans/preflight", desk.borrow_body(), key=reader.key)
    problem(answer, 403, "scope_missing")
