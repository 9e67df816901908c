"""`python -m bench.webhooks`: what two endpoints that hang cost the eight beside them, and what one delivery costs Temporal.

The rate that this machine can deliver at is measured first; the two loads come at half of it. A latency is from the commit of
the event to its arrival at the receiver. Everything runs in this process but PostgreSQL and Temporal.
"""

import argparse
import asyncio
import logging
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import structlog
from aiohttp import web
from alembic import command
from alembic.config import Config
from eth_account import Account
from pydantic import SecretStr
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from activities.webhooks.signing import new_secret, seal
from activities.webhooks.transport import Transport
from api.administration import create_partner
from models.events.catalog import CATALOG
from models.ids import new_id
from models.sealing import KEY_BYTES, Sealer
from models.statuses import EventType, OperationKind, OperationState, PartnerTier
from models.tables.operations import Event, Operation
from models.tables.session import open_database, transactions
from models.tables.webhooks import WebhookEndpoint
from sandbox.services import Postgres, PostgresOptions, Temporal
from settings import Settings
from startup import ALEMBIC_INI
from wiring import dispatcher, webhooks_worker

ENDPOINTS, HANGING = 10, 2
ADDRESS = f"0x{'ab' * 20}"
PERCENT = 99
KEY = bytes(KEY_BYTES)
PATIENCE = timedelta(minutes=30)


@dataclass
class Receivers:
    """One server, an endpoint for each path; what a hanging one gets is never answered."""

    url: str = ""
    hanging: set[str] = field(default_factory=set)
    arrived: dict[str, int] = field(default_factory=dict)
    """Nanoseconds of the monotonic clock, by event; first arrivals only."""
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.Response:
        await request.read()
        if request.path in self.hanging:
            await self.over.wait()
        self.arrived.setdefault(request.headers["webhook-id"], time.monotonic_ns())
        return web.Response(status=204)


@dataclass
class World:
    database: AsyncEngine
    temporal: Client
    receivers: Receivers
    partners: list[str] = field(default_factory=list)

    async def add_partner(self, number: int, path: str) -> None:
        """Each endpoint is another partner's, so that events are written at once."""
        partner_id, endpoint_id = f"partner-{number}", new_id("we")
        async with transactions(self.database)() as session:
            await create_partner(
                session,
                partner_id=partner_id,
                name=partner_id,
                tier=PartnerTier.PREMIUM,
                settlement_address=Account.create().address,
                mode="sandbox",
            )
            secret = seal(Sealer(KEY), new_secret(), endpoint_id)
            url = self.receivers.url + path
            session.add(WebhookEndpoint(id=endpoint_id, partner_id=partner_id, url=url, secret=secret))
        self.partners.append(partner_id)

    async def write(self, partner_id: str) -> tuple[str, int]:
        """An event's id, and when it was committed."""
        example = dict(CATALOG[EventType.LOAN_BORROWED].example)
        event_id, operation_id = new_id("evt"), f"borrow:{partner_id}:{uuid4().hex}"
        async with transactions(self.database)() as session:
            session.add(
                Operation(
                    id=operation_id,
                    kind=OperationKind.BORROW,
                    partner_id=partner_id,
                    idempotency_key=operation_id,
                    fingerprint="bench",
                    state=OperationState.OPEN,
                )
            )
            await session.flush()
            session.add(
                Event(
                    id=event_id,
                    partner_id=partner_id,
                    operation_id=operation_id,
                    type=EventType.LOAN_BORROWED,
                    payload=example,
                )
            )
        return event_id, time.monotonic_ns()

    async def load(self, partners: Sequence[str], number: int, gap: timedelta) -> dict[str, tuple[str, int]]:
        """Events in turn for each of the partners, one after each gap; their partners and moments."""
        writing = []
        for each in range(number):
            writing.append(asyncio.ensure_future(self._of(partners[each % len(partners)])))
            await asyncio.sleep(gap.total_seconds())
        return dict(await asyncio.gather(*writing))

    async def _of(self, partner_id: str) -> tuple[str, tuple[str, int]]:
        event_id, at = await self.write(partner_id)
        return event_id, (partner_id, at)

    async def all_arrive(self, events: Iterable[str]) -> None:
        left = set(events)
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while left := left - self.receivers.arrived.keys():  # noqa: ASYNC110 - one look for all of them
                await asyncio.sleep(0.05)


