"""What a partner's limits should say, by the simplest means: each sum is taken anew over all borrows."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from models.messages.borrow import BorrowDecision, ReserveLimit
from models.statuses import IN_FLIGHT_STATES, WITHOUT_EFFECT_STATES, LoanStatus, TransactionState

MAY_HAVE_EFFECT = IN_FLIGHT_STATES | {TransactionState.HELD, TransactionState.FINAL_OK}


class Stage(StrEnum):
    """How far a borrow has come."""

    ASKED = "ASKED"
    REFUSED = "REFUSED"
    RESERVED = "RESERVED"
    DRAWN = "DRAWN"
    ACTIVE = "ACTIVE"
    FAILED = "FAILED"
    REVERSED = "REVERSED"
    REPAID = "REPAID"


STATUS = {
    Stage.RESERVED: LoanStatus.PENDING,
    Stage.DRAWN: LoanStatus.SETTLING,
    Stage.ACTIVE: LoanStatus.ACTIVE,
    Stage.FAILED: LoanStatus.FAILED,
    Stage.REVERSED: LoanStatus.REVERSED,
    Stage.REPAID: LoanStatus.REPAID,
}
"""Of a borrow that has a loan."""
OPEN = frozenset({Stage.RESERVED, Stage.DRAWN, Stage.ACTIVE})
DONE = frozenset({Stage.REFUSED, Stage.FAILED, Stage.REVERSED, Stage.ACTIVE, Stage.REPAID})
COUNTS_FOR_ITS_DAY = frozenset({Stage.DRAWN, Stage.ACTIVE, Stage.REPAID})


@dataclass(eq=False)
class Borrow:
    """One borrow, the state of its borrow leg, and what it owes."""

    partner: int
    asked: ReserveLimit
    stage: Stage = Stage.ASKED
    day: date | None = None
    leg: TransactionState | None = None
    outstanding: int = 0
    decision: BorrowDecision | None = None
    repayment_stuck: bool = False

    @property
    def amount(self) -> int:
        return self.asked.quote.principal

    @property
    def position(self) -> int:
        return self.asked.standing.position_id

    @property
    def loan_id(self) -> str:
        assert self.decision is not None
        assert self.decision.terms is not None
        return self.decision.terms.loan_id

    @property
    def releasable(self) -> bool:
        """Whether it is certain that nothing was borrowed, or can be made so."""
        certain = self.leg is None or self.leg is TransactionState.QUEUED or self.leg in WITHOUT_EFFECT_STATES
        return self.stage is Stage.RESERVED and certain


@dataclass
class Limits:
    total: int
    daily: int


@dataclass
class Model:
    limits: list[Limits] = field(default_factory=list)
    borrows: list[Borrow] = field(default_factory=list)

    def reserved(self, partner: int) -> int:
        return sum(each.amount for each in self._of(partner) if each.stage is Stage.RESERVED)

    def outstanding(self, partner: int) -> int:
        return sum(each.outstanding for each in self._of(partner))

    def of_days(self, partner: int) -> Counter[tuple[str, date]]:
        """``borrowed`` and ``reserved`` of each day."""
        found: Counter[tuple[str, date]] = Counter()
        for each in self._of(partner):
            if each.day is not None and each.stage in COUNTS_FOR_ITS_DAY:
                found["borrowed", each.day] += each.amount
            elif each.day is not None and each.stage is Stage.RESERVED:
                found["reserved", each.day] += each.amount
        return found

    def used_of_total(self, partner: int) -> int:
        return self.reserved(partner) + self.outstanding(partner)

    def used_of_day(self, partner: int, day: date) -> int:
        of_days = self.of_days(partner)
        return of_days["borrowed", day] + of_days["reserved", day]

    def owed_on(self, position: int) -> int:
        return sum(each.outstanding for each in self.borrows if each.position == position)

    def is_taken(self, position: int) -> bool:
        return any(each.position == position and each.stage in OPEN for each in self.borrows)

    def _of(self, partner: int) -> list[Borrow]:
        return [each for each in self.borrows if each.partner == partner]
