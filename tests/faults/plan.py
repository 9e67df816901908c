"""What goes wrong between the engine and its node, and when: a pure function of a seed, so that a seed is a plan.

Every fault is something that real nodes and the load balancers before them do: they lose, delay, repeat and reorder requests,
lag behind, know nothing of what another node knows, and refuse with the words of their kind. None invents a receipt, a log or
a balance. A chain that lies about what happened is outside the promise (docs/money-safety.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import shake_256

from chain.classifier import SendClass
from tests.chain.test_classifier import CORPUS

SEND = "eth_sendRawTransaction"


class Fault(StrEnum):
    LOST_BEFORE = "lost-before"
    """The request never reaches the node."""
    LOST_AFTER = "lost-after"
    """The node has served the request, and its answer is lost."""
    CUT = "cut"
    """The node has served the whole batch, and the connection is closed instead of an answer."""
    DELAYED = "delayed"
    TWICE = "twice"
    """The request reaches the node twice."""
    HELD_BACK = "held-back"
    """A transaction reaches the node after one that was sent later."""
    UNKNOWN_HERE = "unknown-here"
    """Null for a receipt or a block: another node has it."""
    LAGS = "lags"
    """Answered as of some blocks ago: an old head, a lower nonce, old state, no newer receipts and logs."""
    ALREADY_KNOWN = "already-known"
    """Said of a transaction that is then not kept."""
    REFUSED_UNSENT = "refused-unsent"
    """The words of a real node, instead of the sending."""
    REFUSED_SENT = "refused-sent"
    """The words of a real node, after another one took the transaction."""
    BUSY = "busy"
    """Said of one request inside a good answer."""
    TOO_MANY = "too-many"
    """HTTP 429, before the node."""
    BAD_GATEWAY = "bad-gateway"
    """HTTP 502 or 503, after the node."""
    MALFORMED = "malformed"
    """Half of the JSON, after the node."""


_LAGGING = frozenset(
    {
        "eth_getBlockByNumber",
        "eth_getTransactionReceipt",
        "eth_getTransactionCount",
        "eth_getBalance",
        "eth_getLogs",
        "eth_call",
        "eth_estimateGas",
    }
)
_FITTING: dict[Fault, frozenset[str]] = {
    Fault.HELD_BACK: frozenset({SEND}),
    Fault.ALREADY_KNOWN: frozenset({SEND}),
    Fault.REFUSED_UNSENT: frozenset({SEND}),
    Fault.REFUSED_SENT: frozenset({SEND}),
    Fault.UNKNOWN_HERE: frozenset({"eth_getTransactionReceipt", "eth_getBlockByNumber"}),
    Fault.LAGS: _LAGGING,
}
"""Faults that only some methods have; the others fit all."""

_PASSING = frozenset(
    {SendClass.RECONCILE, SendClass.OURS_IS_LIVE, SendClass.REPRICE, SendClass.GAP, SendClass.FUNDS, SendClass.UNKNOWN}
)
REFUSALS: tuple[str, ...] = tuple(message for means, _, message in CORPUS if means in _PASSING)
"""Of the classifier's corpus what passes by itself. INVALID and STOP call a person, so that chaos would end there."""

LEAST, MOST = 50, 200
"""Per mille of the calls."""
MAX_LAG = 4
MAX_DELAY_MILLISECONDS = 400


@dataclass(frozen=True, slots=True)
class Injection:
    """A fault with its particulars: ``amount`` picks the delay in ms, the lag in blocks, or the words of a refusal."""

    fault: Fault
    amount: int

    @property
    def lag(self) -> int:
        return 1 + self.amount % MAX_LAG

    @property
    def delay_milliseconds(self) -> int:
        return 1 + self.amount % MAX_DELAY_MILLISECONDS

    @property
    def refusal(self) -> str:
        return REFUSALS[self.amount % len(REFUSALS)]


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """``per_mille`` of the calls of each method are hit, each by one of the kinds that fit the method.

    Sends are few among many reads, and are what can move money twice: they are always hit at the highest rate.
    """

    seed: int
    per_mille: int
    per_mille_of_sends: int
    kinds: Sequence[Fault] = tuple(Fault)

    @classmethod
    def of(cls, seed: int) -> "FaultPlan":
        """The plan of a seed: 5 to 20 % of the calls, and between four of the kinds and all of them."""
        rate, number, *order = _draws(f"plan {seed}", 2 + len(Fault))
        shuffled = [fault for _, fault in sorted(zip(order, Fault, strict=True))]
        return cls(seed, LEAST + rate % (MOST - LEAST + 1), MOST, tuple(shuffled[: 4 + number % (len(Fault) - 3)]))

    def decide(self, method: str, number: int) -> Injection | None:
        """What befalls the call of this number among the calls of its method."""
        hit, which, amount = _draws(f"{self.seed} {method} {number}", 3)
        fitting = [fault for fault in self.kinds if method in _FITTING.get(fault, {method})]
        if hit % 1000 >= (self.per_mille_of_sends if method == SEND else self.per_mille) or not fitting:
            return None
        return Injection(fitting[which % len(fitting)], amount)


def _draws(key: str, number: int) -> list[int]:
    """Numbers that depend on nothing but the key."""
    digest = shake_256(key.encode()).digest(4 * number)
    return [int.from_bytes(digest[start : start + 4]) for start in range(0, len(digest), 4)]
