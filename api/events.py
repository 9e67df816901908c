"""A partner's events: read on from the last one, or looked at one by one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from activities.webhooks.envelopes import envelope_of
from api.webhook_forms import DeliveryAnswer, EventAnswer, EventsAnswer
from models.errors import EventNotFound
from models.statuses import EventType
from models.tables.operations import Event
from models.tables.webhooks import WebhookDelivery


@dataclass(frozen=True)
class EventFilter:
    types: Sequence[EventType] = ()
    loan_id: str | None = None
    operation_id: str | None = None
    start: datetime | None = None
    end: datetime | None = None


async def find_event(session: AsyncSession, partner_id: str, event_id: str) -> Event:
    """Raises EventNotFound, also for another partner's."""
    event = await session.get(Event, event_id)
    if event is None or event.partner_id != partner_id:
        raise EventNotFound(event_id)
    return event


async def events_page(
    session: AsyncSession, partner_id: str, asked: EventFilter, after: str | None, size: int
) -> EventsAnswer:
    """Oldest first. A cursor is the id of the last event that was seen. Raises EventNotFound for one that is none."""
    query = _filtered(select(Event).where(Event.partner_id == partner_id), asked)
    if after is not None:
        query = query.where(Event.sequence > (await find_event(session, partner_id, after)).sequence)
    events = list(await session.scalars(query.order_by(Event.sequence).limit(size)))
    return EventsAnswer(events=[envelope_of(event) for event in events], next_cursor=events[-1].id if events else after)


def _filtered(query: Select[Event], asked: EventFilter) -> Select[Event]:
    if asked.types:
        query = query.where(Event.type.in_(asked.types))
    if asked.loan_id is not None:
        query = query.where(Event.loan_id == asked.loan_id)
    if asked.operation_id is not None:
        query = query.where(Event.operation_id == asked.operation_id)
    if asked.start is not None:
        query = query.where(Event.created_at >= asked.start)
    return query if asked.end is None else query.where(Event.created_at < asked.end)


async def event_answer(session: AsyncSession, event: Event) -> EventAnswer:
    query = select(WebhookDelivery).where(WebhookDelivery.event_id == event.id).order_by(WebhookDelivery.endpoint_id)
    deliveries = [
        DeliveryAnswer(
            endpoint_id=row.endpoint_id,
            state=row.state,
            round=row.round,
            attempts=row.attempts,
            next_attempt_at=row.next_attempt_at,
        )
        for row in await session.scalars(query)
    ]
    return EventAnswer(**dict(envelope_of(event)), deliveries=deliveries)