@asynccontextmanager
async def open_world(folder: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(Postgres.start(folder / "postgres", PostgresOptions(durable=False)))
        server = await stack.enter_async_context(Temporal.start(folder / "temporal"))
        url = await postgres.create_database("bench")
        config = Config(ALEMBIC_INI)
        config.set_main_option("sqlalchemy.url", url)
        await asyncio.to_thread(command.upgrade, config, "head")
        database = open_database(url, pool_size=40)
        stack.push_async_callback(database.dispose)
        temporal = await Client.connect(server.address, data_converter=pydantic_data_converter)
        receivers = Receivers()
        application = web.Application()
        application.router.add_post("/{path:.*}", receivers.handle)
        runner = web.AppRunner(application, shutdown_timeout=0)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        receivers.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        settings = _settings(url)
        transport = await stack.enter_async_context(Transport(settings.webhook_urls))
        await stack.enter_async_context(webhooks_worker(temporal, settings, database, Sealer(KEY), transport))
        await stack.enter_async_context(dispatcher(temporal, database))
        stack.callback(receivers.over.set)
        yield World(database, temporal, receivers)


def _settings(url: str) -> Settings:
    """Of the chain nothing is asked."""
    contracts = ("usdc_address", "oaid_address", "vault_address", "pool_address", "platform_wallet")
    return Settings.model_validate(
        {
            "database_url": SecretStr(url),
            "rpc_url": SecretStr("http://127.0.0.1:1"),
            "chain_id": 1,
            **dict.fromkeys(contracts, ADDRESS),
            "confirmations": 1,
            "key_mode": "sandbox",
        }
    )


def percentile(nanoseconds: Sequence[int]) -> timedelta:
    ordered = sorted(nanoseconds)
    return timedelta(microseconds=ordered[min(len(ordered) - 1, len(ordered) * PERCENT // 100)] // 1000)


async def capacity(world: World, number: int) -> timedelta:
    """The time that one delivery takes of the machine when it does nothing else."""
    began = time.monotonic_ns()
    events = await world.load(world.partners[HANGING:], number, timedelta(0))
    await world.all_arrive(events)
    return timedelta(microseconds=(time.monotonic_ns() - began) // 1000) / number


async def latencies(world: World, partners: Sequence[str], number: int, gap: timedelta) -> list[int]:
    """Of the endpoints that answer."""
    events = await world.load(partners, number, gap)
    answering = {event: at for event, (partner, at) in events.items() if partner in world.partners[HANGING:]}
    await world.all_arrive(answering)
    return [world.receivers.arrived[event] - at for event, at in answering.items()]


async def cost(world: World) -> Counter[str]:
    """Of one delivery that arrives at once: events in its history, and what Temporal bills as actions."""
    event_id, _ = await world.write(world.partners[-1])
    await world.all_arrive([event_id])
    async for found in world.temporal.list_workflows(f"WorkflowId STARTS_WITH 'deliver:{event_id}'"):
        handle = world.temporal.get_workflow_handle(found.id)
        await handle.result()
        names = Counter(event.WhichOneof("attributes") or "" for event in (await handle.fetch_history()).events)
        scheduled = names["activity_task_scheduled_event_attributes"]
        return Counter(events=names.total(), actions=1 + scheduled + names["timer_started_event_attributes"])
    raise RuntimeError(f"no workflow delivered {event_id}")


async def measure(folder: Path, number: int) -> None:
    async with open_world(folder) as world:
        for each in range(ENDPOINTS):
            await world.add_partner(each, f"/{each}")
        each_takes = await capacity(world, max(200, number // 10))
        gap = 2 * each_takes
        print(f"capacity: {1 / each_takes.total_seconds():.0f} deliveries a second; the loads come at half of it")
        answering = world.partners[HANGING:]
        alone = await latencies(
            world, answering, number * len(answering) // ENDPOINTS, gap * ENDPOINTS / len(answering)
        )
        world.receivers.hanging = {f"/{each}" for each in range(HANGING)}
        beside = await latencies(world, world.partners, number, gap)
        before, after = percentile(alone), percentile(beside)
        print(f"p{PERCENT} of the {len(answering)} that answer, alone: {before / timedelta(milliseconds=1):.0f} ms")
        print(f"p{PERCENT} of the same beside {HANGING} that hang: {after / timedelta(milliseconds=1):.0f} ms")
        print(f"ratio {after / before:.2f} (aim: at most 2), {number} deliveries to {ENDPOINTS} endpoints")
        costs = await cost(world)
        print(f"one delivery: {costs['events']} history events, {costs['actions']} actions")
        await _end(world)


async def _end(world: World) -> None:
    """Lets the hanging ones go, so that the worker need not wait for them."""
    async with transactions(world.database)() as session:
        stop = update(WebhookEndpoint).values(failing_since=datetime.now(UTC) - timedelta(days=6))
        await session.execute(stop)
    world.receivers.over.set()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.webhooks", description=__doc__)
    parser.add_argument("--deliveries", type=int, default=10_000)
    asked = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        asyncio.run(measure(folder, asked.deliveries))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
