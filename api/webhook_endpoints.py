"""A partner's webhook endpoints: set up, changed, tried, and sent to again. Another partner's are not there."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from activities.webhooks.signing import new_secret, seal
from api.errors import WebhooksNotConfigured
from api.resources import Resources
from api.webhook_forms import (
    AttemptAnswer,
    AttemptsAnswer,
    EndpointAnswer,
    EndpointBody,
    EndpointChangeBody,
    EndpointWithSecretAnswer,
    RedeliverBody,
    RedeliveryAnswer,
)
from models.errors import TooManyWebhookEndpoints, WebhookEndpointDisabled, WebhookEndpointNotFound
from models.events.payloads import Ping
from models.ids import new_id
from models.sealing import Sealer
from models.statuses import EndpointState, EventType
from models.tables.operations import Event
from models.tables.webhook_book import happened_between, one_of, redeliver, send_ping
from models.tables.webhooks import WebhookAttempt, WebhookEndpoint

MOST = 10
"""Endpoints of one partner."""
AT_ONCE = 10_000
"""Messages that one call sends again."""


def sealer_of(resources: Resources) -> Sealer:
    """Raises WebhooksNotConfigured where no secret could be kept."""
    sealer = resources.settings.sealer
    if sealer is None:
        raise WebhooksNotConfigured
    return sealer


async def find_endpoint(
    session: AsyncSession, partner_id: str, endpoint_id: str, *, lock: bool = False
) -> WebhookEndpoint:
    """Raises WebhookEndpointNotFound, also for one that was deleted."""
    query = select(WebhookEndpoint).where(
        WebhookEndpoint.id == endpoint_id,
        WebhookEndpoint.partner_id == partner_id,
        WebhookEndpoint.state != EndpointState.DELETED,
    )
    endpoint = await session.scalar(query.with_for_update(key_share=True) if lock else query)
    if endpoint is None:
        raise WebhookEndpointNotFound(endpoint_id)
    return endpoint


async def endpoints_of(session: AsyncSession, partner_id: str) -> Sequence[WebhookEndpoint]:
    query = select(WebhookEndpoint).where(
        WebhookEndpoint.partner_id == partner_id, WebhookEndpoint.state != EndpointState.DELETED
    )
    return (await session.scalars(query.order_by(WebhookEndpoint.id))).all()


async def create_endpoint(
    session: AsyncSession, resources: Resources, partner_id: str, body: EndpointBody
) -> EndpointWithSecretAnswer:
    """Raises WebhookUrlRefused for a URL whose form is refused, and TooManyWebhookEndpoints."""
    sealer, secret = sealer_of(resources), new_secret()
    resources.settings.webhook_urls.check(body.url)
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"endpoints of {partner_id}", 0))))
    if len(await endpoints_of(session, partner_id)) >= MOST:
        raise TooManyWebhookEndpoints(MOST)
    endpoint_id = new_id("we")
    endpoint = WebhookEndpoint(
        id=endpoint_id,
        partner_id=partner_id,
        url=body.url,
        description=body.description,
        event_types=_types(body.event_types),
        secret=seal(sealer, secret, endpoint_id),
    )
    session.add(endpoint)
    await session.flush()
    await session.refresh(endpoint)
    return _with_secret(endpoint, secret)


async def change_endpoint(
    session: AsyncSession, resources: Resources, endpoint: WebhookEndpoint, body: EndpointChangeBody
) -> EndpointAnswer:
    """Raises WebhookUrlRefused, and then has changed nothing."""
    if body.url is not None:
        resources.settings.webhook_urls.check(body.url)
        endpoint.url = body.url
    if body.event_types is not None:
        endpoint.event_types = _types(body.event_types)
    if "description" in body.model_fields_set:
        endpoint.description = body.description
    return await changed(session, endpoint)


async def rotate_secret(
    session: AsyncSession, sealer: Sealer, endpoint: WebhookEndpoint, overlap: timedelta
) -> EndpointWithSecretAnswer:
    """Both sign until the old one expires; one that was still signing beside it signs no more."""
    secret = new_secret()
    endpoint.previous_secret = endpoint.secret
    endpoint.previous_secret_expires_at = datetime.now(UTC) + overlap
    endpoint.secret = seal(sealer, secret, endpoint.id)
    await changed(session, endpoint)
    return _with_secret(endpoint, secret)


async def changed(session: AsyncSession, endpoint: WebhookEndpoint) -> EndpointAnswer:
    endpoint.changed_at = func.now()
    await session.flush()
    await session.refresh(endpoint)
    return endpoint_answer(endpoint)


async def ping(session: AsyncSession, endpoint: WebhookEndpoint, trace_id: str) -> str:
    """The id of the event that is sent to this endpoint alone, also where it is disabled."""
    data = Ping(endpoint_id=endpoint.id)
    event = Event(
        id=new_id("evt"),
        partner_id=endpoint.partner_id,
        type=EventType.PING,
        trace_id=trace_id,
        payload=data.model_dump(mode="json"),
        fanned_out_at=func.now(),
    )
    await send_ping(session, endpoint, event)
    return event.id


async def redeliver_between(session: AsyncSession, endpoint: WebhookEndpoint, body: RedeliverBody) -> RedeliveryAnswer:
    """Raises WebhookEndpointDisabled."""
    _must_be_enabled(endpoint)
    which = happened_between(body.from_, body.to)
    sent = await redeliver(session, endpoint, which, delivered_too=body.delivered_too, at_most=AT_ONCE)
    return RedeliveryAnswer(deliveries=sent, more=sent == AT_ONCE)


async def redeliver_event(session: AsyncSession, event: Event, endpoint_id: str | None) -> RedeliveryAnswer:
    """To one endpoint, or to all that are enabled and want it. Raises WebhookEndpointNotFound or WebhookEndpointDisabled."""
    partner_id = event.partner_id or ""
    if endpoint_id is not None:
        endpoints: Sequence[WebhookEndpoint] = [await find_endpoint(session, partner_id, endpoint_id, lock=True)]
        _must_be_enabled(endpoints[0])
    else:
        endpoints = [each for each in await endpoints_of(session, partner_id) if each.state is EndpointState.ENABLED]
    sent = [
        await redeliver(session, endpoint, one_of([event.id]), delivered_too=True, at_most=1) for endpoint in endpoints
    ]
    return RedeliveryAnswer(deliveries=sum(sent))


async def attempts_page(
    session: AsyncSession, endpoint: WebhookEndpoint, event_id: str | None, before: str | None, size: int
) -> AttemptsAnswer:
    """Newest first."""
    query = select(WebhookAttempt).where(WebhookAttempt.endpoint_id == endpoint.id)
    if event_id is not None:
        query = query.where(WebhookAttempt.event_id == event_id)
    if before is not None:
        query = query.where(WebhookAttempt.id < before)
    rows = list(await session.scalars(query.order_by(WebhookAttempt.id.desc()).limit(size + 1)))
    return AttemptsAnswer(
        attempts=[_attempt(row) for row in rows[:size]], next_cursor=rows[size - 1].id if len(rows) > size else None
    )


def endpoint_answer(endpoint: WebhookEndpoint) -> EndpointAnswer:
    return EndpointAnswer(
        endpoint_id=endpoint.id,
        url=endpoint.url,
        description=endpoint.description,
        event_types=endpoint.event_types,
        state=endpoint.state,
        disabled_because=endpoint.disabled_because,
        failing_since=endpoint.failing_since,
        previous_secret_expires_at=endpoint.previous_secret_expires_at,
        created_at=endpoint.created_at,
        changed_at=endpoint.changed_at,
    )


def _with_secret(endpoint: WebhookEndpoint, secret: str) -> EndpointWithSecretAnswer:
    return EndpointWithSecretAnswer(**dict(endpoint_answer(endpoint)), secret=secret)


def _attempt(row: WebhookAttempt) -> AttemptAnswer:
    return AttemptAnswer(
        event_id=row.event_id,
        round=row.round,
        number=row.number,
        at=row.at,
        latency_ms=row.latency_ms,
        status=row.status,
        answer=row.answer,
        error=row.error,
    )


def _must_be_enabled(endpoint: WebhookEndpoint) -> None:
    if endpoint.state is not EndpointState.ENABLED:
        raise WebhookEndpointDisabled(endpoint.id)


def _types(asked: Sequence[str]) -> list[str]:
    return sorted(set(map(str, asked)))
