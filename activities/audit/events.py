"""Invariant 7: each finished operation has exactly one terminal event."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from activities.audit.findings import Finding
from models.statuses import TERMINAL_EVENTS, OperationKind, OperationState
from models.tables.operations import Event, Operation


async def check_terminal_events(session: AsyncSession) -> Finding:
    finding = Finding(7, "each finished operation has exactly one terminal event")
    told = (
        select(Event.operation_id, func.count().label("events"))
        .where(Event.type.in_(TERMINAL_EVENTS))
        .group_by(Event.operation_id)
        .subquery()
    )
    events = func.coalesce(told.c.events, 0)
    finished = (
        select(Operation.id, events)
        .outerjoin(told, told.c.operation_id == Operation.id)
        .where(Operation.state == OperationState.DONE, Operation.kind != OperationKind.SYSTEM)
    )
    for operation_id, count in await session.execute(finished.where(events != 1)):
        finding.broken(
            operation_id, f"{operation_id} is done and has {count} terminal events", f"operations {operation_id}"
        )
    rows = finished.subquery()
    operations, total = (
        await session.execute(select(func.count(), func.coalesce(func.sum(rows.c[1]), 0)).select_from(rows))
    ).one()
    finding.compare("terminal events of finished operations", operations, int(total))
    return finding
