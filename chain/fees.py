"""What a transaction offers for its gas: first the market's price, and at the same nonce always more (money.md section 2)."""

import asyncio
from dataclasses import dataclass

from chain.lane_config import LaneConfig, LaneNode
from chain.types import Market, Wei

_RAISE_PERCENT = 10
"""What a pool demands of a replacement, on both fees; some demand less, and none of the common ones more."""


@dataclass(frozen=True, slots=True)
class Fees:
    """Wei per gas: the most that is paid for base fee and tip together, and the tip in it."""

    most: Wei
    priority: Wei


def market_fees(market: Market, cap: Wei) -> Fees | None:
    """Twice the base fee, so that it may rise for six full blocks, and the tip; below the cap by what a replacement adds.

    Without that room what was sent could be neither outbid nor cancelled. None where the room left does not even cover
    what the next block asks for.
    """
    room = cap * 100 // (100 + _RAISE_PERCENT)
    if lowest_price(market) > room:
        return None
    most = min(2 * market.base_fee + market.tip, room)
    return Fees(Wei(most), Wei(min(market.tip, most)))


def lowest_price(market: Market) -> Wei:
    """What a transaction must offer to be mined now and not as a favour."""
    return Wei(market.base_fee + market.tip)


def raised(previous: Fees, market: Market, cap: Wei) -> Fees | None:
    """Fees for the same nonce: both higher by a tenth, rounded up, and at least the market's; None where that is above the cap."""
    least = Fees(_more(previous.most), _more(previous.priority))
    if least.most > cap:
        return None
    most = min(max(least.most, 2 * market.base_fee + market.tip), cap)
    return Fees(Wei(most), Wei(min(max(least.priority, market.tip), most)))


def _more(fee: Wei) -> Wei:
    """A tenth more, rounded up, and at least one wei: a pool wants both fees to rise, even from zero."""
    return Wei(fee + max(1, -(-fee * _RAISE_PERCENT // 100)))


class FeeReader:
    """The market as the node sees it, read at most once for each block."""

    def __init__(self, node: LaneNode, config: LaneConfig) -> None:
        self._node = node
        self._config = config
        self._market: Market | None = None

    async def market(self) -> Market:
        if self._market is None:
            self._market = await self._node.market(self._config.wallet)
            asyncio.get_running_loop().call_later(self._config.block_poll.total_seconds(), self._forget)
        return self._market

    def _forget(self) -> None:
        self._market = None
