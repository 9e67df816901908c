"""What becomes of endpoints and deliveries, as statements. Every function works inside the caller's transaction.

Locks: an endpoint's row before the rows of its deliveries.
"""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, case, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from models.statuses import (
    OPEN_DELIVERIES,
    DeliveryState,
    DisabledBecause,
    EndpointState,
    EventType,
    IncidentKind,
)
from models.tables.incident_book import close_incident, open_incident
from models.tables.operations import Event
from models.tables.webhooks import WebhookDelivery, WebhookEndpoint

_QUIET = {"synchronize_session": False}


async def lock_endpoint(session: AsyncSession, endpoint_id: str) -> WebhookEndpoint:
    return await session.get_one(WebhookEndpoint, endpoint_id, with_for_update={"key_share": True})


async def disable(session: AsyncSession, endpoint: WebhookEndpoint, because: DisabledBecause) -> None:
    """On a locked row. Nothing more is sent, and every delivery under way is stopped; another reason does not replace the first."""
    if endpoint.state is EndpointState.ENABLED:
        endpoint.state, endpoint.disabled_because = EndpointState.DISABLED, because
        endpoint.changed_at = func.now()
    await _stop_deliveries(session, endpoint.id)


async def disable_failing(session: AsyncSession, endpoint: WebhookEndpoint) -> None:
    """As ``disable``, and operators are told."""
    since = endpoint.failing_since
    await disable(session, endpoint, DisabledBecause.FAILING)
    detail = f"partner {endpoint.partner_id}: nothing sent to {endpoint.url} succeeded since {since}; it was disabled"
    await open_incident(
        session, IncidentKind.WEBHOOK_ENDPOINT_FAILING, endpoint.id, detail, [f"webhook_endpoints {endpoint.id}"]
    )


async def enable(session: AsyncSession, endpoint: WebhookEndpoint) -> None:
    """On a locked row. What happened while it was disabled is sent when it is asked for, not by itself."""
    if endpoint.state is EndpointState.DISABLED:
        endpoint.state, endpoint.disabled_because = EndpointState.ENABLED, None
        endpoint.changed_at = func.now()
    endpoint.failing_since = None
    await close_incident(session, IncidentKind.WEBHOOK_ENDPOINT_FAILING, endpoint.id)


async def delete(session: AsyncSession, endpoint: WebhookEndpoint) -> None:
    """On a locked row, which stays for the record of what was sent there; its secrets do not."""
    endpoint.state, endpoint.disabled_because = EndpointState.DELETED, None
    endpoint.secret = endpoint.previous_secret = endpoint.previous_secret_expires_at = None
    endpoint.changed_at = func.now()
    await _stop_deliveries(session, endpoint.id)
    await close_incident(session, IncidentKind.WEBHOOK_ENDPOINT_FAILING, endpoint.id)


async def _stop_deliveries(session: AsyncSession, endpoint_id: str) -> None:
    """Those whose workflow runs are looked at by a dispatcher, which ends it."""
    runs = WebhookDelivery.state == DeliveryState.RUNNING
    await session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.endpoint_id == endpoint_id, WebhookDelivery.state.in_(OPEN_DELIVERIES))
        .values(
            state=DeliveryState.STOPPED,
            ended_at=func.now(),
            next_attempt_at=None,
            look_at=case((runs, func.now()), else_=None),
        )
        .execution_options(**_QUIET)
    )


async def send_ping(session: AsyncSession, endpoint: WebhookEndpoint, event: Event) -> None:
    """An event for one endpoint alone, also where that is disabled."""
    session.add(event)
    await session.flush()
    await session.execute(insert(WebhookDelivery).values(event_id=event.id, endpoint_id=endpoint.id))


async def redeliver(
    session: AsyncSession, endpoint: WebhookEndpoint, which: ColumnElement[bool], *, delivered_too: bool, at_most: int
) -> int:
    """Sends these events to the endpoint again, or for the first time; says how many, oldest first and ``at_most`` so many.

    One that is under way begins anew, with all of its tries. ``delivered_too``: also what has arrived before.
    """
    known = WebhookDelivery
    left_alone = [DeliveryState.PENDING] if delivered_too else [DeliveryState.PENDING, DeliveryState.DELIVERED]
    # A ping is for whom it was sent to.
    theirs = [Event.partner_id == endpoint.partner_id, Event.type != EventType.PING]
    if endpoint.event_types:
        theirs.append(Event.type.in_([EventType(kind) for kind in endpoint.event_types]))
    chosen = (
        select(Event.id, literal(endpoint.id))
        .outerjoin(known, (known.event_id == Event.id) & (known.endpoint_id == endpoint.id))
        .where(which, *theirs, or_(known.event_id.is_(None), known.state.not_in(left_alone)))
        .order_by(Event.sequence)
        .limit(at_most)
    )
    added = insert(known).from_select(["event_id", "endpoint_id"], chosen)
    again = added.on_conflict_do_update(
        index_elements=["event_id", "endpoint_id"],
        set_={
            "state": DeliveryState.PENDING,
            "round": known.round + 1,
            "attempts": 0,
            "next_attempt_at": None,
            "look_at": func.now(),
            "ended_at": None,
        },
    )
    sent = await session.scalars(again.returning(known.event_id))
    return len(sent.all())


def happened_between(start: datetime, end: datetime) -> ColumnElement[bool]:
    return (Event.created_at >= start) & (Event.created_at < end)


def one_of(event_ids: Collection[str]) -> ColumnElement[bool]:
    return Event.id.in_(event_ids)
