"""Deliveries for real: PostgreSQL, Temporal, the role's own worker and dispatcher, and rows of a partner and its endpoints."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from activities.operation_rows import write_event
from activities.snapshots import loan_snapshot
from activities.webhooks.dispatcher import Dispatcher
from activities.webhooks.signing import new_secret, seal
from activities.webhooks.transport import Transport
from models.sealing import Sealer
from models.statuses import DeliveryState, EventType
from models.tables.loans import Loan
from models.tables.operations import Event, Operation
from models.tables.partners import Partner
from models.tables.session import Transaction, transactions
from models.tables.webhooks import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from settings import Settings
from tests import factories as make
from wiring import dispatcher, webhooks_worker

SEALING_KEY = "5e" * 32
SEALER = Sealer(bytes.fromhex(SEALING_KEY))
ADDRESS = f"0x{'ab' * 20}"


def sandbox_settings(url: str, **changes: Any) -> Settings:
    """No test of deliveries asks the chain."""
    fields: dict[str, Any] = {
        "database_url": SecretStr(url),
        "rpc_url": SecretStr("http://127.0.0.1:1"),
        "chain_id": 31337,
        "usdc_address": ADDRESS,
        "oaid_address": ADDRESS,
        "vault_address": ADDRESS,
        "pool_address": ADDRESS,
        "platform_wallet": ADDRESS,
        "confirmations": 1,
        "key_mode": "sandbox",
        "sealing_key": SecretStr(SEALING_KEY),
    }
    return Settings(**fields | changes)


@dataclass
class Desk:
    database: AsyncEngine
    temporal: Client
    settings: Settings
    partner_id: str

    @property
    def transaction(self) -> Transaction:
        return transactions(self.database)

    @asynccontextmanager
    async def delivering(self, **transport: Any) -> AsyncIterator[None]:
        """The ``webhooks`` role."""
        async with AsyncExitStack() as stack:
            sending = await stack.enter_async_context(Transport(self.settings.webhook_urls, **transport))
            worker = webhooks_worker(self.temporal, self.settings, self.database, SEALER, sending)
            await stack.enter_async_context(worker)
            await stack.enter_async_context(dispatcher(self.temporal, self.database))
            yield

    def dispatching(self) -> Dispatcher:
        """A dispatcher beside the role's own, as of another process."""
        return dispatcher(self.temporal, self.database)

    async def endpoint(self, url: str, *event_types: EventType, secret: str | None = None, **changes: Any) -> str:
        """A new endpoint's id; its secret is ``secret``, or one that nobody knows."""
        endpoint_id = make.unique("we")
        row = WebhookEndpoint(
            id=endpoint_id,
            partner_id=self.partner_id,
            url=url,
            event_types=list(event_types),
            secret=seal(SEALER, secret or new_secret(), endpoint_id),
            **changes,
        )
        async with self.transaction() as session:
            session.add(row)
        return endpoint_id

    async def event(self, kind: EventType = EventType.LOAN_BORROWED, partner_id: str | None = None) -> str:
        """A state change with its event, as an activity would write it; the event's id."""
        async with self.transaction() as session:
            partner = await session.get_one(Partner, partner_id or self.partner_id)
            operation = await make.new_operation(session, partner, trace_id="4bf92f3577b34da6a3ce929d0e0e4736")
            loan = await make.new_loan(session, operation)
            await session.refresh(loan)
            write_event(session, operation, kind, loan_snapshot(loan))
            await session.flush()
            found = await session.scalar(select(Event.id).where(Event.operation_id == operation.id))
            assert found is not None
            return found

    async def delivery(self, event_id: str, endpoint_id: str) -> WebhookDelivery | None:
        async with self.transaction() as session:
            return await session.get(WebhookDelivery, (event_id, endpoint_id))

    async def is_in(self, event_id: str, endpoint_id: str, state: DeliveryState) -> bool:
        found = await self.delivery(event_id, endpoint_id)
        return found is not None and found.state is state

    async def has_ended(self, event_id: str, endpoint_id: str) -> bool:
        found = await self.delivery(event_id, endpoint_id)
        return found is not None and found.ended_at is not None

    async def attempts(self, endpoint_id: str) -> list[WebhookAttempt]:
        query = select(WebhookAttempt).where(WebhookAttempt.endpoint_id == endpoint_id).order_by(WebhookAttempt.id)
        async with self.transaction() as session:
            return list(await session.scalars(query))

    async def endpoint_row(self, endpoint_id: str) -> WebhookEndpoint:
        async with self.transaction() as session:
            return await session.get_one(WebhookEndpoint, endpoint_id)

    async def failing_for(self, endpoint_id: str, duration: timedelta) -> None:
        """As if the endpoint had failed for so long."""
        async with self.transaction() as session:
            endpoint = await session.get_one(WebhookEndpoint, endpoint_id)
            endpoint.failing_since = datetime.now(UTC) - duration

    async def running(self) -> int:
        """Workflows that run."""
        return (await self.temporal.count_workflows("ExecutionStatus = 'Running'")).count

    async def operation_of(self, event_id: str) -> tuple[Operation, Loan]:
        async with self.transaction() as session:
            event = await session.get_one(Event, event_id)
            operation = await session.get_one(Operation, event.operation_id)
            loan = (await session.scalars(select(Loan).where(Loan.operation_id == operation.id))).one()
            return operation, loan
