"""One try to deliver an event: read what is to be sent, send it, and record what came of it. No request inside a transaction."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from opentelemetry import trace as otel
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.webhooks.envelopes import envelope_of
from activities.webhooks.gate import EndpointFull, Gate
from activities.webhooks.signing import secrets_of, signed
from activities.webhooks.transport import Answer, Transport
from models.ids import new_id
from models.messages.webhooks import AttemptDelivery, Attempted, Verdict
from models.sealing import SealBroken, Sealer
from models.statuses import OPEN_DELIVERIES, DeliveryState, DisabledBecause, EndpointState, EventType
from models.tables.operations import Event
from models.tables.session import Transaction
from models.tables.webhook_book import disable, disable_failing, lock_endpoint
from models.tables.webhooks import WebhookAttempt, WebhookDelivery, WebhookEndpoint

GONE: Final = 410
KEPT_OF_ANSWER: Final = 500
"""Characters of an answer that are shown to the partner."""
LOST_AFTER: Final = timedelta(minutes=15)
"""How long after a try was due it is asked whether the workflow that should make it still runs."""
USER_AGENT: Final = "loan-engine-webhooks/1"


@dataclass(frozen=True, slots=True)
class _Letter:
    """What is to be sent. Its secrets are in no log: it is never shown."""

    url: str
    body: str
    headers: Mapping[str, str]


class WebhookActivities:
    """``disable_after``: for how long an endpoint may fail without a success."""

    def __init__(
        self, transaction: Transaction, transport: Transport, sealer: Sealer, disable_after: timedelta
    ) -> None:
        self._transaction = transaction
        self._transport = transport
        self._sealer = sealer
        self._disable_after = disable_after
        self._gate = Gate()

    @activity.defn
    async def attempt_delivery(self, asked: AttemptDelivery) -> Attempted:
        """Makes one request, unless the delivery is over; repeated, it makes another one, with the same ``webhook-id``.

        An endpoint that has no place free is come back to later, as Temporal's own retry, which leaves no history.
        """
        try:
            async with self._gate.place(asked.delivery.endpoint_id) as place:
                letter = await self._read(asked)
                if letter is None:
                    return Attempted(verdict=Verdict.STOPPED)
                answer = await self._send(letter)
                place.ended(answer.latency, succeeded=answer.succeeded)
        except EndpointFull as full:
            raise ApplicationError(
                "the endpoint has no place free",
                type=type(full).__name__,
                next_retry_delay=full.again_in,
                category=ApplicationErrorCategory.BENIGN,
            ) from full
        async with self._transaction() as session:
            return Attempted(verdict=await self._record(session, asked, answer))

    async def _send(self, letter: _Letter | SealBroken) -> Answer:
        if isinstance(letter, SealBroken):
            structlog.get_logger().error("webhook secret unreadable", error=str(letter))
            return Answer(timedelta(0), error="the engine cannot read the endpoint's secret: rotate it")
        return await self._transport.post(letter.url, letter.body.encode(), letter.headers)

    async def _read(self, asked: AttemptDelivery) -> _Letter | SealBroken | None:
        """What to send, or why it cannot be signed; None where the delivery is over, belongs to another round by now, or its endpoint takes nothing."""
        delivery = asked.delivery
        query = (
            select(WebhookDelivery, WebhookEndpoint, Event)
            .join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
            .join(Event, Event.id == WebhookDelivery.event_id)
            .where(
                WebhookDelivery.event_id == delivery.event_id,
                WebhookDelivery.endpoint_id == delivery.endpoint_id,
                WebhookDelivery.round == delivery.round,
                WebhookDelivery.state.in_(OPEN_DELIVERIES),
            )
        )
        async with self._transaction() as session:
            found = (await session.execute(query)).one_or_none()
            if found is None:
                return None
            _, endpoint, event = found
            if not _takes(endpoint, event):
                await self._end(session, asked, DeliveryState.STOPPED)
                return None
            try:
                return self._write(endpoint, event)
            except SealBroken as broken:
                return broken

    def _write(self, endpoint: WebhookEndpoint, event: Event) -> _Letter:
        now = datetime.now(UTC)
        body = envelope_of(event).model_dump_json()
        headers = {
            "content-type": "application/json",
            "user-agent": USER_AGENT,
            "traceparent": _traceparent(event.trace_id),
            **signed(event.id, body, secrets_of(self._sealer, endpoint, now), now),
        }
        return _Letter(endpoint.url, body, headers)

    async def _record(self, session: AsyncSession, asked: AttemptDelivery, answer: Answer) -> Verdict:
        """The try, what it means for the delivery, and what it means for the endpoint, in one transaction."""
        delivery = asked.delivery
        verdict = _verdict(asked, answer)
        if answer.succeeded:
            await _has_succeeded(session, delivery.endpoint_id)
        elif not delivery.once and await self._disabled_by(session, delivery.endpoint_id, answer):
            verdict = Verdict.STOPPED
        session.add(_attempt(asked, answer))
        if verdict is Verdict.AGAIN:
            await self._goes_on(session, asked)
        else:
            await self._end(session, asked, DeliveryState(verdict))
        structlog.get_logger().info(
            "webhook attempt",
            event_id=delivery.event_id,
            endpoint_id=delivery.endpoint_id,
            number=asked.number,
            status=answer.status,
            error=answer.error,
            verdict=verdict,
        )
        return verdict

    async def _disabled_by(self, session: AsyncSession, endpoint_id: str, answer: Answer) -> bool:
        """Whether this failure is one too many. The first one is noted with its time, under the endpoint's lock."""
        endpoint = await lock_endpoint(session, endpoint_id)
        if endpoint.state is not EndpointState.ENABLED:
            return True
        now = datetime.now(UTC)
        endpoint.failing_since = endpoint.failing_since or now
        if answer.status == GONE:
            await disable(session, endpoint, DisabledBecause.GONE)
        elif now - endpoint.failing_since >= self._disable_after:
            await disable_failing(session, endpoint)
        else:
            return False
        return True

    async def _goes_on(self, session: AsyncSession, asked: AttemptDelivery) -> None:
        again = datetime.now(UTC) + timedelta(seconds=asked.again_in or 0)
        await _change(
            session,
            asked,
            state=DeliveryState.RUNNING,
            attempts=asked.number,
            next_attempt_at=again,
            look_at=again + LOST_AFTER,
        )

    async def _end(self, session: AsyncSession, asked: AttemptDelivery, state: DeliveryState) -> None:
        now = datetime.now(UTC)
        await _change(
            session, asked, state=state, attempts=asked.number, next_attempt_at=None, look_at=None, ended_at=now
        )


