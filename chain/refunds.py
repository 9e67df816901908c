"""USDC that nobody claims is given back by itself, to whom the engine knows (money.md section 6, "automatic refunds").

A refund is a system operation with one leg: driven by rows alone, so that a term goes on where the last one ended, and
without partner, workflow or event. What comes from an address that nobody has registered waits for a person.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from eth_typing import ChecksumAddress
from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from chain import transactions
from chain.codec import checksum
from chain.election import Office
from chain.errors import Reverted, RpcError
from chain.legs import PlannedLeg, plan_leg
from chain.types import CallRequest
from models import accounts
from models.messages.legs import TransferCall
from models.statuses import (
    WITHOUT_EFFECT_STATES,
    InboundState,
    IncidentKind,
    LedgerKind,
    LegName,
    OperationKind,
    OperationState,
    TransactionState,
)
from models.tables import book
from models.tables.book import Entry
from models.tables.incident_book import close_incident, open_incident
from models.tables.operations import Operation
from models.tables.partners import CreditLineGrant, SettlementAddress
from models.tables.transactions import ChainTransaction, InboundTransfer

_BATCH = 20
_AFTER_A_REFUSAL = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _Due:
    """A transfer that is to be given back, in base units."""

    id: int
    sender: ChecksumAddress
    amount: int


class RefundKeeper:
    def __init__(self, office: Office) -> None:
        self._term = office.term
        self._node = office.node
        self._config = office.config
        self._log = office.log

    async def tend(self) -> None:
        """Ends the refunds whose legs have ended, and begins those that are due. One that a node cannot try holds up no other."""
        for operation_id in await self._ended():
            await self._end(operation_id)
        for due in await self._due():
            try:
                await self._begin(due)
            except RpcError as error:
                self._log.warning("refund_not_simulated", inbound_id=due.id, error=str(error))

    # Beginning

    async def _due(self) -> Sequence[_Due]:
        query = select(InboundTransfer.id, InboundTransfer.sender, InboundTransfer.amount).where(*self._is_due())
        async with self._term.transaction() as session:
            rows = await session.execute(query.order_by(InboundTransfer.id).limit(_BATCH))
            return [_Due(row.id, checksum(row.sender), row.amount) for row in rows]

    def _is_due(self) -> Sequence[ColumnElement[bool]]:
        config, not_before = self._config, InboundTransfer.refund_not_before
        known = or_(
            InboundTransfer.sender.in_(select(SettlementAddress.address)),
            InboundTransfer.sender.in_(select(CreditLineGrant.user_wallet)),
        )
        return (
            InboundTransfer.chain_id == config.chain_id,
            InboundTransfer.state == InboundState.UNCLAIMED,
            InboundTransfer.seen_at <= func.now() - config.refund_after,
            or_(not_before.is_(None), not_before <= func.now()),
            InboundTransfer.amount >= config.refund_minimum,
            InboundTransfer.sender.not_in(config.treasury),
            known,
        )

    async def _begin(self, due: _Due) -> None:
        """The transfer is simulated before anything is written; one that the token refuses stays claimable."""
        planned = self._plan(due, await self._free_id(due))
        try:
            gas = await self._node.simulate(CallRequest(self._config.wallet, planned.target, planned.calldata))
        except Reverted as refusal:
            async with self._term.transaction() as session:
                await _put_off(session, due.id)
                await _report(session, due.id, refusal.reason)
            return
        async with self._term.transaction() as session:
            begun = await self._take(session, due, planned, gas)
        if begun:
            self._log.info("refund_began", operation_id=planned.operation_id, amount=due.amount, to=due.sender)

    async def _take(self, session: AsyncSession, due: _Due, planned: PlannedLeg, gas: int) -> bool:
        """All in one transaction. A claim that holds the transfer's row wins it, and keeps no lane waiting."""
        still_due = select(InboundTransfer).where(InboundTransfer.id == due.id, *self._is_due())
        transfer = await session.scalar(still_due.with_for_update(skip_locked=True, key_share=True))
        if transfer is None:
            return False
        session.add(_operation(planned.operation_id))
        await session.flush()
        transfer.state, transfer.refund_operation_id = InboundState.REFUNDING, planned.operation_id
        await book.record(session, _to_suspense(planned.operation_id, due.id, due.amount))
        await transactions.insert_queued(session, planned, gas)
        await book.pend(session, [_leaves(planned, due)])
        return True

    async def _free_id(self, due: _Due) -> str:
        """``system:refund:{inbound id}:{n}``: each try is an operation of its own."""
        async with self._term.transaction() as session:
            number = 1
            while await session.get(Operation, f"system:refund:{due.id}:{number}") is not None:
                number += 1
        return f"system:refund:{due.id}:{number}"

    def _plan(self, due: _Due, operation_id: str) -> PlannedLeg:
        config = self._config
        return plan_leg(
            TransferCall(recipient=due.sender, amount=due.amount),
            operation_id=operation_id,
            leg=LegName.REFUND,
            generation=1,
            wallet=config.wallet,
            usdc=config.usdc,
            vault=config.vault,
            charges_account=accounts.SUSPENSE,
            chain_id=config.chain_id,
        )

    # Ending

    async def _ended(self) -> Sequence[str]:
        query = (
            select(ChainTransaction.operation_id)
            .join(InboundTransfer, InboundTransfer.refund_operation_id == ChainTransaction.operation_id)
            .where(
                InboundTransfer.state == InboundState.REFUNDING,
                ChainTransaction.chain_id == self._config.chain_id,
                ChainTransaction.signer == self._config.wallet,
                ChainTransaction.state.in_({*WITHOUT_EFFECT_STATES, TransactionState.FINAL_OK}),
            )
        )
        async with self._term.transaction() as session:
            return (await session.scalars(query)).all()

    async def _end(self, operation_id: str) -> None:
        async with self._term.transaction() as session:
            operation = await session.get_one(Operation, operation_id, with_for_update={"key_share": True})
            if operation.state is OperationState.DONE:
                return
            refunds = select(InboundTransfer).where(InboundTransfer.refund_operation_id == operation_id)
            transfer = (await session.scalars(refunds.with_for_update(key_share=True))).one()
            leg = (await transactions.legs_of(session, operation_id))[-1]
            if leg.state is TransactionState.FINAL_OK:
                await _refunded(session, transfer, leg)
            else:
                await _came_to_nothing(session, transfer, leg)
            operation.state, operation.done_at = OperationState.DONE, await session.scalar(select(func.now()))
        self._log.info("refund_ended", operation_id=operation_id, state=leg.state)


