"""What the chain says is owed on a position."""

from temporalio import activity

from chain.engine_chain import EngineChain
from models.messages.repay import Debt, ReadDebt


class PositionActivities:
    def __init__(self, chain: EngineChain) -> None:
        self._chain = chain

    @activity.defn
    async def read_debt(self, asked: ReadDebt) -> Debt:
        """Principal and interest to the second of the latest block, in base units."""
        chain = self._chain
        block = await chain.client.head()
        outstanding, loan = await chain.client.read(
            chain.pool.get_outstanding_debt(asked.position_id),
            chain.pool.loans(asked.position_id),
            block=block.number,
        )
        return Debt(outstanding=outstanding, principal=loan.principal, block_number=block.number)
