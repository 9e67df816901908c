"""A leg as the workflow sees it: submitted once, then waited for. The signer lane does the rest."""

from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities.heartbeats import with_heartbeats
from activities.leg_rows import least_left
from activities.movements import Charge, charge_of, leg_movement, leg_name, settle_movements
from activities.operation_rows import lock_operation
from activities.outside_book import debt_ended
from chain import transactions
from chain.engine_chain import EngineChain
from chain.errors import NodeLags, Reverted
from chain.legs import PlannedLeg, plan_leg
from chain.simulating import simulate_spender
from chain.types import BlockNumber, CallRequest
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
        call, principal = await self._lowered(asked)
        refusal, gas = await self._simulate(asked, call)
        async with self._transaction() as session:
            operation = await lock_operation(session, asked.operation_id)
            if operation.state is OperationState.DONE:
                raise InvariantBroken(f"{operation.id} is done; a submission that woke up late sends nothing")
            self._check_vault(operation)
            if asked.instead_of is not None:
                await _abandon(session, asked, asked.instead_of)
            if isinstance(call, RepayCall):
                refusal = refusal or await _why_not_owed(session, operation, asked, principal)
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

    async def _lowered(self, asked: SubmitTransaction) -> tuple[LegCall, int]:
        """A repayment of no more than is owed, and the principal owed; every other call as it is.

        Raises NodeLags where the node has not seen the operation's last leg yet: its word would be of an older debt.
        """
        call, chain = asked.call, self._chain
        if not isinstance(call, RepayCall):
            return call, 0
        block = await self._newest_block(asked)
        owed, loan = await chain.client.read(
            chain.pool.get_outstanding_debt(call.position_id), chain.pool.loans(call.position_id), block=block
        )
        return call.model_copy(update={"amount": min(owed, call.amount)}), loan.principal

    async def _newest_block(self, asked: SubmitTransaction) -> BlockNumber:
        head = await self._chain.client.head()
        if head.number < asked.at_least_block:
            raise NodeLags(head.number, asked.at_least_block)
        return head.number

    def _check_vault(self, operation: Operation) -> None:
        """A position's number means nothing in another vault, such as one that the settings name since."""
        vault = (operation.terms or {}).get("vault_address")
        if vault != self._chain.vault_address:
            raise InvariantBroken(f"{operation.id} is of vault {vault}, and this engine is set to another")

    async def _simulate(self, asked: SubmitTransaction, call: LegCall) -> tuple[str | None, int | None]:
        """Why the chain would refuse the call now, or None and the gas that it needs; None and None where it cannot say."""
        if call.amount == 0:
            return "nothing is owed", None
        planned = self._plan(asked, call, charges_account=None)
        request = CallRequest(sender=self._chain.wallet, to=planned.target, data=planned.calldata)
        try:
            return None, await self._chain.client.simulate(request)
        except Reverted as reverted:
            if isinstance(call, RepayCall):
                return await self._judge_repayment(request, call.amount, await self._newest_block(asked))
            return reverted.reason, None

    async def _judge_repayment(
        self, request: CallRequest, amount: int, block: BlockNumber
    ) -> tuple[str | None, int | None]:
        """Without the vault's allowance the gas stays unknown, and the lane simulates the leg when it is there."""
        chain = self._chain
        allowance = chain.usdc.allowance(chain.wallet, chain.vault_address)
        found = await simulate_spender(chain.client, request, allowance, amount, block)
        return (found.reason, None) if isinstance(found, Reverted) else (None, found)

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


async def _abandon(session: AsyncSession, asked: SubmitTransaction, leg: str) -> None:
    """Gives up the other leg, unless somebody has begun a generation of it that the caller does not know of."""
    rows = await transactions.legs_of(session, asked.operation_id)
    newest = max((row.generation for row in rows if row.leg == leg and row.call is not None), default=0)
    if newest > asked.instead_of_generation or not await transactions.abandon(
        session, asked.operation_id, leg, "another leg takes its place"
    ):
        raise InvariantBroken(f"leg {leg} of {asked.operation_id} may still have its effect")


async def _why_not_owed(
    session: AsyncSession, operation: Operation, asked: SubmitTransaction, principal: int
) -> str | None:
    """A loan whose debt has ended owes nothing, whatever the user has borrowed since. Of a residue more is known.

    What our own repayments left is ours to clear: more principal than that is another debt, which is not.
    """
    if await debt_ended(session, operation.loan_id):
        return "nothing is owed: the debt of this loan has ended"
    if leg_name(asked.leg) is not LegName.RESIDUE:
        return None
    left = await least_left(session, operation.id)
    if left is None or principal > left:
        return "the position owes another debt than this loan's"
    return None


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
