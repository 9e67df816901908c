"""Whether the legs of one signer, its nonces and its USDC on chain are exactly what each other say.

A campaign of the lane works on legs alone, without the loans around them, so it has checks of its own, as exact as the
invariants of money.md section 8: each leg pays an amount that no other leg pays, so a payment on chain names its leg.
They judge what was read, and read nothing themselves, so that each of them is seen to fail (test_checks.py).
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from models.statuses import AttemptKind, TransactionState

OK = frozenset({TransactionState.FINAL_OK})


@dataclass(frozen=True, slots=True)
class MinedAttempt:
    """What the chain has of an attempt now."""

    hash: str
    kind: AttemptKind
    succeeded: bool
    block_hash: str


@dataclass(frozen=True, slots=True)
class LegFacts:
    """A row of ``chain_transactions``, and which of its attempts the chain has now."""

    name: str
    state: TransactionState
    nonce: int | None
    amount: int
    result_tx_hash: str | None
    result_block_hash: str | None
    mined: tuple[MinedAttempt, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """All of one signer. ``payments`` are the amounts of the Transfer logs out of the wallet, in base units."""

    legs: Sequence[LegFacts]
    first_nonce: int
    next_nonce: int
    mined_nonces: int
    payments: Sequence[int]
    opened_with: int
    holds: int
    stolen: frozenset[int] = frozenset()
    """Nonces that a transaction which is not ours has used."""


def breaches(facts: Facts, ends: Mapping[str, Collection[TransactionState]] | None = None) -> list[str]:
    """Every sentence is a broken promise. ``ends`` names the ends that a leg may have where that is not FINAL_OK alone."""
    allowed = ends or {}
    return [
        *_ends(facts.legs, allowed),
        *_nonces(facts),
        *_effects(facts),
        *_evidence(facts),
        *_balance(facts),
    ]


def _ends(legs: Iterable[LegFacts], allowed: Mapping[str, Collection[TransactionState]]) -> Iterator[str]:
    for leg in legs:
        if leg.state not in allowed.get(leg.name, OK):
            yield f"{leg.name} ended {leg.state}, not {' or '.join(sorted(allowed.get(leg.name, OK)))}"


def _nonces(facts: Facts) -> Iterator[str]:
    taken = Counter(leg.nonce for leg in facts.legs if leg.nonce is not None)
    wanted = set(range(facts.first_nonce, facts.next_nonce))
    yield from (f"nonce {nonce} belongs to {number} legs" for nonce, number in taken.items() if number > 1)
    yield from (f"nonce {nonce} is of no leg" for nonce in sorted(wanted - taken.keys()))
    yield from (f"nonce {nonce} was never given out" for nonce in sorted(taken.keys() - wanted))
    if facts.mined_nonces != facts.next_nonce:
        yield f"the chain has used nonces up to {facts.mined_nonces}, and the signer's row says {facts.next_nonce}"


def _effects(facts: Facts) -> Iterator[str]:
    """Each leg that succeeded has paid once, every other leg not at all, and nobody else has paid."""
    paid = Counter(facts.payments)
    for leg in facts.legs:
        wanted = int(leg.state is TransactionState.FINAL_OK)
        if paid[leg.amount] != wanted:
            yield f"{leg.name} is {leg.state} and has paid {paid[leg.amount]} times"
    known = {leg.amount for leg in facts.legs}
    yield from (f"a payment of {amount} is of no leg" for amount in sorted(paid.keys() - known))


def _evidence(facts: Facts) -> Iterator[str]:
    """Of the attempts at a nonce the chain has one, in the block that the row names, and it is what the row says it is."""
    for leg in facts.legs:
        if leg.nonce in facts.stolen:
            yield from (f"{leg.name} lost its nonce, and {each.hash} of it was mined" for each in leg.mined)
        elif len(leg.mined) != int(leg.nonce is not None):
            yield f"{leg.name} at nonce {leg.nonce} has {len(leg.mined)} attempts on chain"
        elif leg.nonce is not None:
            yield from _evidence_of(leg, leg.mined[0])


def _evidence_of(leg: LegFacts, mined: MinedAttempt) -> Iterator[str]:
    if (leg.result_tx_hash, leg.result_block_hash) != (mined.hash, mined.block_hash):
        yield f"{leg.name} names {leg.result_tx_hash} in {leg.result_block_hash}; the chain {mined}"
    if leg.state is not _end_of(mined):
        yield f"{leg.name} is {leg.state}; the chain {mined}"


def _end_of(mined: MinedAttempt) -> TransactionState:
    if mined.kind is AttemptKind.CANCEL:
        return TransactionState.FINAL_CANCELLED
    return TransactionState.FINAL_OK if mined.succeeded else TransactionState.FINAL_REVERTED


def _balance(facts: Facts) -> Iterator[str]:
    paid = sum(leg.amount for leg in facts.legs if leg.state is TransactionState.FINAL_OK)
    if facts.holds != facts.opened_with - paid:
        yield f"the wallet holds {facts.holds}, and not {facts.opened_with} less {paid} that its legs have paid"
