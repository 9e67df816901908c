"""What money.md section 2 allows of legs, by the simplest means: a list of generations for each leg."""

from dataclasses import dataclass, field

from chain.broken import GenerationTooEarly, LegExcluded, Overcharged
from models import accounts
from models.errors import InvariantBroken
from models.messages.operators import CancelEffect
from models.statuses import IN_FLIGHT_STATES, LIVE_STATES, UNMINED_STATES, WITHOUT_EFFECT_STATES, TransactionState

S = TransactionState
COUNTS = LIVE_STATES | {S.FINAL_OK}
ACCOUNT_OF = {
    "borrow": None,
    "settle": accounts.IN_FLIGHT,
    "unwind": accounts.IN_FLIGHT,
    "repay": accounts.liability("p"),
    "refund": accounts.liability("p"),
}
LEGS = tuple(ACCOUNT_OF)
RIVALS = {"settle": "unwind", "unwind": "settle"}

MOVES: dict[str, tuple[frozenset[TransactionState], TransactionState]] = {
    "give_up_queued": (frozenset({S.QUEUED}), S.ABANDONED),
    "refuse_queued": (frozenset({S.QUEUED}), S.REFUSED),
    "mine": (IN_FLIGHT_STATES, S.MINED),
    "succeed": (IN_FLIGHT_STATES, S.FINAL_OK),
    "revert": (IN_FLIGHT_STATES, S.FINAL_REVERTED),
    "end_cancelled": (IN_FLIGHT_STATES, S.FINAL_CANCELLED),
    "hold": (IN_FLIGHT_STATES, S.HELD),
    "reorg": (frozenset({S.MINED}), S.BROADCAST),
    "resume": (frozenset({S.HELD}), S.BROADCAST),
    "accept": (frozenset({S.HELD}), S.FINAL_OK),
}
"""From where each move of the lane or of a person may start, and where it leads; QUEUED → PREPARED is apart, since it takes nonces."""


@dataclass
class Generation:
    """``nonce`` is taken at PREPARED and stays; a tombstone has no call and takes nothing."""

    operation: int
    leg: str
    number: int
    state: TransactionState
    amount: int
    nonce: int | None = None
    tombstone: bool = False


@dataclass
class Model:
    collected: int
    generations: list[Generation] = field(default_factory=list)
    next_nonce: int = 0

    def of(self, operation: int, leg: str) -> list[Generation]:
        return [each for each in self.generations if (each.operation, each.leg) == (operation, leg)]

    def find(self, operation: int, leg: str, number: int) -> Generation | None:
        return next((each for each in self.of(operation, leg) if each.number == number), None)

    def taken(self, operation: int, account: str | None) -> int:
        """What legs take from an account that may still have their effect, or had it."""
        return sum(
            each.amount
            for each in self.generations
            if each.operation == operation and ACCOUNT_OF[each.leg] == account and each.state in COUNTS
        )

    def why_not(self, wanted: Generation) -> type[InvariantBroken] | None:
        """Which rule a generation would break if it were queued."""
        if (early := self.why_too_early(wanted)) is not None:
            return early
        account = ACCOUNT_OF[wanted.leg]
        if account is not None and self.taken(wanted.operation, account) + wanted.amount > self.collected:
            return Overcharged
        rivals = self.of(wanted.operation, RIVALS.get(wanted.leg, ""))
        return LegExcluded if any(each.state in COUNTS for each in rivals) else None

    def why_too_early(self, wanted: Generation) -> type[InvariantBroken] | None:
        before = self.of(wanted.operation, wanted.leg)
        sure = all(each.state in WITHOUT_EFFECT_STATES for each in before)
        return None if sure and wanted.number == len(before) + 1 else GenerationTooEarly

    def abandon(self, operation: int, leg: str) -> bool:
        """Whether it is certain now that the leg has no effect and never will have."""
        rows = self.of(operation, leg)
        if any(each.state in COUNTS - {S.QUEUED} for each in rows):
            return False
        queued = [each for each in rows if each.state is S.QUEUED]
        if queued:
            queued[0].state = S.ABANDONED
        elif not rows or not rows[-1].tombstone:
            self.generations.append(Generation(operation, leg, len(rows) + 1, S.ABANDONED, 0, tombstone=True))
        return True

    def cancel(self, operation: int, leg: str) -> CancelEffect:
        """What asking for a cancellation of the newest generation does now."""
        rows = self.of(operation, leg)
        if not rows or rows[-1].state in WITHOUT_EFFECT_STATES:
            return CancelEffect.NOTHING
        if rows[-1].state is S.QUEUED:
            rows[-1].state = S.ABANDONED
            return CancelEffect.ABANDONED
        return CancelEffect.ASKED if rows[-1].state in UNMINED_STATES else CancelEffect.TOO_LATE
