"""What the chain says is owed on a position."""

from temporalio import activity

from activities.leg_rows import least_left
from chain.engine_chain import EngineChain
from chain.errors import NodeLags
from models.messages.common import Debt, ReadDebt, ReadResidue, Residue
from models.tables.session import Transaction


class PositionActivities:
    def __init__(self, transaction: Transaction, chain: EngineChain) -> None:
        self._transaction = transaction
        self._chain = chain

    @activity.defn
    async def read_debt(self, asked: ReadDebt) -> Debt:
        """Principal and interest to the second of the latest block, in base units. Raises NodeLags."""
        chain = self._chain
        block = await chain.client.head()
        if block.number < asked.at_least_block:
            raise NodeLags(block.number, asked.at_least_block)
        outstanding, loan = await chain.client.read(
            chain.pool.get_outstanding_debt(asked.position_id),
            chain.pool.loans(asked.position_id),
            block=block.number,
        )
        return Debt(outstanding=outstanding, principal=loan.principal, block_number=block.number)

    @activity.defn
    async def read_residue(self, asked: ReadResidue) -> Residue:
        """The debt, and whether it is no more than what the operation's own repayments left. Raises NodeLags."""
        debt = await self.read_debt(ReadDebt(position_id=asked.position_id, at_least_block=asked.at_least_block))
        async with self._transaction() as session:
            left = await least_left(session, asked.operation_id)
        return Residue(debt=debt, ours=left is not None and debt.principal <= left)
