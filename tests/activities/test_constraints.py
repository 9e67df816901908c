"""What the database refuses of operations, partners, loans and repayments, whatever the code above it forgets."""

from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from models.statuses import (
    RETRIABLE_LOAN_STATUSES,
    TERMINAL_LOAN_STATUSES,
    DecisionKind,
    EventType,
    GrantEvidence,
    InboundState,
    LoanStatus,
    OperationKind,
    OperationState,
)
from models.tables.loans import Loan, SolvencyPosition
from models.tables.operations import Operation
from models.tables.partners import Partner
from models.tables.session import Transaction
from tests import factories as make
from tests.activities.rules import RACERS, broken_rule, one_of, race

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ACCEPTED = {"decision": DecisionKind.ACCEPTED, "decided_at": NOW, "terms": {"fee": 1}}
REFUSED = {"decision": DecisionKind.REFUSED, "decided_at": NOW, "refusal": {"code": "x"}}


async def committed_partner(transaction: Transaction) -> Partner:
    async with transaction() as session:
        return await make.new_partner(session)


async def committed_operation(transaction: Transaction) -> Operation:
    async with transaction() as session:
        return await make.new_operation(session)


async def committed_loan(transaction: Transaction, **changes: Any) -> Loan:
    async with transaction() as session:
        return await make.new_loan(session, **changes)


# Operations and events


async def test_one_operation_for_each_key(transaction: Transaction) -> None:
    """Of eight requests at once with one key, one is stored; another kind or partner may use the same key."""
    partner = await committed_partner(transaction)
    new = partial(make.new_operation, partner=partner, idempotency_key="key")
    rule = "uq_operations_partner_id_kind_idempotency_key"
    assert await race(transaction, *[new] * RACERS) == one_of(RACERS, rule)
    assert await broken_rule(transaction, partial(new, kind=OperationKind.REPAY)) is None
    assert await broken_rule(transaction, partial(make.new_operation, idempotency_key="key")) is None


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        (ACCEPTED | {"terms": None}, "acceptance_has_terms"),
        (REFUSED | {"refusal": None}, "refusal_says_why"),
        (ACCEPTED | {"decided_at": None}, "decided_at_goes_with_decision"),
        ({"decided_at": NOW}, "decided_at_goes_with_decision"),
        ({"state": OperationState.DONE, "done_at": NOW}, "done_is_decided"),
        (ACCEPTED | {"state": OperationState.DONE}, "done_at_goes_with_done"),
        (ACCEPTED | {"done_at": NOW}, "done_at_goes_with_done"),
        ({"kind": OperationKind.SYSTEM}, "partner_unless_system"),
        ({"partner_id": None}, "partner_unless_system"),
        ({"fingerprint": None}, "fingerprint_unless_system"),
    ],
)
async def test_an_operation_makes_sense(transaction: Transaction, changes: dict[str, Any], rule: str) -> None:
    """A decision has its reason and time, an end has a decision, and only house-keeping has no partner."""
    assert await broken_rule(transaction, partial(make.new_operation, **changes)) == f"ck_operations_{rule}"


@pytest.mark.parametrize("changes", [ACCEPTED, REFUSED, ACCEPTED | {"state": OperationState.DONE, "done_at": NOW}])
async def test_a_whole_decision_is_stored(transaction: Transaction, changes: dict[str, Any]) -> None:
    """What has all that belongs to it is not refused."""
    assert await broken_rule(transaction, partial(make.new_operation, **changes)) is None


async def test_one_terminal_event_for_each_operation(transaction: Transaction) -> None:
    """An operation ends once: of two endings told at once, one is written; a delay may be told beside it, once."""
    operation = await committed_operation(transaction)
    told = partial(make.new_event, operation=operation)
    ends = [partial(told, kind=kind) for kind in (EventType.LOAN_BORROWED, EventType.LOAN_FAILED)]
    assert await race(transaction, *ends) == one_of(2, "uq_events_one_terminal")
    delayed = partial(told, kind=EventType.LOAN_DELAYED)
    assert await race(transaction, delayed, delayed) == one_of(2, "uq_events_one_of_a_type")


# Partners, addresses, grants


async def test_a_settlement_address_belongs_to_one_partner(transaction: Transaction) -> None:
    """Of eight partners that register one address at once, one has it."""
    address = make.unique_address()

    async def register(session: AsyncSession) -> None:
        partner_id = make.unique("partner")
        await make.new_settlement_address(session, partner_id, address)
        await make.new_partner(session, id=partner_id, settlement_address=address)

    assert await race(transaction, *[register] * RACERS) == one_of(RACERS, "pk_settlement_addresses")


