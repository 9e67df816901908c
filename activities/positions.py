"""What the chain says is owed on a position."""

from temporalio import activity

from activities.leg_rows import least_left
from activities.outside_book import debt_ended
from chain.engine_chain import EngineChain
from chain.errors import DebtNotFinal, NodeLags
from chain.types import Block, BlockNumber
from models.messages.common import Debt, ReadDebt, ReadResidue, Residue
from models.tables.operations import Operation
from models.tables.session import Transaction


class PositionActivities:
    def __init__(self, transaction: Transaction, chain: EngineChain) -> None:
        self._transaction = transaction
        self._chain = chain

    @activity.defn
    async def read_debt(self, asked: ReadDebt) -> Debt:
        """Principal and interest to the second of the latest block, in base units. Raises NodeLags or DebtNotFinal.

        Zero where the debt of the operation's loan has ended before, and the user has borrowed anew.
        """
        chain = self._chain
        block = await chain.client.head()
        if block.number < asked.at_least_block:
            raise NodeLags(block.number, asked.at_least_block)
        outstanding, loan, position = await chain.client.read(
            chain.pool.get_outstanding_debt(asked.position_id),
            chain.pool.loans(asked.position_id),
            chain.vault.get_position(asked.position_id),
            block=block.number,
        )
        if outstanding > 0 and asked.operation_id is not None and await self._has_ended(asked.operation_id):
            return Debt(outstanding=0, principal=0, block_number=block.number)
        if outstanding == 0:
            await self._demand_final(asked.position_id, block)
        liquidated = position.liquidated_at != 0
        return Debt(outstanding=outstanding, principal=loan.principal, block_number=block.number, liquidated=liquidated)

    @activity.defn
    async def read_residue(self, asked: ReadResidue) -> Residue:
        """The debt, and whether it is no more than what the operation's own repayments left; raises as ``read_debt``."""
        debt = await self.read_debt(ReadDebt(**asked.model_dump()))
        async with self._transaction() as session:
            left = await least_left(session, asked.operation_id)
        return Residue(debt=debt, ours=left is not None and debt.principal <= left)

    async def _demand_final(self, position_id: int, head: Block) -> None:
        """Zero closes a loan and frees its limit, which only what is final may do (money.md section 2).

        The last leg of ours is final already; what somebody else repaid after it may still leave the chain.
        """
        chain = self._chain
        final = await chain.finality.newest_block(chain.client, head)
        if final >= head.number:
            return
        owed_before = chain.pool.get_outstanding_debt(position_id)
        (owed,) = await chain.client.read(owed_before, block=BlockNumber(max(0, final)))
        if owed > 0:
            raise DebtNotFinal(position_id, final)

    async def _has_ended(self, operation_id: str) -> bool:
        async with self._transaction() as session:
            if await least_left(session, operation_id) == 0:
                return True
            operation = await session.get_one(Operation, operation_id)
            return await debt_ended(session, operation.loan_id)
