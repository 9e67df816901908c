"""How activities change an operation's row: each function works inside the caller's transaction, after locking the row.

Locks are taken in one order everywhere: operation, partner, position, loan, signer, transaction (money.md section 4).
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from models.errors import InvariantBroken, NotStarted, RefusalPayload
from models.events.payloads import EventData
from models.ids import new_id
from models.log_lines import name_from_here
from models.messages.common import LegBegun, Outcome
from models.statuses import DecisionKind, EventType, OperationState
from models.tables.base import JsonObject
from models.tables.operations import Event, Operation
from models.tables.transactions import ChainTransaction

NO_KEY_UPDATE: Final = {"key_share": True}
"""Every lock on a row that other rows point to: it keeps writers out, and lets their foreign keys through."""


async def lock_operation(session: AsyncSession, operation_id: str) -> Operation:
    """The row, locked. What is logged from here on names its loan and its trace."""
    operation = await session.get(Operation, operation_id, with_for_update=NO_KEY_UPDATE)
    if operation is None:
        raise InvariantBroken(f"operation {operation_id} has no row")
    name_from_here(loan_id=operation.loan_id, trace_id=operation.trace_id)
    return operation


def open_received(operation: Operation) -> None:
    """Only RECEIVED is opened: a request that was given up as NOT_STARTED needs the partner to repeat it."""
    if operation.state is OperationState.RECEIVED:
        operation.state = OperationState.OPEN


async def legs_begun(session: AsyncSession, operation: Operation) -> Sequence[LegBegun]:
    """The newest generation of each leg; none exist before the decision."""
    if operation.decision is None:
        return []
    query = (
        select(ChainTransaction.leg, func.max(ChainTransaction.generation))
        .where(ChainTransaction.operation_id == operation.id)
        .group_by(ChainTransaction.leg)
        .order_by(ChainTransaction.leg)
    )
    return [LegBegun(leg=leg, generation=generation) for leg, generation in await session.execute(query)]


def stored_outcome(operation: Operation) -> Outcome | None:
    return None if operation.outcome is None else Outcome.model_validate(operation.outcome)


def outcome_of(operation: Operation) -> Outcome | None:
    """How the operation ended, if it has; one that was given up before it started has ended without effect."""
    if operation.state is OperationState.NOT_STARTED:
        return Outcome(status=OperationState.NOT_STARTED, problem=NotStarted().payload())
    return stored_outcome(operation)


def stored_refusal(operation: Operation) -> RefusalPayload | None:
    return None if operation.refusal is None else RefusalPayload.model_validate(operation.refusal)


def accept(operation: Operation, terms: JsonObject) -> None:
    _decide(operation, DecisionKind.ACCEPTED)
    operation.terms = terms


def refuse(operation: Operation, refusal: RefusalPayload) -> None:
    _decide(operation, DecisionKind.REFUSED)
    operation.refusal = refusal.model_dump(mode="json")
    finish(operation, Outcome(status="REFUSED", problem=refusal))


def finish(operation: Operation, outcome: Outcome) -> Outcome:
    operation.state = OperationState.DONE
    operation.outcome = outcome.model_dump(mode="json")
    operation.done_at = datetime.now(UTC)
    operation.review_reason = None
    return outcome


def write_event(
    session: AsyncSession, operation: Operation, kind: EventType, data: EventData, installment: int | None = None
) -> None:
    """The event of a state change, in the transaction that makes it; the row is also the outbox."""
    if operation.partner_id is None:
        raise InvariantBroken(f"operation {operation.id} has no partner to tell")
    session.add(
        Event(
            id=new_id("evt"),
            partner_id=operation.partner_id,
            operation_id=operation.id,
            loan_id=data.about_loan,
            type=kind,
            version=data.version,
            installment=installment,
            trace_id=operation.trace_id,
            payload=data.model_dump(mode="json"),
        )
    )


def _decide(operation: Operation, kind: DecisionKind) -> None:
    if operation.decision is not None:
        raise InvariantBroken(f"operation {operation.id} was decided before")
    operation.decision = kind
    operation.decided_at = datetime.now(UTC)
