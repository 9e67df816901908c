"""Whether USDC can reach a settlement address (money.md section 5)."""

import asyncio
from datetime import UTC, datetime, timedelta

from eth_typing import ChecksumAddress
from temporalio import activity

from activities.heartbeats import with_heartbeats
from chain.contracts.usdc import encode_transfer
from chain.engine_chain import EngineChain
from chain.errors import Reverted, RpcError, RpcUnavailable
from chain.types import CallRequest
from models.messages.borrow import AwaitSettlement, SettlementOutlook, SettlementVerdict

APART = 3
"""Two looks that lie more than so many intervals apart do not show what was in between."""


class SettlementActivities:
    def __init__(self, chain: EngineChain) -> None:
        self._chain = chain

    @activity.defn
    async def await_settlement(self, asked: AwaitSettlement) -> SettlementOutlook:
        """Simulates the payout again and again, and where it is refused the same transfer to a probe address.

        Only the two together tell an address that USDC refuses from a token that is paused for all. A node that is away
        says nothing about either, so the time for which the address has been refused starts anew.
        """
        return await with_heartbeats(self._watch(asked))

    async def _watch(self, asked: AwaitSettlement) -> SettlementOutlook:
        retry, blocked_for = timedelta(seconds=asked.pace.settle_retry), timedelta(seconds=asked.pace.settle_blocked)
        refusals = _Refusals(APART * retry)
        while True:
            await asyncio.sleep(retry.total_seconds())
            now = datetime.now(UTC)
            outlook = await self._look(asked)
            if outlook.verdict is SettlementVerdict.OPEN:
                return outlook
            if refusals.last_for(now, blocked=outlook.verdict is SettlementVerdict.BLOCKED) >= blocked_for:
                return outlook
            if now >= asked.deadline:
                return SettlementOutlook(verdict=SettlementVerdict.UNDECIDED, reason=outlook.reason)

    async def _look(self, asked: AwaitSettlement) -> SettlementOutlook:
        """One look: BLOCKED is only what it looks like at this moment."""
        try:
            reason = await self._refused(asked.settlement_address, asked.amount)
            if reason is None:
                return SettlementOutlook(verdict=SettlementVerdict.OPEN)
            probe_passes = await self._refused(self._chain.probe_address, asked.amount) is None
        except (RpcUnavailable, RpcError) as away:
            return SettlementOutlook(verdict=SettlementVerdict.UNDECIDED, reason=str(away))
        verdict = SettlementVerdict.BLOCKED if probe_passes else SettlementVerdict.UNDECIDED
        return SettlementOutlook(verdict=verdict, reason=reason)

    async def _refused(self, recipient: ChecksumAddress, amount: int) -> str | None:
        chain = self._chain
        transfer = CallRequest(sender=chain.wallet, to=chain.usdc_address, data=encode_transfer(recipient, amount))
        try:
            await chain.client.simulate(transfer)
        except Reverted as reverted:
            return reverted.reason
        return None


class _Refusals:
    """For how long an address has been refused without a break, as far as was seen."""

    def __init__(self, apart: timedelta) -> None:
        self._apart = apart
        self._since: datetime | None = None
        self._seen: datetime | None = None

    def last_for(self, now: datetime, *, blocked: bool) -> timedelta:
        broken = self._seen is None or now - self._seen > self._apart
        self._seen = now
        if not blocked:
            self._since = None
        elif self._since is None or broken:
            self._since = now
        return timedelta() if self._since is None else now - self._since
