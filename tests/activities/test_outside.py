"""Movements outside the engine in any order with its own: what the chain did, and when each record of it was made.

A model of the chain says what is owed. Whatever the order in which a worker, the lane and the follower came to know of it,
when all have caught up the rows say the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from activities.outside_book import PositionKey, record_movement, record_own
from activities.outside_events import DebtMoved
from chain.codec import checksum
from chain.contracts.vault_events import LOAN_REPAID_EVENT
from chain.types import BlockHash, BlockNumber, Log, TxHash
from models.messages.common import Debt, OperationInput
from models.messages.repay import ApplyRepayment
from models.statuses import EventType, LegName, LoanStatus, OperationKind, OutsideKind, RepaymentState
from models.tables.loans import Loan, SolvencyPosition
from models.tables.operations import Event, Operation
from models.tables.partners import Partner
from models.tables.session import Transaction
from tests import factories as make
from tests.activities.desk import DECIDED, Desk, open_desk

PRINCIPAL = 100
"""Base units: few, so that amounts meet."""
amounts = st.integers(1, PRINCIPAL) | st.sampled_from([1, PRINCIPAL])

SINGLE = (
    "user repays",
    "user repays all",
    "user borrows",
    "owner liquidates",
    "borrow is recorded",
    "loan is activated",
    "repayment begins",
    "repayment lands",
    "debt is read",
    "repayment is applied",
    "an event is followed",
)
ACTIVE = ("borrow is recorded", "loan is activated")
REPAID = ("repayment begins", "repayment lands", "debt is read", "repayment is applied")
"""What happens together more often than chance would have it."""

Taken = Sequence[tuple[tuple[str, ...], int]]
steps = st.tuples(st.one_of(st.tuples(st.sampled_from(SINGLE)), st.sampled_from([ACTIVE, REPAID])), amounts)


@dataclass(frozen=True)
class Happened:
    """An event of the vault; ``operation_id`` where the transaction was the engine's."""

    log: Log
    event: DebtMoved
    operation_id: str | None


@dataclass
class Repaying:
    """A repayment of ours in flight."""

    operation_id: str
    amount: int
    landed: bool = False
    read: Debt | None = None