async def test_a_settlement_address_has_a_partner(transaction: Transaction) -> None:
    """An address of nobody is refused at the commit, and so is a partner with an address that was never registered."""
    orphan = partial(make.new_settlement_address, partner_id="nobody")
    assert await broken_rule(transaction, orphan) == "fk_settlement_addresses_partner_id"
    (other, mine) = [await committed_partner(transaction) for _ in range(2)]

    async def take_over(session: AsyncSession) -> None:
        taken = update(Partner).where(Partner.id == mine.id).values(settlement_address=other.settlement_address)
        await session.execute(taken)

    assert await broken_rule(transaction, take_over) == "fk_partners_own_settlement_address"
    homeless = partial(make.new_partner, settlement_address=make.unique_address())
    assert await broken_rule(transaction, homeless) == "fk_partners_own_settlement_address"


async def test_a_grant_s_nonce_counts_once(transaction: Transaction) -> None:
    """A signed grant that is sent eight times at once, by two partners, is stored once, and none is without a nonce."""
    partners = [await committed_partner(transaction) for _ in range(2)]
    nonce = make.unique_number()
    signed = [partial(make.new_grant, partner=partner, nonce=nonce) for partner in partners] * (RACERS // 2)
    rule = "uq_credit_line_grants_chain_id_oaid_address_user_wallet_nonce"
    assert await race(transaction, *signed) == one_of(RACERS, rule)
    unnumbered = partial(make.new_grant, partner=partners[0], nonce=None)
    assert await broken_rule(transaction, unnumbered) == "ck_credit_line_grants_signed_with_a_nonce"
    recorded = partial(unnumbered, evidence_kind=GrantEvidence.ADMINISTRATOR)
    assert await race(transaction, recorded, recorded) == {None: 2}


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"outstanding": -1}, "usage_not_negative"),
        ({"reserved": -1}, "usage_not_negative"),
        ({"daily_borrow_limit": -1}, "limits_not_negative"),
        ({"total_borrow_limit": -1}, "limits_not_negative"),
        ({"fee_bps": -1}, "fee_leaves_a_payout"),
        ({"fee_bps": 10_000}, "fee_leaves_a_payout"),
    ],
)
async def test_a_partner_s_figures(transaction: Transaction, changes: dict[str, Any], rule: str) -> None:
    """Limits and what was taken of them are never below zero, and a fee leaves something to pay out."""
    partner = await committed_partner(transaction)

    async def change(session: AsyncSession) -> None:
        await session.execute(update(Partner).where(Partner.id == partner.id).values(changes))

    assert await broken_rule(transaction, change) == f"ck_partners_{rule}"


@pytest.mark.parametrize("changes", [{"borrowed": -1}, {"reserved": -1}])
async def test_a_day_s_figures(transaction: Transaction, changes: dict[str, Any]) -> None:
    """Nothing can be given back twice: a day is never below zero."""
    new = partial(make.new_day, partner=await committed_partner(transaction), **changes)
    assert await broken_rule(transaction, new) == "ck_partner_days_usage_not_negative"


async def test_a_reservation_is_of_something(transaction: Transaction) -> None:
    """An operation reserves once, and more than nothing."""
    operation = await committed_operation(transaction)
    nothing = partial(make.new_reservation, operation=operation, amount=0)
    assert await broken_rule(transaction, nothing) == "ck_reservations_amount_positive"
    new = partial(make.new_reservation, operation=operation)
    assert await race(transaction, *[new] * RACERS) == one_of(RACERS, "pk_reservations")


# Loans


async def test_one_loan_for_each_position(transaction: Transaction) -> None:
    """Of eight partners that lend on one position at once, one does."""
    async with transaction() as session:
        position = await make.seen_position(session, make.unique_number())
        operations = [await make.new_operation(session) for _ in range(RACERS)]
    lend = partial(make.new_loan, position_id=position.position_id)
    loans = [partial(lend, operation=operation) for operation in operations]
    assert await race(transaction, *loans) == one_of(RACERS, "uq_loans_one_per_position")


@pytest.mark.parametrize("status", LoanStatus)
async def test_when_a_position_is_free(transaction: Transaction, status: LoanStatus) -> None:
    """A loan holds its position until it is over, whoever's it is."""
    first = await committed_loan(transaction, status=status)
    rule = None if status in TERMINAL_LOAN_STATUSES else "uq_loans_one_per_position"
    assert await broken_rule(transaction, partial(make.new_loan, position_id=first.position_id)) == rule


@pytest.mark.parametrize("status", LoanStatus)
async def test_when_a_loan_s_name_is_free(transaction: Transaction, status: LoanStatus) -> None:
    """A name may be used again after a loan that never came to be; one that was repaid keeps its name."""
    partner = await committed_partner(transaction)

    async def named(session: AsyncSession, **changes: Any) -> None:
        operation = await make.new_operation(session, partner)
        await make.new_loan(session, operation, partner_loan_id="L1", **changes)

    assert await broken_rule(transaction, partial(named, status=status)) is None
    rule = None if status in RETRIABLE_LOAN_STATUSES else "uq_loans_partner_loan_id"
    assert await broken_rule(transaction, named) == rule
    assert await broken_rule(transaction, partial(make.new_loan, partner_loan_id="L1")) is None


