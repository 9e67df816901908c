"""What a leg that is not mined wants, from its rows and the market alone."""

from dataclasses import replace

import pytest

from chain.classifier import SendClass
from chain.codec import checksum
from chain.fees import Fees
from chain.stuck import Attempt, Stuck, replacement_for
from chain.types import Market, TxHash, Wei
from models.statuses import AttemptKind

PAYLOAD, CANCEL = AttemptKind.PAYLOAD, AttemptKind.CANCEL
CALM = Market(base_fee=Wei(10), tip=Wei(2), balance=Wei(0), nonce=0)
DEAR = replace(CALM, base_fee=Wei(1_000))
LOWEST, HIGHER = 7, 6
"""The leg's own nonce, so that it is the lowest, and another one, so that it is not."""


def attempt(
    kind: AttemptKind = PAYLOAD, means: SendClass = SendClass.SENT, *, most: int = 22, old: bool = True
) -> Attempt:
    fees = Fees(Wei(most), Wei(2))
    return Attempt(TxHash(f"0x{most}"), kind, b"", 21_000, fees, means, old=old, stale=False)


def leg(*attempts: Attempt, cancel_reason: str | None = None) -> Stuck:
    target = checksum("0x" + "a1" * 20)
    return Stuck(1, "op", "settle", 1, 7, target, b"", Wei(0), cancel_reason, attempts)


@pytest.mark.parametrize("lowest", [LOWEST, HIGHER])
@pytest.mark.parametrize("market", [CALM, DEAR])
@pytest.mark.parametrize("old", [False, True])
def test_age_alone_is_no_reason(lowest: int, market: Market, *, old: bool) -> None:
    """An old leg is bumped where it holds up the others, or cannot be mined at its price; a young one never."""
    wanted = replacement_for(leg(attempt(old=old)), lowest, market)
    assert wanted == (PAYLOAD if old and (lowest == LOWEST or market is DEAR) else None)


def test_only_the_newest_attempt_counts_for_the_age() -> None:
    """After a bump the leg is young again."""
    assert replacement_for(leg(attempt(), attempt(most=25, old=False)), LOWEST, DEAR) is None


@pytest.mark.parametrize("means", SendClass)
def test_what_a_node_said_to_the_best_attempt_decides(means: SendClass) -> None:
    """A price is raised at once where the node wants more, and never for a nonce that is used or a wallet that is empty."""
    young = leg(attempt(), attempt(means=means, most=25, old=False))
    at_once = means in {SendClass.REPRICE, SendClass.OURS_IS_LIVE}
    assert replacement_for(young, HIGHER, CALM) == (PAYLOAD if at_once else None)
    old = leg(attempt(means=means))
    never = means in {SendClass.RECONCILE, SendClass.FUNDS}
    assert replacement_for(old, LOWEST, CALM) == (None if never else PAYLOAD)


def test_a_first_attempt_that_meets_another_in_the_pool_waits_its_time() -> None:
    """One attempt alone outbids nobody of ours, so a live rival may be a copy that the node took before."""
    assert replacement_for(leg(attempt(means=SendClass.OURS_IS_LIVE, old=False)), LOWEST, DEAR) is None


def test_a_wish_to_cancel_is_followed_at_once_and_once() -> None:
    """Whatever the age; afterwards the cancellation is what is raised."""
    assert replacement_for(leg(attempt(old=False), cancel_reason="a test"), HIGHER, CALM) is CANCEL
    both = (attempt(), attempt(CANCEL, most=25, old=False))
    assert replacement_for(leg(*both, cancel_reason="a test"), LOWEST, CALM) is None
    raised = (attempt(), attempt(CANCEL, most=25, means=SendClass.REPRICE))
    assert replacement_for(leg(*raised, cancel_reason="a test"), LOWEST, CALM) is CANCEL


def test_a_nonce_that_seems_used_is_not_cancelled_either() -> None:
    """No price wins it back; whose it is must be found out first."""
    used = leg(attempt(means=SendClass.RECONCILE), cancel_reason="a test")
    assert replacement_for(used, LOWEST, DEAR) is None
    assert used.nonce_seems_used


def test_a_wallet_without_gas_may_still_afford_a_cancellation() -> None:
    """A self-transfer takes less gas than what was refused."""
    assert replacement_for(leg(attempt(means=SendClass.FUNDS), cancel_reason="a test"), LOWEST, CALM) is CANCEL