@dataclass
class History:
    """One loan. ``owed`` is the principal on chain, of the loan or, where ``users``, of what the user borrowed after it."""

    desk: Desk
    borrow: str
    position_id: int
    loan_id: str
    owed: int = PRINCIPAL
    users: bool = False
    lost: int | None = None
    """What a liquidation did not bring back; None where there was none."""
    block: int = 0
    events: list[Happened] = field(default_factory=list)
    followed: int = 0
    recorded: bool = False
    activated: bool = False
    repaying: Repaying | None = None

    # What happens on chain

    def happens(self, event: DebtMoved, operation_id: str | None = None) -> None:
        self.block += 1
        log = Log(
            address=checksum(make.VAULT),
            topics=(),
            data="0x",
            block_number=BlockNumber(self.block),
            block_hash=BlockHash(make.unique_hash()),
            tx_hash=TxHash(make.unique_hash()),
            log_index=0,
        )
        self.events.append(Happened(log, event, operation_id))

    def is_repaid(self, amount: int, operation_id: str | None = None) -> None:
        self.owed -= amount
        moved = DebtMoved(self.position_id, OutsideKind.REPAYMENT, -amount, remaining_debt=self.owed)
        self.happens(moved, operation_id)

    def user_borrows(self, amount: int) -> None:
        self.owed, self.users = amount, True
        self.happens(DebtMoved(self.position_id, OutsideKind.BORROW, amount))

    def owner_liquidates(self, brought_back: int) -> None:
        """Default, liquidation and settlement; the loan's debt is gone with it."""
        repaid = min(brought_back, self.owed)
        self.lost, self.owed = self.owed - repaid, 0
        for moved in (
            DebtMoved(self.position_id, OutsideKind.DEFAULT),
            DebtMoved(self.position_id, OutsideKind.LIQUIDATION),
            DebtMoved(self.position_id, OutsideKind.LIQUIDATION, -repaid, remaining_debt=0),
        ):
            self.happens(moved)

    # What the engine does about it

    async def record(self) -> None:
        await self.desk.loans.record_borrow(OperationInput(operation_id=self.borrow))
        self.recorded = True

    async def activate(self) -> None:
        await self.desk.loans.activate_loan(OperationInput(operation_id=self.borrow))
        self.activated = True

    async def begin(self, amount: int) -> None:
        """Where the loan can be repaid, as the head would see."""
        async with self.desk.transaction() as session:
            loan = await session.get_one(Loan, self.loan_id)
            if loan.status not in (LoanStatus.ACTIVE, LoanStatus.DEFAULTED):
                return
            operation = await make.new_operation(
                session, self.desk.partner, kind=OperationKind.REPAY, loan_id=loan.id, terms={}, **DECIDED
            )
            await make.new_repayment(session, operation, loan, state=RepaymentState.REPAYING, collected=amount)
        await self.desk.leg(operation.id, LegName.COLLECT, amount)
        self.repaying = Repaying(operation.id, amount)

    async def land(self, repaying: Repaying) -> None:
        """The vault takes at most what is owed, and nothing once the position is liquidated; the rest is given back."""
        taken = min(repaying.amount, self.owed)
        if taken > 0:
            self.is_repaid(taken, repaying.operation_id)
            words = [taken, taken, 0, self.owed]
            repaid = make.log(make.VAULT, [LOAN_REPAID_EVENT.topic0, f"0x{self.position_id:064x}"], words)
            shown = {"logs": [repaid], "expected_logs": [make.expected(repaid)]}
            await self.desk.leg(repaying.operation_id, LegName.REPAY, taken, **shown)
        if taken < repaying.amount:
            await self.desk.leg(repaying.operation_id, LegName.REFUND, repaying.amount - taken)
        repaying.landed = True

    def read(self, repaying: Repaying) -> None:
        repaying.read = Debt(
            outstanding=self.owed, principal=self.owed, block_number=self.block, liquidated=self.lost is not None
        )

    async def apply(self, repaying: Repaying, debt: Debt) -> None:
        asked = ApplyRepayment(operation_id=repaying.operation_id, debt=debt)
        await self.desk.repayments.apply_repayment(asked)
        self.repaying = None

    async def follow(self) -> None:
        """The next event; and the two before it once more, as an overlapping scan would."""
        self.followed += 1
        key = PositionKey(make.CHAIN_ID, make.VAULT, self.position_id)
        for happened in self.events[max(0, self.followed - 3) : self.followed]:
            async with self.desk.transaction() as session:
                if happened.operation_id is None:
                    await record_movement(session, key, happened.log, happened.event)
                else:
                    await record_own(session, key, happened.log, happened.event, happened.operation_id)

    async def take(self, step: str, amount: int) -> None:  # noqa: C901 - one case for each thing that can happen
        """Nothing happens where it cannot now."""
        gone_bad, repaying = self.lost is not None, self.repaying
        match step:
            case "user repays" if self.owed > 0:
                self.is_repaid(min(amount, self.owed))
            case "user repays all" if self.owed > 0:
                self.is_repaid(self.owed)
            case "user borrows" if self.owed == 0 and not gone_bad:
                self.user_borrows(amount)
            case "owner liquidates" if self.owed > 0 and not self.users:
                self.owner_liquidates(amount)
            case "borrow is recorded" if not self.recorded:
                await self.record()
            case "loan is activated" if self.recorded and not self.activated:
                await self.activate()
            case "repayment begins" if self.activated and repaying is None:
                await self.begin(amount)
            case "repayment lands" if repaying is not None and not repaying.landed:
                await self.land(repaying)
            case "debt is read" if repaying is not None and repaying.landed:
                self.read(repaying)
            case "repayment is applied" if repaying is not None and repaying.read is not None:
                await self.apply(repaying, repaying.read)
            case "an event is followed" if self.followed < len(self.events):
                await self.follow()
            case _:
                pass

    async def catch_up(self) -> None:
        for step in ("borrow is recorded", "loan is activated", "repayment lands", "debt is read"):
            await self.take(step, 1)
        await self.take("repayment is applied", 1)
        while self.followed < len(self.events):
            await self.follow()


