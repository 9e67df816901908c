"""What a replacement offers, for every market and every cap."""

from hypothesis import assume, given
from hypothesis import strategies as st

from chain.fees import Fees, lowest_price, market_fees, raised
from chain.types import Market, Wei

WEI = st.integers(0, 10**13).map(Wei)
CAP = st.integers(1, 10**14).map(Wei)


@st.composite
def fees(draw: st.DrawFn) -> Fees:
    most = draw(WEI)
    return Fees(most, Wei(draw(st.integers(0, most))))


MARKETS = st.builds(Market, base_fee=WEI, tip=WEI, balance=WEI, nonce=st.just(0))


@given(fees(), MARKETS, CAP)
def test_a_replacement_pays_a_tenth_more_on_both_fees(previous: Fees, market: Market, cap: Wei) -> None:
    """Rounded up, strictly more even from zero, and never above the cap: what every pool demands."""
    more = raised(previous, market, cap)
    assume(more is not None)
    assert more is not None
    for new, old in ((more.most, previous.most), (more.priority, previous.priority)):
        assert new > old
        assert 10 * new >= 11 * old
    assert more.priority <= more.most <= cap


@given(fees(), MARKETS, CAP)
def test_a_replacement_pays_what_the_market_asks_for(previous: Fees, market: Market, cap: Wei) -> None:
    """Where the cap allows it, a raised attempt is not left below the market."""
    more = raised(previous, market, cap)
    fair = market_fees(market, cap)
    if more is not None and fair is not None:
        assert more.most >= fair.most
        assert more.priority >= fair.priority


@given(fees(), MARKETS, CAP)
def test_only_the_cap_ends_the_raising(previous: Fees, market: Market, cap: Wei) -> None:
    """There is a next attempt exactly as long as a tenth more is within the cap, whatever the market."""
    tenth_more = previous.most + max(1, -(-previous.most // 10))
    assert (raised(previous, market, cap) is None) == (tenth_more > cap)


@given(MARKETS, CAP)
def test_a_first_attempt_can_be_mined_now(market: Market, cap: Wei) -> None:
    """It covers base fee and tip, in order, and can be replaced once within the cap; where that cannot be there is none."""
    first = market_fees(market, cap)
    assert (first is None) == (11 * lowest_price(market) > 10 * cap)
    if first is not None:
        assert first.priority <= first.most
        assert raised(first, market, cap) is not None
        assert first.most >= lowest_price(market)
