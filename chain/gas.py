"""The guard of the wallet's gas: no nonce is taken that the wallet may not be able to pay for (money.md section 2)."""

from collections.abc import Sequence
from itertools import accumulate, takewhile

from chain.alarms import Alarms
from chain.fees import FeeReader, Fees, lowest_price, market_fees
from chain.lane_config import LaneConfig
from chain.queue import Queue, QueuedLeg
from chain.types import Market
from models.statuses import IncidentKind


class GasGuard:
    """Says how many legs the wallet can pay for, and tells a person when it is not all of them."""

    def __init__(self, config: LaneConfig, fees: FeeReader, alarms: Alarms) -> None:
        self._config = config
        self._fees = fees
        self._alarms = alarms

    async def market(self) -> Market:
        return await self._fees.market()

    async def alarmed(self) -> bool:
        """Whether a person was told of the gas or its price, and has not been told yet that it is over."""
        kinds = (IncidentKind.GAS_LOW, IncidentKind.FEE_CAP_REACHED)
        return any([await self._alarms.stands(kind, self._config.lock_name) for kind in kinds])

    async def fees(self, market: Market) -> Fees | None:
        """What a new transaction offers; None while the market is above the cap."""
        fees = market_fees(market, self._config.max_fee_cap)
        kind, subject = IncidentKind.FEE_CAP_REACHED, self._config.lock_name
        if fees is None:
            detail = (
                f"the next block asks for {lowest_price(market)} wei per gas, and the cap is {self._config.max_fee_cap}"
            )
            await self._alarms.open(kind, subject, detail)
        else:
            await self._alarms.close(kind, [subject])
        return fees

    async def payable(self, queue: Queue, legs: Sequence[QueuedLeg], market: Market, fees: Fees) -> list[QueuedLeg]:
        """The first of these legs, as many as the balance covers beside the reserve and all that is in flight."""
        left = market.balance - self._config.gas_reserve - queue.gas_in_flight
        costs = [self._config.with_gas_margin(leg.gas or 0) * fees.most for leg in legs]
        fitting = len(list(takewhile(lambda total: total <= left, accumulate(costs))))
        await self._tell(market, sum(costs) - left, refused=queue.gas_refused)
        return list(legs[:fitting])

    async def _tell(self, market: Market, missing: int, *, refused: bool) -> None:
        kind, subject = IncidentKind.GAS_LOW, self._config.lock_name
        if missing > 0:
            detail = f"the wallet has {market.balance} wei, {missing} too few for what waits and the reserve"
            await self._alarms.open(kind, subject, detail)
        elif not refused:
            await self._alarms.close(kind, [subject])