async def begun(desk: Desk) -> History:
    """A borrow whose legs are final on chain, and of which nothing is recorded yet."""
    operation_id = await desk.reserved(PRINCIPAL)
    await desk.leg(operation_id, LegName.BORROW, amount=PRINCIPAL)
    await desk.leg(operation_id, LegName.SETTLE, amount=PRINCIPAL)
    async with desk.transaction() as session:
        loan = (await session.scalars(select(Loan).where(Loan.operation_id == operation_id))).one()
    history = History(desk, operation_id, loan.position_id, loan.id)
    history.happens(DebtMoved(loan.position_id, OutsideKind.BORROW, PRINCIPAL), operation_id)
    return history


REPAID_BEFORE_THE_BORROW_IS_RECORDED: Taken = [
    (("user repays", "an event is followed", "an event is followed"), 40),
]
CLOSED_BEFORE_IT_IS_FOLLOWED: Taken = [
    (ACTIVE, 1),
    (("user repays",), 40),
    (("repayment begins", "user repays all", "repayment lands", "debt is read", "repayment is applied"), 10),
]
ENDED_AFTER_ITS_DEBT_WAS_READ: Taken = [
    (ACTIVE, 1),
    (("repayment begins", "repayment lands", "debt is read", "user repays all"), 40),
    ((*("an event is followed",) * 3, "repayment is applied"), 1),
]
LIQUIDATED_BEFORE_IT_IS_FOLLOWED: Taken = [
    (ACTIVE, 1),
    (("repayment begins", "owner liquidates", "repayment lands", "debt is read", "repayment is applied"), 40),
]
OVERTAKEN_BY_A_LIQUIDATION: Taken = [
    (ACTIVE, 1),
    (("repayment begins", "repayment lands"), 40),
    (("owner liquidates",), 30),
    (("an event is followed",) * 5, 1),
]
OVERTAKEN_BY_A_NEW_DEBT: Taken = [
    (ACTIVE, 1),
    (("repayment begins", "user repays all", "user borrows", "repayment lands", "debt is read"), 9),
    (("an event is followed",) * 3, 1),
]


KNOWN = {
    "repaid before the borrow is recorded": REPAID_BEFORE_THE_BORROW_IS_RECORDED,
    "closed before it is followed": CLOSED_BEFORE_IT_IS_FOLLOWED,
    "ended after its debt was read": ENDED_AFTER_ITS_DEBT_WAS_READ,
    "liquidated before it is followed": LIQUIDATED_BEFORE_IT_IS_FOLLOWED,
    "overtaken by a liquidation": OVERTAKEN_BY_A_LIQUIDATION,
    "overtaken by a new debt": OVERTAKEN_BY_A_NEW_DEBT,
}


@pytest.mark.parametrize("taken", KNOWN.values(), ids=KNOWN.keys())
async def test_known_orders(transaction: Transaction, taken: Taken) -> None:
    """Where a record could be made twice, for another's debt, or not at all, all adds up in the end."""
    await all_adds_up(transaction, taken)


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(taken=st.lists(steps, max_size=12))
async def test_any_order(transaction: Transaction, taken: Taken) -> None:
    """In every other order, too, all adds up in the end."""
    await all_adds_up(transaction, taken)


async def all_adds_up(transaction: Transaction, taken: Taken) -> None:
    """What is outstanding, written off and the user's own is what the chain says; the loan ends once, with one event."""
    desk = await open_desk(transaction)
    history = await begun(desk)
    for names, amount in taken:
        for name in names:
            await history.take(name, amount)
    await history.catch_up()
    async with desk.transaction() as session:
        loan = await session.get_one(Loan, history.loan_id)
        position = await session.get_one(SolvencyPosition, (make.CHAIN_ID, make.VAULT, history.position_id))
        partner = await session.get_one(Partner, desk.partner.id)
        ended = select(func.count()).join(Operation, Operation.id == Event.operation_id)
        repaid = await session.scalar(
            ended.where(Operation.loan_id == loan.id, Event.type == EventType.LOAN_REPAID).select_from(Event)
        )
    owed = 0 if history.users else history.owed
    assert loan.outstanding == owed
    assert (partner.outstanding, position.total_partner_debt) == (owed, owed)
    assert position.outside_debt == history.owed - owed
    assert loan.written_off == (history.lost or 0)
    status = LoanStatus.LIQUIDATED if history.lost is not None else LoanStatus.ACTIVE if owed else LoanStatus.REPAID
    assert loan.status is status
    assert repaid == (status is LoanStatus.REPAID)
