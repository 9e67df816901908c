"""Partners' limits under borrows in any order: what is taken is given back once, to its own day, and never exceeded."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Self

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, initialize, invariant, multiple, rule
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from models.errors import (
    DailyLimitExceeded,
    InvariantBroken,
    LegReverted,
    PlanAlreadyActive,
    Refused,
    TotalLimitExceeded,
)
from models.messages.borrow import ReverseLoan
from models.messages.common import Debt, OperationInput, Refuse
from models.money import quote
from models.statuses import IN_FLIGHT_STATES, LegName, LoanStatus, TransactionState
from models.tables.loans import Loan, Reservation, SolvencyPosition
from models.tables.operations import Operation
from models.tables.partners import Partner, PartnerDay
from models.tables.transactions import ChainTransaction
from tests import factories as make
from tests.activities.desk import Desk, open_desk
from tests.machines import stage as on
from tests.machines.borrows import DONE, STATUS, Borrow, Limits, Model, Stage

PARTNERS = 2
ROOM = 25
LONG_AGO = date(2020, 1, 1)
S = TransactionState

SENT = (S.FINAL_OK, S.QUEUED, S.BROADCAST, S.HELD, S.REFUSED)
ENDS = (S.FINAL_OK, S.FINAL_REVERTED, S.FINAL_CANCELLED)
WRONG_OR_RIGHT = (
    "decide", "refuse", "send", "come_to_an_end", "release", "record", "activate", "reverse", "repay", "a_day_passes",
    "change_limits",
)  # fmt: skip
DEEDS = WRONG_OR_RIGHT + ("go_on",) * 9

partners = st.integers(0, PARTNERS - 1)
amounts = st.integers(1, 12)
positions = st.integers(1, 6)


class Borrowing(on.Machine):
    borrows = Bundle("borrows")

    def __init__(self, stage: on.Stage) -> None:
        super().__init__(stage)
        self.model = Model()
        self.desks: list[Desk] = []
        self.days_gone = 0

    @initialize(target=borrows, asked=st.lists(st.tuples(partners, amounts, positions), min_size=4, max_size=8))
    def partners_that_have_asked(self, asked: list[tuple[int, int, int]]) -> MultipleResults[Borrow]:
        for _ in range(PARTNERS):
            opened = partial(open_desk, self.transaction, total_borrow_limit=ROOM, daily_borrow_limit=ROOM)
            self.desks.append(self.wait(opened))
            self.model.limits.append(Limits(ROOM, ROOM))
        return multiple(*(self.ask(*each) for each in asked))

    @rule(borrow=borrows, deed=st.sampled_from(DEEDS), how=st.integers(0, 12))
    def do(self, borrow: Borrow, deed: str, how: int) -> None:
        """One rule and not one for each deed, half of whose deeds go on: else few borrows would come far."""
        getattr(self, deed)(borrow, how)

    # The head

    def ask(self, number: int, amount: int, position: int) -> Borrow:
        borrow = Borrow(number, self.wait(partial(self.desks[number].asks, amount, position)))
        self.model.borrows.append(borrow)
        return borrow

    def decide(self, borrow: Borrow, _how: int = 0) -> None:
        reserve = partial(self.desks[borrow.partner].limits.reserve_limit, borrow.asked)
        refusal = self._why_not(borrow) if borrow.decision is None else None
        if refusal is not None:
            with pytest.raises(refusal):
                self.wait(reserve)
            return
        decision = self.wait(reserve)
        if borrow.decision is None:
            self._check_reservation(borrow)
            borrow.decision, borrow.stage = decision, Stage.RESERVED
        assert decision == borrow.decision

    def refuse(self, borrow: Borrow, _how: int = 0) -> None:
        decision = self.wait(partial(self.desks[borrow.partner].loans.refuse_borrow, _refusal(borrow)))
        if borrow.decision is None:
            borrow.decision, borrow.stage = decision, Stage.REFUSED
        assert decision == borrow.decision

    def _why_not(self, borrow: Borrow) -> type[Refused] | None:
        mine = self.model.limits[borrow.partner]
        if self.model.is_taken(borrow.position):
            return PlanAlreadyActive
        if self.model.used_of_total(borrow.partner) + borrow.amount > mine.total:
            return TotalLimitExceeded
        if self.model.used_of_day(borrow.partner, _today()) + borrow.amount > mine.daily:
            return DailyLimitExceeded
        return None

    def _check_reservation(self, borrow: Borrow) -> None:
        """The row keeps what was in force when it was made, and was within it (invariant 2)."""
        row = self.commit(partial(AsyncSession.get_one, entity=Reservation, ident=borrow.asked.operation_id))
        mine = self.model.limits[borrow.partner]
        assert (row.total_limit, row.daily_limit) == (mine.total, mine.daily)
        assert row.total_used_before == self.model.used_of_total(borrow.partner) <= mine.total - borrow.amount
        assert row.daily_used_before == self.model.used_of_day(borrow.partner, row.day) <= mine.daily - borrow.amount
        borrow.day = row.day

    # The tail

    def send(self, borrow: Borrow, how: int) -> None:
        state = SENT[how % len(SENT)]
        if borrow.stage is Stage.RESERVED and borrow.leg is None:
            self._add_leg(borrow, LegName.BORROW, state)
            borrow.leg = state

    def come_to_an_end(self, borrow: Borrow, how: int) -> None:
        state = ENDS[how % len(ENDS)]
        if borrow.leg in IN_FLIGHT_STATES | {S.HELD}:
            ended = update(ChainTransaction).where(ChainTransaction.operation_id == borrow.asked.operation_id)
            evidence = {"result_tx_hash": make.unique_hash(), "result_block": 1, "logs": []}
            self.commit(partial(AsyncSession.execute, statement=ended.values(state=state, **evidence)))
            borrow.leg = state

    def release(self, borrow: Borrow, _how: int = 0) -> None:
        if borrow.stage in {Stage.ASKED, Stage.REFUSED}:
            return
        act = partial(self.desks[borrow.partner].limits.release_limit, _refusal(borrow))
        if borrow.releasable:
            assert self.wait(act).status == Stage.FAILED
            borrow.stage, borrow.leg = Stage.FAILED, borrow.leg or S.ABANDONED
        elif borrow.stage in DONE:
            assert self.wait(act).loan_id is not None
        else:
            with pytest.raises(InvariantBroken):
                self.wait(act)

    def record(self, borrow: Borrow, _how: int = 0) -> None:
        if borrow.stage in {Stage.ASKED, Stage.REFUSED}:
            return
        act = partial(self.desks[borrow.partner].loans.record_borrow, _of(borrow))
        if borrow.stage is Stage.RESERVED and borrow.leg is not S.FINAL_OK:
            with pytest.raises(InvariantBroken):
                self.wait(act)
            return
        self.wait(act)
        if borrow.stage is Stage.RESERVED:
            borrow.stage, borrow.outstanding = Stage.DRAWN, borrow.amount

    def activate(self, borrow: Borrow, how: int) -> None:
        paid_out = how > 0
        if borrow.stage not in {Stage.RESERVED, Stage.DRAWN}:
            return
        act = partial(self.desks[borrow.partner].loans.activate_loan, _of(borrow))
        if borrow.stage is Stage.DRAWN and paid_out:
            self._add_leg(borrow, LegName.SETTLE, S.FINAL_OK)
            self.wait(act)
            borrow.stage = Stage.ACTIVE
        else:
            with pytest.raises(InvariantBroken):
                self.wait(act)

    def reverse(self, borrow: Borrow, how: int) -> None:
        owed = how % 2
        if borrow.stage in {Stage.ASKED, Stage.REFUSED}:
            return
        debt = Debt(outstanding=owed, principal=owed, block_number=1)
        asked = ReverseLoan(operation_id=borrow.asked.operation_id, refusal=_refusal(borrow).refusal, debt=debt)
        act = partial(self.desks[borrow.partner].loans.reverse_loan, asked)
        if owed > 0 or borrow.stage is Stage.RESERVED:
            with pytest.raises(InvariantBroken):
                self.wait(act)
            return
        if borrow.stage is Stage.DRAWN:
            self._add_leg(borrow, LegName.UNWIND, S.FINAL_OK)
            borrow.stage, borrow.outstanding = Stage.REVERSED, 0
        self.wait(act)

    def repay(self, borrow: Borrow, how: int) -> None:
        part, interest, kept = how, how % 3, int(how % 5 == 4)
        if borrow.stage is not Stage.ACTIVE or borrow.repayment_stuck:
            return
        principal = min(part, borrow.outstanding)
        loan = self.commit(partial(AsyncSession.get_one, entity=Loan, ident=borrow.loan_id))
        act = partial(self.desks[borrow.partner].repays, loan, principal, interest, kept)
        if kept > 0:
            with pytest.raises(InvariantBroken):
                self.wait(act)
            borrow.repayment_stuck = True
            return
        self.wait(act)
        borrow.outstanding -= principal
        borrow.stage = Stage.ACTIVE if borrow.outstanding else Stage.REPAID

    def go_on(self, borrow: Borrow, how: int) -> None:
        """The next step of a borrow that goes well, so that many get far."""
        if borrow.stage is Stage.ASKED:
            self.decide(borrow)
        elif borrow.stage is Stage.RESERVED and borrow.leg is None:
            self.send(borrow, 0)
        elif borrow.stage is Stage.RESERVED:
            self.come_to_an_end(borrow, 0)
            self.record(borrow)
        elif borrow.stage is Stage.DRAWN:
            self.activate(borrow, 1)
        elif borrow.stage is Stage.ACTIVE:
            self.repay(borrow, how)

    # What else happens

    def change_limits(self, borrow: Borrow, how: int) -> None:
        total, daily = ROOM * (how % 3) // 2, ROOM * (how // 3 % 3) // 2
        changed = update(Partner).where(Partner.id == self.desks[borrow.partner].partner.id)
        values = {"total_borrow_limit": total, "daily_borrow_limit": daily}
        self.commit(partial(AsyncSession.execute, statement=changed.values(**values)))
        self.model.limits[borrow.partner] = Limits(total, daily)

    def a_day_passes(self, _borrow: Borrow, _how: int) -> None:
        """What happened today happened on a day of its own, long ago."""
        self.days_gone += 1
        today, then = _today(), LONG_AGO + timedelta(days=self.days_gone)
        for table in (PartnerDay, Reservation):
            passed = update(table).where(table.day == today).values(day=then)
            self.commit(partial(AsyncSession.execute, statement=passed))
        for each in self.model.borrows:
            each.day = then if each.day == today else each.day

    # What must hold

    @invariant()
    def every_figure_is_the_model_s(self) -> None:
        seen = self.commit(_Seen.read)
        for number, desk in enumerate(self.desks):
            partner_id = desk.partner.id
            assert seen.taken[partner_id] == (self.model.reserved(number), self.model.outstanding(number))
            assert seen.of_days(partner_id) == self.model.of_days(number)
        assert seen.loans == {
            each.asked.operation_id: (STATUS[each.stage], each.outstanding)
            for each in self.model.borrows
            if each.stage in STATUS
        }
        assert all(debt == self.model.owed_on(position) for position, debt in seen.debts.items())

    def _add_leg(self, borrow: Borrow, leg: LegName, state: TransactionState) -> None:
        amount = quote(borrow.amount, 50).payout if leg is LegName.SETTLE else borrow.amount

        async def add(session: AsyncSession) -> None:
            await make.known_signer(session)
            operation = await session.get_one(Operation, borrow.asked.operation_id)
            await make.new_leg(session, operation, leg, state, amount=amount)

        self.commit(add)


def test_any_order_of_steps(stage: on.Stage) -> None:
    """After each step of any sequence every figure of partners, days, loans and positions is the model's."""
    on.play(Borrowing, stage, examples=20, steps=30)


