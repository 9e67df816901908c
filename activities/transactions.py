"""A leg as the workflow sees it: submitted once, then waited for. The signer lane does the rest."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities.movements import Charge, charge_of, leg_movement, settle_movements
from activities.operation_rows import lock_operation
from chain import transactions
from chain.engine_chain import EngineChain
from chain.errors import Reverted
from chain.legs import PlannedLeg, plan_leg
from chain.types import CallRequest
from chain.waiter import LegWaiter
from models import accounts
from models.errors import InvariantBroken
from models.messages.borrow import BorrowTerms
from models.messages.legs import (
    CollectCall,
    ConfirmTransaction,
    LegCall,
    LegOutcome,
    RepayCall,
    SubmitTransaction,
    TransferCall,
)
from models.statuses import LegName, OperationState, TransactionState
from models.tables import book
from models.tables.operations import Operation
from models.tables.session import Transaction

Answered = TypeVar("Answered")
HEARTBEAT_EVERY = timedelta(seconds=8)


class TransactionActivities:
    def __init__(self, transaction: Transaction, chain: EngineChain, waiter: LegWaiter) -> None:
        self._transaction = transaction
        self._chain = chain
        self._waiter = waiter

    @activity.defn
    async def submit_transaction(self, asked: SubmitTransaction) -> LegOutcome:
        """Simulates the call and inserts the leg, QUEUED or REFUSED. If the row exists already, its state is the answer.

        The simulation counts only if this call's insert wins: a retry never judges the operation by its own mined effect.
        """
        async with self._transaction() as session:
            known = await transactions.find(session, asked.operation_id, asked.leg, asked.generation)
        if known is not None:
            return transactions.outcome(known)
        call = await self._lowered(asked.call)
        refusal, gas = await self._simulate(asked, call)
        async with self._transaction() as session:
            operation = await lock_operation(session, asked.operation_id)
            if operation.state is OperationState.DONE:
                raise InvariantBroken(f"{operation.id} is done; a submission that woke up late sends nothing")
            if asked.instead_of is not None:
                await _abandon(session, asked.operation_id, asked.instead_of)
            charge = await _charge(session, operation, asked, call.amount)
            planned = self._plan(asked, call, charge.account)
            if refusal is not None:
                return await transactions.insert_refused(session, planned, refusal)
            outcome = await transactions.insert_queued(session, planned, gas)
            if outcome.state is TransactionState.QUEUED:
                await _promise(session, operation, asked, call, charge)
            return outcome

    @activity.defn
    async def confirm_transaction(self, asked: ConfirmTransaction) -> LegOutcome:
        """Waits, with heartbeats, until the leg's outcome is certain, it is HELD, or the patience ends."""
        return await with_heartbeats(
            self._waiter.wait(
                asked.operation_id,
                asked.leg,
                asked.generation,
                timeout_seconds=asked.patience,
                held_is_known=asked.held_is_known,
            )
        )

    async def _lowered(self, call: LegCall) -> LegCall:
        """A repayment of no more than is owed at the latest block; every other call as it is."""
        if not isinstance(call, RepayCall):
            return call
        chain = self._chain
        (owed,) = await chain.client.read(chain.pool.get_outstanding_debt(call.position_id), block="latest")
        return call.model_copy(update={"amount": min(owed, call.amount)})

    async def _simulate(self, asked: SubmitTransaction, call: LegCall) -> tuple[str | None, int | None]:
        """Why the chain would refuse the call now, or None and the gas that it needs.

        A repayment cannot be judged while the vault's allowance does not cover it: its gas stays unknown, and the lane
        simulates it when the allowance is there.
        """
        if call.amount == 0:
            return "nothing is owed", None
        planned = self._plan(asked, call, charges_account=None)
        request = CallRequest(sender=self._chain.wallet, to=planned.target, data=planned.calldata)
        try:
            return None, await self._chain.client.simulate(request)
        except Reverted as reverted:
            if isinstance(call, RepayCall) and not await self._allowance_covers(call.amount):
                return None, None
            return reverted.reason, None

    async def _allowance_covers(self, amount: int) -> bool:
        chain = self._chain
        (allowance,) = await chain.client.read(chain.usdc.allowance(chain.wallet, chain.vault_address), block="latest")
        return allowance >= amount

    def _plan(self, asked: SubmitTransaction, call: LegCall, charges_account: str | None) -> PlannedLeg:
        chain = self._chain
        return plan_leg(
            call,
            operation_id=asked.operation_id,
            leg=asked.leg,
            generation=asked.generation,
            wallet=chain.wallet,
            usdc=chain.usdc_address,
            vault=chain.vault_address,
            charges_account=charges_account,
            chain_id=chain.chain_id,
        )


async def _abandon(session: AsyncSession, operation_id: str, leg: str) -> None:
    if not await transactions.abandon(session, operation_id, leg, "another leg takes its place"):
        raise InvariantBroken(f"leg {leg} of {operation_id} may still have its effect")


async def _charge(session: AsyncSession, operation: Operation, asked: SubmitTransaction, amount: int) -> Charge:
    """Who pays for the leg: an unwind is paid from suspense once the money in flight was moved there."""
    if operation.partner_id is None:
        raise InvariantBroken(f"operation {operation.id} has no partner")
    if asked.leg == LegName.UNWIND and await book.balance(session, accounts.IN_FLIGHT, operation.id) < amount:
        return charge_of(asked.leg, operation.partner_id, unwind_account=accounts.SUSPENSE)
    return charge_of(asked.leg, operation.partner_id)


async def _promise(
    session: AsyncSession, operation: Operation, asked: SubmitTransaction, call: LegCall, charge: Charge
) -> None:
    """The leg's movements become pending with its row; those of an earlier generation, which had no effect, are voided."""
    for earlier in range(1, asked.generation):
        await book.void(session, operation.id, asked.leg, earlier)
    if asked.leg == LegName.SETTLE:
        terms = BorrowTerms.model_validate(operation.terms)
        await book.pend(session, settle_movements(operation.id, terms, asked.generation))
    else:
        counterparty = _counterparty(call)
        movement = leg_movement(
            charge,
            operation_id=operation.id,
            leg=asked.leg,
            generation=asked.generation,
            amount=call.amount,
            counterparty=counterparty,
        )
        await book.pend(session, [movement])


def _counterparty(call: LegCall) -> str:
    match call:
        case TransferCall():
            return call.recipient
        case CollectCall():
            return call.payer
        case _:
            return "pool"


async def with_heartbeats(waiting: Awaitable[Answered]) -> Answered:
    """Awaits something long while telling Temporal, every few seconds, that this process is alive."""
    task = asyncio.ensure_future(waiting)
    try:
        while not task.done():
            activity.heartbeat()
            await asyncio.wait({task}, timeout=HEARTBEAT_EVERY.total_seconds())
    finally:
        task.cancel()
    return await task
