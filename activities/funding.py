"""What funds a repayment: the settlement address, by allowance, or a transfer that the partner has made (money.md section 6)."""

import asyncio
from datetime import timedelta

from sqlalchemy import exists, select
from temporalio import activity

from activities.claims import why_none_is_free
from activities.heartbeats import with_heartbeats
from chain.contracts.usdc import Transfer, decode_transfer
from chain.engine_chain import EngineChain
from chain.types import TxHash
from models.errors import (
    AmountAboveDebt,
    InsufficientFunding,
    LoanNotRepayable,
    TransferNotOurs,
)
from models.messages.repay import AwaitTransfer, CheckFunding, Funding, TransferArrival
from models.statuses import InboundState, RepaymentMode
from models.tables.session import Transaction
from models.tables.transactions import ChainAttempt, InboundTransfer

LOOK_EVERY = timedelta(seconds=1)


class FundingActivities:
    def __init__(self, transaction: Transaction, chain: EngineChain) -> None:
        self._transaction = transaction
        self._chain = chain

    @activity.defn
    async def check_funding(self, asked: CheckFunding) -> Funding:
        """Reads the debt and validates amount and funding; raises AmountAboveDebt, InsufficientFunding or Transfer….

        The amount of a payoff by pull is the debt of the latest block; of a payoff by proof, whatever was transferred.
        """
        if asked.request.mode is RepaymentMode.PULL:
            return await self._check_pull(asked)
        await self._check_proof(asked)
        return Funding(amount=asked.request.amount, payer=None)

    @activity.defn
    async def await_transfer(self, asked: AwaitTransfer) -> TransferArrival:
        """Waits until the lane has seen the transfer in a final block, for at most ``patience`` seconds."""
        return TransferArrival(arrived=await with_heartbeats(self._arrives(asked)))

    async def _check_pull(self, asked: CheckFunding) -> Funding:
        chain, payer = self._chain, asked.loan.settlement_address
        debt, balance, allowance = await chain.client.read(
            chain.pool.get_outstanding_debt(asked.loan.position_id),
            chain.usdc.balance_of(payer),
            chain.usdc.allowance(payer, chain.wallet),
            block="latest",
        )
        amount = self._checked_amount(asked, debt)
        if min(balance, allowance) < amount:
            raise InsufficientFunding(balance, allowance, amount)
        return Funding(amount=amount, payer=payer)

    async def _check_proof(self, asked: CheckFunding) -> None:
        chain, tx_hash = self._chain, TxHash(asked.request.transfer_tx_hash or "")
        (debt,) = await chain.client.read(chain.pool.get_outstanding_debt(asked.loan.position_id), block="latest")
        self._checked_amount(asked, debt)
        states = await self._states(tx_hash)
        if states and InboundState.UNCLAIMED not in states:
            raise why_none_is_free(states, tx_hash)
        (receipt,) = await chain.client.receipts([tx_hash])
        if receipt is None:
            return
        transfers = [decode_transfer(log) for log in receipt.logs if log.address == chain.usdc_address]
        if await self._is_ours(tx_hash) or not any(self._comes_in(transfer) for transfer in transfers):
            raise TransferNotOurs(tx_hash)

    def _checked_amount(self, asked: CheckFunding, debt: int) -> int:
        amount = debt if asked.request.payoff else asked.request.amount
        if debt == 0:
            raise LoanNotRepayable("free of debt on chain")
        if amount is None or amount > debt:
            raise AmountAboveDebt(debt, amount or 0)
        return amount

    def _comes_in(self, transfer: Transfer | None) -> bool:
        return transfer is not None and transfer.recipient == self._chain.wallet

    async def _states(self, tx_hash: TxHash) -> set[InboundState]:
        """Of the transfers of this transaction that are known; none is known before its block is final."""
        query = select(InboundTransfer.state).where(
            InboundTransfer.chain_id == self._chain.chain_id, InboundTransfer.tx_hash == tx_hash
        )
        async with self._transaction() as session:
            return set(await session.scalars(query))

    async def _is_ours(self, tx_hash: TxHash) -> bool:
        """A transaction that the engine itself has signed belongs to its leg and proves nothing."""
        async with self._transaction() as session:
            return bool(await session.scalar(select(exists().where(ChainAttempt.hash == tx_hash))))

    async def _arrives(self, asked: AwaitTransfer) -> bool:
        deadline = asyncio.get_running_loop().time() + asked.patience
        while not await self._seen(TxHash(asked.tx_hash)):
            if asyncio.get_running_loop().time() >= deadline:
                return False
            await asyncio.sleep(LOOK_EVERY.total_seconds())
        return True

    async def _seen(self, tx_hash: TxHash) -> bool:
        query = select(
            exists().where(InboundTransfer.chain_id == self._chain.chain_id, InboundTransfer.tx_hash == tx_hash)
        )
        async with self._transaction() as session:
            return bool(await session.scalar(query))
