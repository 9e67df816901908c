"""A partner at its desk: the real application over HTTP, on a database, a Temporal namespace and contracts of its own."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from eth_account import Account
from eth_account.messages import encode_typed_data
from sqlalchemy import func, select
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from api.administration import IssuedKey, create_partner
from api.app import OpenResources, create_app
from api.resources import open_resources
from chain.client import ChainClient
from chain.waiter import LegWaiter
from contracts.funding import set_operator
from models.statuses import PartnerTier
from models.tables.operations import Operation
from models.tables.session import Transaction, open_database, transactions
from settings import Settings
from startup import describe_chain
from tests.chain.world import World
from wiring import Parts, loans_workers

USD = 10**6


@dataclass(frozen=True)
class Desk:
    http: httpx.AsyncClient
    settings: Settings
    transaction: Transaction
    world: World
    partner: IssuedKey
    user_key: str
    names: list[str] = field(default_factory=list)

    @property
    def user(self) -> str:
        return self.world.user.address

    def auth(self, key: str | None = None) -> dict[str, str]:
        return {"Authorization": f"Bearer {key or self.partner.key}"}

    def as_partner(self, partner: IssuedKey) -> "Desk":
        return replace(self, partner=partner)

    def borrow_body(self, **changes: Any) -> dict[str, Any]:
        self.names.append(f"loan-{len(self.names) + 1}")
        body = {
            "oaid_token_id": str(self.world.line.credit_line_id),
            "user_wallet": self.user,
            "amount": str(5_000 * USD),
            "partner_loan_id": self.names[-1],
        }
        return {**body, **changes}

    async def post(self, path: str, body: Any, *, key: str | None = None, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post(path, json=body, headers={**self.auth(key), **named})

    async def get(self, path: str, *, key: str | None = None) -> httpx.Response:
        return await self.http.get(path, headers=self.auth(key))

    async def borrow(self, **changes: Any) -> httpx.Response:
        return await self.post("/v1/loans", self.borrow_body(**changes))

    def grant_fields(self, **changes: Any) -> dict[str, Any]:
        fields = {
            "oaid_token_id": str(self.world.line.credit_line_id),
            "user_wallet": self.user,
            "max_amount": str(10_000 * USD),
            "expires_at": (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return {**fields, **changes}

    async def signed_grant(self, *, signer: str | None = None, **changes: Any) -> dict[str, Any]:
        """What POST /v1/grants takes, signed by the user unless another key is given."""
        fields = self.grant_fields(**changes)
        answer = await self.post("/v1/grants/typed-data", fields)
        assert answer.status_code == 200, answer.text
        made = answer.json()
        signable = encode_typed_data(full_message=made)
        signature = Account.sign_message(signable, private_key=signer or self.user_key).signature
        return {**fields, "nonce": made["message"]["nonce"], "signature": f"0x{signature.hex().removeprefix('0x')}"}

    async def grant(self, **changes: Any) -> httpx.Response:
        return await self.post("/v1/grants", await self.signed_grant(**changes))

    async def operations(self) -> int:
        async with self.transaction() as session:
            return (await session.scalar(select(func.count()).select_from(Operation))) or 0

    async def operation(self, operation_id: str) -> Operation:
        async with self.transaction() as session:
            return await session.get_one(Operation, operation_id)


@asynccontextmanager
async def served(settings: Settings, resources: OpenResources = open_resources) -> AsyncIterator[httpx.AsyncClient]:
    """The application, started and over HTTP; a bug inside it is its answer, not the client's exception."""
    app = create_app(settings, resources=resources)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.router.lifespan_context(app))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        yield await stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://engine", timeout=60)
        )


@asynccontextmanager
async def working(settings: Settings) -> AsyncIterator[None]:
    """The engine's own workers of the ``loans`` role. No lane: what is accepted is queued, and nothing is sent."""
    async with AsyncExitStack() as stack:
        database = open_database(settings.database_url.get_secret_value())
        stack.push_async_callback(database.dispose)
        client = await stack.enter_async_context(ChainClient(settings.rpc_url.get_secret_value()))
        parts = Parts(settings, database, await describe_chain(settings, client))
        temporal = await Client.connect(
            settings.temporal_address,
            namespace=settings.temporal_namespace,
            data_converter=pydantic_data_converter,
        )
        waiter = await stack.enter_async_context(LegWaiter(transactions(database), database.url))
        for worker in loans_workers(temporal, parts, waiter):
            await stack.enter_async_context(worker)
        yield


async def new_partner(transaction: Transaction, partner_id: str, **terms: Any) -> IssuedKey:
    async with transaction() as session:
        return await create_partner(
            session,
            partner_id=partner_id,
            name=partner_id.title(),
            tier=PartnerTier.PREMIUM,
            settlement_address=Account.create().address,
            mode="sandbox",
            **terms,
        )


async def approve_engine(world: World) -> None:
    await set_operator(world.user, world.contracts, world.operator.address)


def open_transactions(url: str) -> tuple[Any, Transaction]:
    engine = open_database(url)
    return engine, transactions(engine)