async def test_one_loan_of_a_name(transaction: Transaction) -> None:
    """A retry after FAILED that is sent eight times at once makes one loan."""
    partner = await committed_partner(transaction)
    async with transaction() as session:
        operations = [await make.new_operation(session, partner) for _ in range(RACERS + 1)]
        await make.new_loan(session, operations.pop(), partner_loan_id="L1", status=LoanStatus.FAILED)
    loans = [partial(make.new_loan, operation=operation, partner_loan_id="L1") for operation in operations]
    assert await race(transaction, *loans) == one_of(RACERS, "uq_loans_partner_loan_id")


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"principal": 0, "fee": 0, "payout": 0}, "amounts_in_range"),
        ({"fee": -1, "payout": make.PRINCIPAL + 1}, "amounts_in_range"),
        ({"fee": make.FEE + 1}, "principal_is_fee_and_payout"),
        ({"outstanding": -1}, "outstanding_within_principal"),
        ({"outstanding": make.PRINCIPAL + 1}, "outstanding_within_principal"),
        ({"status": LoanStatus.REPAID, "outstanding": 1}, "repaid_owes_nothing"),
    ],
)
async def test_a_loan_s_figures(transaction: Transaction, changes: dict[str, Any], rule: str) -> None:
    """A loan's parts add up, it owes between nothing and its principal, and nothing once it is repaid."""
    assert await broken_rule(transaction, partial(make.new_loan, **changes)) == f"ck_loans_{rule}"


async def test_a_position_owes_no_less_than_nothing(transaction: Transaction) -> None:
    """What partners' loans owe on a position is never below zero."""
    loan = await committed_loan(transaction)

    async def overpay(session: AsyncSession) -> None:
        query = update(SolvencyPosition).where(SolvencyPosition.position_id == loan.position_id)
        await session.execute(query.values(total_partner_debt=-1))

    assert await broken_rule(transaction, overpay) == "ck_solvency_positions_debt_not_negative"


# Repayments and inbound transfers


async def test_one_repayment_holds_a_loan(transaction: Transaction) -> None:
    """Of eight repayments at once, one takes the loan; when it lets go another may."""
    loan = await committed_loan(transaction)
    async with transaction() as session:
        operations = [await make.new_operation(session) for _ in range(RACERS + 1)]
    let_go = partial(make.new_repayment, operation=operations.pop(), loan=loan, holds_loan=False)
    takes = [partial(make.new_repayment, operation=operation, loan=loan) for operation in operations]
    assert await broken_rule(transaction, let_go) is None
    assert await race(transaction, *takes) == one_of(RACERS, "uq_repayments_one_in_flight")


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"collected": -1, "residue": 1}, "parts_not_negative"),
        ({"principal": -1}, "parts_not_negative"),
        ({"interest": -1}, "parts_not_negative"),
        ({"residue": -1}, "extras_not_negative"),
        ({"refunded": -1}, "extras_not_negative"),
        ({"collected": 10, "residue": 1, "principal": 9, "interest": 2, "refunded": 1}, "never_more_than_funded"),
    ],
)
async def test_a_repayment_s_figures(transaction: Transaction, changes: dict[str, Any], rule: str) -> None:
    """Never more is repaid and given back than was collected and added."""
    loan = await committed_loan(transaction)
    new = partial(make.new_repayment, operation=await committed_operation(transaction), loan=loan, **changes)
    assert await broken_rule(transaction, new) == f"ck_repayments_{rule}"


async def test_a_transfer_is_seen_once(transaction: Transaction) -> None:
    """A log that is found by eight scans at once is one transfer; another log of the same transaction is another."""
    tx_hash = make.unique_hash()
    new = partial(make.new_inbound, tx_hash=tx_hash)
    rule = "uq_inbound_transfers_chain_id_tx_hash_log_index"
    assert await race(transaction, *[new] * RACERS) == one_of(RACERS, rule)
    assert await broken_rule(transaction, partial(new, log_index=1)) is None
    assert await broken_rule(transaction, partial(new, chain_id=make.CHAIN_ID + 1)) is None


@pytest.mark.parametrize("state", InboundState)
async def test_a_claim_or_refund_has_its_operation(transaction: Transaction, state: InboundState) -> None:
    """A transfer is CLAIMED, or given back, exactly where an operation has it."""
    operation = await committed_operation(transaction)
    owned = {InboundState.CLAIMED: "claimed_by"} | dict.fromkeys(
        (InboundState.REFUNDING, InboundState.REFUNDED), "refund_operation_id"
    )
    for column in ("claimed_by", "refund_operation_id"):
        here = owned.get(state) == column
        others: dict[str, Any] = {
            name: operation.id for name in set(owned.values()) if owned.get(state) == name != column
        }
        others[column] = None if here else operation.id
        wrong = partial(make.new_inbound, state=state, **others)
        assert (await broken_rule(transaction, wrong) or "").startswith("ck_inbound_transfers_")
    right: dict[str, Any] = {owned[state]: operation.id} if state in owned else {}
    assert await broken_rule(transaction, partial(make.new_inbound, state=state, **right)) is None
