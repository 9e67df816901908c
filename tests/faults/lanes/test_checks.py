"""Each check of the lane's campaigns fails where what it guards is broken: the rows and the chain are made up here."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from models.statuses import AttemptKind, TransactionState
from tests.faults.lanes.checks import Facts, LegFacts, MinedAttempt, breaches
from tests.faults.lanes.witness import zombies

S = TransactionState


def _leg(nonce: int) -> LegFacts:
    """A payment that went well."""
    mined = MinedAttempt(f"0x{nonce}", AttemptKind.PAYLOAD, succeeded=True, block_hash="0xb")
    return LegFacts(f"leg {nonce}", S.FINAL_OK, nonce, 10 + nonce, f"0x{nonce}", "0xb", (mined,))


SOUND = Facts([_leg(3), _leg(4)], 3, 5, mined_nonces=5, payments=[13, 14], opened_with=100, holds=73)

Change = Callable[[Facts], Facts]
BROKEN: list[tuple[str, Change]] = [
    ("paid 2 times", lambda facts: replace(facts, payments=[13, 14, 14])),
    ("paid 0 times", lambda facts: replace(facts, payments=[13])),
    ("of no leg", lambda facts: replace(facts, payments=[13, 14, 99])),
    ("wallet holds", lambda facts: replace(facts, holds=72)),
    ("nonce 5 is of no leg", lambda facts: replace(facts, next_nonce=6, mined_nonces=6)),
    ("never given out", lambda facts: replace(facts, next_nonce=4, mined_nonces=4)),
    ("the chain has used", lambda facts: replace(facts, mined_nonces=6)),
    ("belongs to 2 legs", lambda facts: _second(facts, nonce=3)),
    ("ended MINED", lambda facts: _second(facts, state=S.MINED)),
    ("has paid 1 times", lambda facts: _second(facts, state=S.FINAL_CANCELLED)),
    ("0 attempts on chain", lambda facts: _second(facts, mined=())),
    ("2 attempts on chain", lambda facts: _second(facts, mined=_leg(4).mined * 2)),
    ("names 0x4 in 0xold", lambda facts: _second(facts, result_block_hash="0xold")),
    ("is FINAL_OK; the chain", lambda facts: _second(facts, mined=(replace(_leg(4).mined[0], succeeded=False),))),
    ("lost its nonce", lambda facts: replace(facts, stolen=frozenset({4}))),
]


def _second(facts: Facts, **changes: object) -> Facts:
    first, second = facts.legs
    return replace(facts, legs=[first, replace(second, **changes)])  # type: ignore[arg-type]  # of the named fields


def test_what_is_sound_breaks_nothing() -> None:
    """Two payments that went well, and a leg that never got a nonce where that is allowed."""
    waiting = LegFacts("given up", S.ABANDONED, None, 1, None, None, ())
    with_waiting = replace(SOUND, legs=[*SOUND.legs, waiting])
    assert breaches(with_waiting, {"given up": {S.ABANDONED}}) == []


@pytest.mark.parametrize(("says", "change"), BROKEN)
def test_what_is_broken_is_said(says: str, change: Change) -> None:
    """One sentence of the answer names what was broken."""
    assert any(says in breach for breach in breaches(change(SOUND)))


def test_a_session_that_writes_again_after_another_is_named() -> None:
    """Terms follow each other and never come back; a lane that is elected again has a new session."""
    assert zombies([(1, "lane-1"), (2, "lane-2"), (3, "lane-1")]) == []
    assert zombies([(1, "lane-1"), (2, "lane-2"), (1, "lane-1")]) == ["lane-1 (session 1) wrote after its term"]
