"""What partners read: their own things only, and what the chain says."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import update

from api.payoff import accrual_per_second
from models.statuses import LoanStatus, OperationState, TransactionState
from models.tables.loans import Loan
from models.tables.operations import Operation
from models.tables.transactions import ChainAttempt, ChainTransaction
from tests.api.desk import USD, Desk, new_partner
from tests.api.test_requests import problem


async def _accepted(desk: Desk) -> dict[str, str]:
    await desk.grant()
    answer = await desk.borrow()
    assert answer.status_code == 202, answer.text
    assert answer.json()["decision"] == "accepted"
    return {"operation": answer.json()["operation_id"], "loan": answer.json()["loan_id"], "name": desk.names[-1]}


async def test_a_loan_shows_its_terms_and_its_operation_shows_where_it_stands(working_desk: Desk) -> None:
    desk = working_desk
    made = await _accepted(desk)
    loan = (await desk.get(f"/v1/loans/{made['name']}")).json()
    assert (loan["loan_id"], loan["operation_id"], loan["status"]) == (made["loan"], made["operation"], "PENDING")
    assert (loan["principal"], loan["fee"], loan["payout"], loan["outstanding"]) == (
        "5000000000",
        "25000000",
        "4975000000",
        "0",
    )
    assert loan["repayments"] == []
    operation = await _with_timeline(desk, made["operation"])
    assert (operation["state"], operation["decision"], operation["outcome"]) == ("OPEN", "ACCEPTED", None)
    assert operation["quote"] == {"principal": "5000000000", "fee": "25000000", "payout": "4975000000"}
    assert operation["step"] == "borrow"
    (leg,) = operation["timeline"]
    assert (leg["leg"], leg["generation"], leg["state"], leg["amount"]) == ("borrow", 1, "QUEUED", "5000000000")
    assert (leg["tx_hash"], leg["block_number"]) == (None, None)


async def test_a_leg_in_flight_shows_the_hash_of_its_newest_attempt(working_desk: Desk) -> None:
    desk = working_desk
    made = await _accepted(desk)
    await _with_timeline(desk, made["operation"])
    async with desk.transaction() as session:
        await session.execute(update(ChainTransaction).values(state=TransactionState.BROADCAST, nonce=0))
        leg = (await session.execute(ChainTransaction.__table__.select())).one()
        for number, minutes in (("aa", 2), ("bb", 1)):
            session.add(
                ChainAttempt(
                    hash="0x" + number * 32,
                    transaction_id=leg.id,
                    kind="PAYLOAD",
                    raw=b"",
                    gas=21_000,
                    max_fee_per_gas=1,
                    max_priority_fee_per_gas=1,
                    sent_at=datetime.now(UTC) - timedelta(minutes=minutes),
                )
            )
    operation = (await desk.get(f"/v1/operations/{made['operation']}")).json()
    assert operation["timeline"][0]["tx_hash"] == "0x" + "bb" * 32


async def test_another_partners_things_are_not_there(working_desk: Desk) -> None:
    desk = working_desk
    made = await _accepted(desk)
    other = await new_partner(desk.transaction, "zeta")
    problem(await desk.get(f"/v1/loans/{made['name']}", key=other.key), 404, "loan_not_found")
    problem(await desk.get(f"/v1/loans/{made['name']}/payoff", key=other.key), 404, "loan_not_found")
    problem(await desk.get(f"/v1/operations/{made['operation']}", key=other.key), 404, "operation_not_found")
    assert (await desk.get("/v1/grants", key=other.key)).json()["grants"] == []
    repayment = await desk.post(
        f"/v1/loans/{made['name']}/repayments", {"payoff": True}, key=other.key, Idempotency_Key="k"
    )
    problem(repayment, 404, "loan_not_found")


async def test_a_long_poll_ends_when_the_operation_does_and_not_before(desk: Desk) -> None:
    pending = await desk.borrow()
    path = pending.headers["location"]
    began = time.monotonic()
    assert (await desk.get(f"{path}?wait=1")).json()["state"] == "RECEIVED"
    assert time.monotonic() - began >= 1
    waiting = [asyncio.create_task(desk.get(f"{path}?wait=30")) for _ in range(50)]
    await asyncio.sleep(0.3)
    async with desk.transaction() as session:
        done = update(Operation).values(
            state=OperationState.DONE,
            decision="REFUSED",
            decided_at=datetime.now(UTC),
            done_at=datetime.now(UTC),
            refusal={"code": "x", "status": 422, "title": "X", "detail": "x"},
        )
        await session.execute(done)
    began = time.monotonic()
    answers = await asyncio.gather(*waiting)
    assert {answer.json()["state"] for answer in answers} == {"DONE"}
    assert time.monotonic() - began < 3


async def test_a_payoff_is_what_the_chain_says_with_what_each_second_adds(working_desk: Desk) -> None:
    desk, world = working_desk, working_desk.world
    made = await _accepted(desk)
    problem(await desk.get(f"/v1/loans/{made['name']}/payoff"), 409, "loan_not_repayable")
    snapshot = await world.client.rpc.call("evm_snapshot")
    try:
        await world.borrow(world.user, 5_000 * USD)
        await world.mine_at((await world.client.head()).timestamp + 10 * 86_400)
        async with desk.transaction() as session:
            await session.execute(update(Loan).values(status=LoanStatus.ACTIVE, outstanding=5_000 * USD))
        payoff = (await desk.get(f"/v1/loans/{made['name']}/payoff")).json()
        assert payoff["outstanding"] == str(await world.debt())
        position = (await desk.get(f"/v1/positions/{world.line.position_id}")).json()
    finally:
        await world.client.rpc.call("evm_revert", snapshot)
    assert payoff["principal"] == "5000000000"
    assert payoff["interest"] == "6849315"
    assert Decimal(payoff["accrual_per_second"]) == accrual_per_second(5_000 * USD)
    as_of, until = (datetime.fromisoformat(payoff[name]) for name in ("as_of", "valid_until"))
    assert until - as_of == timedelta(hours=1)
    assert (position["principal"], position["outstanding"], position["plan"]["active"]) == (
        "5000000000",
        payoff["outstanding"],
        True,
    )


def test_the_accrual_is_exact_to_a_trillionth_of_a_base_unit() -> None:
    assert accrual_per_second(5_000 * USD) == Decimal("7.927447995941")
    assert accrual_per_second(0) == 0


async def test_credit_lines_and_positions_are_public(desk: Desk) -> None:
    line = (await desk.http.get(f"/v1/credit-lines/{desk.world.line.credit_line_id}")).json()
    assert (line["user_wallet"], line["position_id"]) == (desk.user, str(desk.world.line.position_id))
    assert (line["credit_limit"], line["available_credit"], line["active"]) == ("7000000000", "7000000000", True)
    position = (await desk.http.get(f"/v1/positions/{desk.world.line.position_id}")).json()
    assert (position["user_wallet"], position["collateral_value"]) == (desk.user, "10000000000")
    assert (position["max_borrow"], position["outstanding"], position["plan"]["active"]) == ("7000000000", "0", False)
    assert position["health_factor_bps"] is None


async def test_credit_lines_and_positions_that_are_not_there_are_404(desk: Desk) -> None:
    problem(await desk.http.get("/v1/credit-lines/999"), 404, "credit_line_not_found")
    problem(await desk.http.get(f"/v1/positions/{2**256 - 1}"), 404, "position_not_found")


async def _with_timeline(desk: Desk, operation_id: str) -> dict[str, Any]:
    """The operation once its first leg is asked for, which follows the decision at once."""
    for _ in range(200):
        found: dict[str, Any] = (await desk.get(f"/v1/operations/{operation_id}")).json()
        if found["timeline"]:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError("no leg was asked for")
