"""What operators do with the rows: every act is recorded with who and why, before it is done or with it (money.md section 2)."""

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities.operation_rows import NO_KEY_UPDATE, lock_operation
from chain.engine_chain import EngineChain
from chain.holds import resolve_hold
from chain.signers import pause_signer, resume_signer
from chain.transactions import request_cancel
from models.errors import IncidentNotOpen, NotTheLanesOwn, SignerHasHeldLegs, SignerUnknown
from models.ids import leg_id
from models.messages.common import Done
from models.messages.legs import LegOutcome
from models.messages.operators import (
    ActionTaken,
    CancelAnswer,
    CancelEffect,
    CancelLeg,
    CarryOut,
    CloseIncident,
    LeadOutOfHold,
    OperatorAnswer,
    PauseSigner,
    ResolveSystemHold,
    ResumeSigner,
    SignerCommand,
    hold_action,
)
from models.statuses import OperationKind, OperationState, OperatorActionKind, TransactionState
from models.tables.incident_book import close_by_id
from models.tables.operations import Operation
from models.tables.operators import OperatorAction
from models.tables.session import Transaction
from models.tables.transactions import ChainSigner, ChainTransaction


class OperatorActivities:
    def __init__(self, transaction: Transaction, chain: EngineChain) -> None:
        self._transaction = transaction
        self._chain = chain

    @activity.defn
    async def record_action(self, taken: ActionTaken) -> Done:
        async with self._transaction() as session:
            await _record(session, taken)
            return Done()

    @activity.defn
    async def cancel_leg(self, asked: CancelLeg) -> CancelAnswer:
        """Asks that the operation's first leg shall not have its effect; one that is not there yet will not be sent."""
        async with self._transaction() as session:
            operation = await lock_operation(session, asked.operation_id)
            if operation.state is OperationState.DONE:
                return CancelAnswer(effect=CancelEffect.TOO_LATE)
            operation.cancel_requested_at = operation.cancel_requested_at or datetime.now(UTC)
            await session.flush()
            effect = await request_cancel(session, asked.operation_id, asked.leg, asked.reason)
            return CancelAnswer(effect=effect)

    @activity.defn
    async def lead_out_of_hold(self, asked: LeadOutOfHold) -> LegOutcome:
        """Raises HoldNotResolvable where the rows or the chain do not allow what the command says."""
        command = asked.command
        return await resolve_hold(
            self._transaction,
            self._chain,
            operation_id=asked.operation_id,
            leg=command.leg,
            generation=command.generation,
            resolution=command.resolution,
            evidence_tx_hash=command.evidence_tx_hash,
        )

    @activity.defn
    async def carry_out(self, asked: CarryOut) -> OperatorAnswer:
        """An order that concerns no operation of a partner's.

        Raises SignerUnknown, SignerHasHeldLegs, NotTheLanesOwn, HoldNotResolvable or IncidentNotOpen.
        """
        match asked.order:
            case PauseSigner():
                return await self._pause(asked.action_id, asked.order)
            case ResumeSigner():
                return await self._resume(asked.action_id, asked.order)
            case ResolveSystemHold():
                return await self._resolve_system_hold(asked.action_id, asked.order)
            case CloseIncident():
                return await self._close_incident(asked.action_id, asked.order)

    async def _pause(self, action_id: str, order: PauseSigner) -> OperatorAnswer:
        async with self._transaction() as session:
            await _lock_signer(session, order)
            await _record(session, _of_signer(action_id, OperatorActionKind.PAUSE_SIGNER, order))
            new = await pause_signer(session, order.chain_id, order.address, reason=order.reason, by=order.operator)
            return OperatorAnswer(said=f"{order.address} {'is paused' if new else 'was paused before'}")

    async def _resume(self, action_id: str, order: ResumeSigner) -> OperatorAnswer:
        async with self._transaction() as session:
            await _lock_signer(session, order)
            held = await _held_legs(session, order)
            if held and not order.despite_held:
                raise SignerHasHeldLegs(held)
            await _record(session, _of_signer(action_id, OperatorActionKind.RESUME_SIGNER, order))
            new = await resume_signer(session, order.chain_id, order.address)
            return OperatorAnswer(said=f"{order.address} {'goes on' if new else 'was not paused'}")

    async def _resolve_system_hold(self, action_id: str, order: ResolveSystemHold) -> OperatorAnswer:
        async with self._transaction() as session:
            operation = await session.get(Operation, order.operation_id)
            if operation is None or operation.kind is not OperationKind.SYSTEM:
                raise NotTheLanesOwn(order.operation_id)
            await _record(session, hold_action(action_id, order.operation_id, order))
        outcome = await self.lead_out_of_hold(LeadOutOfHold(operation_id=order.operation_id, command=order))
        return OperatorAnswer(said=f"{order.leg} is {outcome.state}")

    async def _close_incident(self, action_id: str, order: CloseIncident) -> OperatorAnswer:
        async with self._transaction() as session:
            if await session.get(OperatorAction, action_id) is not None:
                return OperatorAnswer(said=f"{order.incident_id} is closed")
            subject = await close_by_id(session, order.incident_id)
            if subject is None:
                raise IncidentNotOpen(order.incident_id)
            action = ActionTaken(
                id=action_id,
                kind=OperatorActionKind.CLOSE_INCIDENT,
                operator=order.operator,
                reason=order.reason,
                subject=order.incident_id,
                details={"about": subject},
            )
            await _record(session, action)
            return OperatorAnswer(said=f"{order.incident_id} is closed: {subject}")


async def _record(session: AsyncSession, taken: ActionTaken) -> None:
    """Once for each id, however often the step is repeated."""
    row = insert(OperatorAction).values(
        id=taken.id,
        action=taken.kind,
        operator=taken.operator,
        reason=taken.reason,
        operation_id=taken.operation_id,
        subject=taken.subject,
        details=taken.details,
    )
    await session.execute(row.on_conflict_do_nothing(index_elements=["id"]))


def _of_signer(action_id: str, kind: OperatorActionKind, order: PauseSigner | ResumeSigner) -> ActionTaken:
    return ActionTaken(
        id=action_id,
        kind=kind,
        operator=order.operator,
        reason=order.reason,
        subject=order.address,
        details={"chain_id": str(order.chain_id)},
    )


async def _lock_signer(session: AsyncSession, order: SignerCommand) -> None:
    key = (order.chain_id, order.address)
    if await session.get(ChainSigner, key, with_for_update=NO_KEY_UPDATE) is None:
        raise SignerUnknown(order.address)


async def _held_legs(session: AsyncSession, order: SignerCommand) -> list[str]:
    query = (
        select(ChainTransaction.operation_id, ChainTransaction.leg, ChainTransaction.generation)
        .where(
            ChainTransaction.chain_id == order.chain_id,
            ChainTransaction.signer == order.address,
            ChainTransaction.state == TransactionState.HELD,
        )
        .order_by(ChainTransaction.id)
    )
    return [leg_id(*row) for row in await session.execute(query)]
