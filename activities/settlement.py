"""Whether USDC can reach a settlement address now."""

from eth_typing import ChecksumAddress
from temporalio import activity

from chain.contracts.usdc import encode_transfer
from chain.engine_chain import EngineChain
from chain.errors import Reverted
from chain.types import CallRequest
from models.messages.borrow import SettlementProbe, SettlementReach


class SettlementActivities:
    def __init__(self, chain: EngineChain) -> None:
        self._chain = chain

    @activity.defn
    async def probe_settlement(self, asked: SettlementProbe) -> SettlementReach:
        """Simulates the payout, and where it is refused the same transfer to a probe address.

        Only the two together tell an address that USDC refuses from a token that is paused for all. Raises RpcUnavailable
        where the node is away, which says nothing about either.
        """
        reason = await self._refused(asked.settlement_address, asked.amount)
        if reason is None:
            return SettlementReach(open=True, blocked=False)
        blocked = await self._refused(self._chain.probe_address, asked.amount) is None
        return SettlementReach(open=False, blocked=blocked, reason=reason)

    async def _refused(self, recipient: ChecksumAddress, amount: int) -> str | None:
        chain = self._chain
        transfer = CallRequest(sender=chain.wallet, to=chain.usdc_address, data=encode_transfer(recipient, amount))
        try:
            await chain.client.simulate(transfer)
        except Reverted as reverted:
            return reverted.reason
        return None