@dataclass(frozen=True)
class _Seen:
    """What the rows say."""

    taken: dict[str, tuple[int, int]]
    days: Sequence[PartnerDay]
    loans: dict[str, tuple[LoanStatus, int]]
    debts: dict[int, int]

    @classmethod
    async def read(cls, session: AsyncSession) -> Self:
        partners = await session.scalars(select(Partner))
        days = await session.scalars(select(PartnerDay))
        loans = await session.scalars(select(Loan))
        positions = await session.scalars(select(SolvencyPosition))
        return cls(
            taken={row.id: (row.reserved, row.outstanding) for row in partners},
            days=days.all(),
            loans={row.operation_id: (row.status, row.outstanding) for row in loans},
            debts={row.position_id: row.total_partner_debt for row in positions},
        )

    def of_days(self, partner_id: str) -> Counter[tuple[str, date]]:
        found: Counter[tuple[str, date]] = Counter()
        for row in self.days:
            if row.partner_id == partner_id:
                found["borrowed", row.day], found["reserved", row.day] = row.borrowed, row.reserved
        return +found


def _of(borrow: Borrow) -> OperationInput:
    return OperationInput(operation_id=borrow.asked.operation_id)


def _refusal(borrow: Borrow) -> Refuse:
    refusal = LegReverted(LegName.BORROW, "the machine says so").payload()
    return Refuse(operation_id=borrow.asked.operation_id, refusal=refusal)


def _today() -> date:
    return datetime.now(UTC).date()