async def _change(session: AsyncSession, asked: AttemptDelivery, **values: object) -> None:
    """Only of the round that asks, and only while it is open: another may have taken over during the request."""
    delivery = asked.delivery
    await session.execute(
        update(WebhookDelivery)
        .where(
            WebhookDelivery.event_id == delivery.event_id,
            WebhookDelivery.endpoint_id == delivery.endpoint_id,
            WebhookDelivery.round == delivery.round,
            WebhookDelivery.state.in_(OPEN_DELIVERIES),
        )
        .values(**values)
        .execution_options(synchronize_session=False)
    )


async def _has_succeeded(session: AsyncSession, endpoint_id: str) -> None:
    """Takes no lock where nothing had failed, so that deliveries to one endpoint do not wait for each other."""
    await session.execute(
        update(WebhookEndpoint)
        .where(WebhookEndpoint.id == endpoint_id, WebhookEndpoint.failing_since.is_not(None))
        .values(failing_since=None)
        .execution_options(synchronize_session=False)
    )


def _takes(endpoint: WebhookEndpoint, event: Event) -> bool:
    """A disabled endpoint can be tried: that is how a partner sees whether it may be enabled again."""
    if event.type is EventType.PING:
        return endpoint.state is not EndpointState.DELETED
    return endpoint.state is EndpointState.ENABLED


def _verdict(asked: AttemptDelivery, answer: Answer) -> Verdict:
    if answer.succeeded:
        return Verdict.DELIVERED
    return Verdict.FAILED if asked.again_in is None else Verdict.AGAIN


def _attempt(asked: AttemptDelivery, answer: Answer) -> WebhookAttempt:
    delivery = asked.delivery
    text = answer.body.decode("utf-8", "replace").replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return WebhookAttempt(
        id=new_id("wat"),
        event_id=delivery.event_id,
        endpoint_id=delivery.endpoint_id,
        round=delivery.round,
        number=asked.number,
        latency_ms=int(answer.latency / timedelta(milliseconds=1)),
        status=answer.status,
        answer=text[:KEPT_OF_ANSWER] or None,
        error=answer.error,
    )


def _traceparent(trace_id: str | None) -> str:
    """Of the trace in which the event happened; the span is this request's own, where that trace is told here."""
    span = otel.get_current_span().get_span_context()
    if span.is_valid and trace_id in (None, otel.format_trace_id(span.trace_id)):
        return f"00-{otel.format_trace_id(span.trace_id)}-{otel.format_span_id(span.span_id)}-{span.trace_flags:02x}"
    return f"00-{trace_id or secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