def _operation(operation_id: str) -> Operation:
    return Operation(
        id=operation_id,
        kind=OperationKind.SYSTEM,
        idempotency_key=operation_id.removeprefix("system:"),
        state=OperationState.OPEN,
    )


async def _refunded(session: AsyncSession, transfer: InboundTransfer, leg: ChainTransaction) -> None:
    await book.post(session, leg.operation_id, leg.leg, leg.generation)
    transfer.state = InboundState.REFUNDED
    await close_incident(session, IncidentKind.REFUND_REFUSED, _subject(transfer.id))


async def _came_to_nothing(session: AsyncSession, transfer: InboundTransfer, leg: ChainTransaction) -> None:
    """The transfer is claimable again, and is not given back at once a second time."""
    await book.void(session, leg.operation_id, leg.leg, leg.generation)
    await book.record(session, _back(_to_suspense(leg.operation_id, transfer.id, transfer.amount)))
    transfer.state, transfer.refund_operation_id = InboundState.UNCLAIMED, None
    await session.flush()
    await _put_off(session, transfer.id)
    await _report(session, transfer.id, leg.reason or f"its leg is {leg.state}")


async def _put_off(session: AsyncSession, transfer_id: int) -> None:
    later = {"refund_not_before": func.now() + _AFTER_A_REFUSAL}
    put_off = update(InboundTransfer).where(InboundTransfer.id == transfer_id).values(later)
    await session.execute(put_off.execution_options(synchronize_session=False))


async def _report(session: AsyncSession, transfer_id: int, reason: str) -> None:
    detail = f"an unclaimed transfer could not be given back to its sender: {reason}"
    rows = [f"inbound_transfers {transfer_id}"]
    await open_incident(session, IncidentKind.REFUND_REFUSED, _subject(transfer_id), detail, rows)


def _subject(transfer_id: int) -> str:
    return f"inbound transfer {transfer_id}"


def _to_suspense(operation_id: str, transfer_id: int, amount: int) -> Entry:
    """Suspense is read per operation, so that this refund can spend this transfer and nothing else."""
    return Entry(
        kind=LedgerKind.SUSPENSE,
        debit=accounts.UNCLAIMED_INBOUND,
        credit=accounts.SUSPENSE,
        amount=amount,
        operation_id=operation_id,
        inbound_id=transfer_id,
    )


def _back(moved: Entry) -> Entry:
    return replace(moved, debit=moved.credit, credit=moved.debit)


def _leaves(planned: PlannedLeg, due: _Due) -> Entry:
    return Entry(
        kind=LedgerKind.REFUND,
        debit=accounts.SUSPENSE,
        credit=accounts.PLATFORM_WALLET,
        amount=due.amount,
        counterparty=due.sender,
        operation_id=planned.operation_id,
        leg=planned.leg,
        generation=planned.generation,
        inbound_id=due.id,
    )
