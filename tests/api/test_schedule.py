"""The instalments of a loan: how many, when, how much, and which of them are paid, by the rows and as the vault has them."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.answers import InstallmentAnswer
from api.schedule import installments, schedule_of
from chain.contracts.vault_events import RepaymentPlanCreated
from models.statuses import LoanStatus
from models.tables.loans import Loan
from tests.chain.world import USD
from tests.engine import Engine

START = datetime(2026, 1, 1, tzinfo=UTC)
MONTH = 30 * 86_400


def _loan(**changes: Any) -> Loan:
    """Of 1,000 base units in three months, ACTIVE and owing all of it."""
    fields = {
        "status": LoanStatus.ACTIVE,
        "principal": 1_000,
        "outstanding": 1_000,
        "written_off": 0,
        "loan_duration": 3 * MONTH,
        "number_of_installments": 3,
        "borrow_tx_hash": "0x",
        "activated_at": START + timedelta(seconds=30),
    }
    return Loan(**{**fields, **changes})


PLAN = RepaymentPlanCreated(1, 3 * MONTH, 3, MONTH, int(START.timestamp()) + MONTH)


def _states(found: list[InstallmentAnswer]) -> list[str]:
    return [str(each.state) for each in found]


@given(st.integers(1, 10**18 - 1), st.integers(1, 1_200))
def test_instalments_are_equal_but_for_the_last_and_sum_to_the_principal(principal: int, number: int) -> None:
    """Nothing is lost to rounding: the last one takes what the division leaves."""
    parts = list(installments(principal, number))
    assert (len(parts), sum(parts)) == (number, principal)
    assert set(parts[:-1]) <= {principal // number}
    assert 0 <= parts[-1] - principal // number < number


def test_due_dates_are_those_of_the_vaults_own_plan() -> None:
    """The first is the one that the borrow's receipt shows, the others an interval apart; the activation plays no part."""
    found = schedule_of(_loan(), PLAN, START)
    assert [each.due_at for each in found] == [START + number * timedelta(days=30) for number in (1, 2, 3)]
    assert [each.amount for each in found] == ["333", "333", "334"]
    assert _states(found) == ["UPCOMING"] * 3


def test_without_a_plan_in_the_receipt_dates_count_from_the_activation() -> None:
    """By the vault's rule, the duration divided by the number of instalments and rounded down."""
    found = schedule_of(_loan(loan_duration=100), None, START)
    assert [each.due_at for each in found] == [START + timedelta(seconds=30 + number * 33) for number in (1, 2, 3)]


def test_before_the_borrow_is_on_chain_nothing_is_due_or_paid() -> None:
    """The amounts are promised and the dates are not known; that nothing is owed yet does not mean that it was repaid."""
    found = schedule_of(
        _loan(status=LoanStatus.PENDING, outstanding=0, borrow_tx_hash=None, activated_at=None), None, START
    )
    assert [(each.due_at, each.paid) for each in found] == [(None, "0")] * 3
    assert _states(found) == ["UPCOMING"] * 3


@pytest.mark.parametrize("status", [LoanStatus.FAILED, LoanStatus.REVERSED, LoanStatus.REJECTED])
def test_a_loan_that_came_to_nothing_has_no_schedule(status: LoanStatus) -> None:
    """There is nothing to pay."""
    assert schedule_of(_loan(status=status, outstanding=0), PLAN, START) == []


def test_repaid_principal_covers_the_oldest_instalments_first() -> None:
    """Of 500 repaid the first instalment is paid and half of the second is; what fell due uncovered is missed."""
    found = schedule_of(_loan(outstanding=500), PLAN, START + timedelta(days=61))
    assert [each.paid for each in found] == ["333", "167", "0"]
    assert _states(found) == ["PAID", "MISSED", "UPCOMING"]


def test_a_loan_that_is_repaid_has_every_instalment_paid() -> None:
    """However late it was."""
    found = schedule_of(
        _loan(status=LoanStatus.REPAID, outstanding=0, closed_at=START + timedelta(days=400)), PLAN, START
    )
    assert _states(found) == ["PAID"] * 3


def test_what_a_liquidation_did_not_bring_back_is_not_paid() -> None:
    """What was written off covers nothing: due before the end it was missed, due after it the loan had ended."""
    closed = START + timedelta(days=65)
    loan = _loan(status=LoanStatus.LIQUIDATED, outstanding=0, written_off=600, closed_at=closed)
    found = schedule_of(loan, PLAN, START + timedelta(days=500))
    assert [each.paid for each in found] == ["333", "67", "0"]
    assert _states(found) == ["PAID", "MISSED", "ENDED"]


async def test_a_loans_schedule_is_the_chains_plan_and_follows_its_repayments(engine: Engine) -> None:
    """On the real stack: the dates are the vault's to the second, and a repayment of one instalment pays the first."""
    borrower = await engine.new_borrower()
    answer = await engine.borrow(borrower, loan_duration=3 * MONTH + 1, number_of_installments=3)
    assert (await engine.finished(answer))["outcome"]["status"] == "ACTIVE"
    chain = engine.chain
    (plan,) = await engine.client.read(chain.vault.get_repayment_plan(borrower.line.position_id), block="latest")
    schedule = (await engine.loan(borrower))["schedule"]
    first = datetime.fromtimestamp(plan.next_payment_due, UTC)
    interval = timedelta(seconds=plan.installment_interval)
    dates = [datetime.fromisoformat(each["due_at"]) for each in schedule]
    assert dates == [first, first + interval, first + 2 * interval]
    assert [each["amount"] for each in schedule] == ["1666666666", "1666666666", "1666666668"]
    assert [each["state"] for each in schedule] == ["UPCOMING"] * 3
    repaid = await engine.finished(await engine.repay(borrower, {"amount": str(1_700 * USD)}))
    assert repaid["outcome"]["status"] == "APPLIED"
    loan, listed, me, stats = await asyncio.gather(
        engine.loan(borrower),
        *(engine.api.get(path, headers=engine.partner.headers) for path in ("/v1/loans", "/v1/me", "/v1/me/stats")),
    )
    assert [each["state"] for each in loan["schedule"]] == ["PAID", "UPCOMING", "UPCOMING"]
    owed = int(loan["outstanding"])
    assert sum(int(each["paid"]) for each in loan["schedule"]) == 5_000 * USD - owed
    assert [each["loan_id"] for each in listed.json()["loans"]] == [loan["loan_id"]]
    assert me.json()["limits"]["total"]["used"] == str(owed)
    found = stats.json()
    assert (found["borrowed"], found["fees"], found["outstanding"]) == ("5000000000", "25000000", str(owed))
    assert int(found["repaid"]["principal"]) + int(found["repaid"]["interest"]) == 1_700 * USD
    position = (await engine.api.get(f"/v1/positions/{borrower.line.position_id}")).json()
    assert (position["total_partner_debt"], position["principal"]) == (str(owed), str(owed))
