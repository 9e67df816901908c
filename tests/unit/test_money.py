"""Fees and amounts: what is rounded, which way, and by how much."""

from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.money import BASIS_POINTS, MAX_AMOUNT, USDC_DECIMALS, format_usdc, platform_fee, quote
from models.tiers import TIERS

amounts = st.integers(1, MAX_AMOUNT)
fees_in_bps = st.integers(0, BASIS_POINTS)


@given(amounts, fees_in_bps)
def test_the_fee_is_rounded_down(principal: int, fee_bps: int) -> None:
    """A fee is never above what was agreed, and less than one base unit below it."""
    agreed = Fraction(principal * fee_bps, BASIS_POINTS)
    assert 0 <= agreed - platform_fee(principal, fee_bps) < 1


@given(amounts, fees_in_bps)
def test_a_quote_adds_up(principal: int, fee_bps: int) -> None:
    """What is borrowed is the fee and the payout, to the base unit."""
    priced = quote(principal, fee_bps)
    assert priced.principal == principal == priced.fee + priced.payout


@given(amounts, st.integers(0, BASIS_POINTS - 1))
def test_a_payout_is_never_nothing(principal: int, fee_bps: int) -> None:
    """With every fee that a partner can have, at least one base unit is paid out."""
    assert quote(principal, fee_bps).payout >= 1


@given(amounts, st.integers(0, BASIS_POINTS - 1))
def test_the_fee_grows_with_its_rate(principal: int, fee_bps: int) -> None:
    """A higher rate is never cheaper."""
    assert platform_fee(principal, fee_bps) <= platform_fee(principal, fee_bps + 1)


@given(st.integers(1, MAX_AMOUNT // 2), st.integers(1, MAX_AMOUNT // 2), fees_in_bps)
def test_two_borrows_save_less_than_a_base_unit(first: int, second: int, fee_bps: int) -> None:
    """Splitting a borrow changes its fees by the rounding alone."""
    together = platform_fee(first + second, fee_bps)
    apart = platform_fee(first, fee_bps) + platform_fee(second, fee_bps)
    assert 0 <= together - apart <= 1


def test_the_design_s_example() -> None:
    """50 basis points of 5,000 USDC are 25 USDC."""
    priced = quote(5_000_000_000, 50)
    assert (priced.fee, priced.payout) == (25_000_000, 4_975_000_000)


@pytest.mark.parametrize("principal", [0, -1])
def test_nothing_has_no_fee(principal: int) -> None:
    """A principal that is not positive is a bug of the caller."""
    with pytest.raises(ValueError, match="principal must be positive"):
        platform_fee(principal, 50)


@pytest.mark.parametrize("fee_bps", [-1, BASIS_POINTS + 1])
def test_a_rate_is_between_none_and_all(fee_bps: int) -> None:
    """A rate below zero or above the whole is a bug of the caller."""
    with pytest.raises(ValueError, match="fee_bps must be between"):
        platform_fee(1, fee_bps)


def test_a_quote_has_an_upper_bound() -> None:
    """The largest amount can be quoted, and one base unit more cannot."""
    assert quote(MAX_AMOUNT, 0).payout == MAX_AMOUNT
    with pytest.raises(ValidationError):
        quote(MAX_AMOUNT + 1, 0)


def test_every_column_holds_the_largest_amounts() -> None:
    """Nine of the largest amounts fit into one BIGINT, so that sums of a few do not overflow."""
    assert 9 * MAX_AMOUNT < 2**63


def test_a_quote_is_frozen() -> None:
    """What was promised is not changed afterwards."""
    priced = quote(100, 50)
    with pytest.raises(ValidationError, match="frozen"):
        priced.fee = 0  # type: ignore[misc]  # that it cannot be written is the point


@given(st.integers(-MAX_AMOUNT, MAX_AMOUNT))
def test_a_shown_amount_is_the_amount(amount: int) -> None:
    """No digit is lost for people: the text read back is the amount."""
    assert Decimal(format_usdc(amount).replace(",", "")) * 10**USDC_DECIMALS == amount


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (0, "0.00"),
        (1, "0.000001"),
        (500_000, "0.50"),
        (5_000_000_000, "5,000.00"),
        (1_234_567_890_100_000, "1,234,567,890.10"),
        (-1_500_001, "-1.500001"),
    ],
)
def test_how_an_amount_is_shown(amount: int, shown: str) -> None:
    """At least cents, at most six decimals, thousands apart."""
    assert format_usdc(amount) == shown


def test_a_higher_tier_has_higher_limits_and_lower_fees() -> None:
    """BASIC, PREMIUM, ENTERPRISE: each has more than the one before, for less."""
    terms = list(TIERS.values())
    for lower, higher in pairwise(terms):
        assert lower.daily_borrow_limit < higher.daily_borrow_limit
        assert lower.total_borrow_limit < higher.total_borrow_limit
        assert lower.fee_bps > higher.fee_bps
    assert all(each.daily_borrow_limit <= each.total_borrow_limit for each in terms)
