"""The worker process: builds every client and activity once, serves the roles it is told to, and stops gracefully.

``python worker.py`` serves all roles; ``python worker.py --role lane`` one. A start-up check that fails ends the process
with exit status 2 and a message that names the setting at fault.
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from enum import StrEnum

import structlog
from eth_typing import ChecksumAddress
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client
from temporalio.runtime import Runtime

from activities.webhooks.transport import Transport
from alive import beating
from chain.client import ChainClient
from chain.lane import SignerLane
from chain.lane_config import LaneConfig
from chain.signer import KeyFileSigner, KeyFileUnusable, Signer
from chain.types import BlockNumber
from chain.waiter import LegWaiter
from metrics.catalogue import LANE_ELECTED
from metrics.collecting import StateCollector, Watched
from metrics.endpoint import gauge, new_registry, served
from metrics.sdk import sdk_runtime
from models.sealing import Sealer
from models.tables.session import open_database, transactions
from schedules import keep_schedules, recurring
from settings import Settings, SignerSettings
from startup import (
    SettingAtFault,
    check_database,
    connect_temporal,
    describe_chain,
    ensure_search_attributes,
    read_settings,
)
from telemetry import Tracing, configure_logging
from wiring import Parts, dispatcher, loans_workers, webhooks_worker


class Role(StrEnum):
    ALL = "all"
    LOANS = "loans"
    LANE = "lane"
    WEBHOOKS = "webhooks"


def lane_config(settings: Settings) -> LaneConfig:
    return LaneConfig(
        chain_id=settings.chain_id,
        wallet=settings.platform_wallet,
        usdc=settings.usdc_address,
        vault=settings.vault_address,
        allowance_target=settings.allowance_target,
        treasury=frozenset(settings.treasury_addresses),
        demands_clearance=settings.demands_clearance,
        finality=settings.finality,
        gas_margin=settings.gas_margin,
        max_fee_cap=settings.max_fee_cap,
        gas_reserve=settings.gas_reserve,
        bump_after=settings.bump_after,
        inbound_from_block=None if settings.inbound_from_block is None else BlockNumber(settings.inbound_from_block),
        block_poll=settings.block_poll,
        inbound_poll=2 * settings.block_poll,
        resend_after=settings.resend_after,
        refund_after=settings.refund_after,
        refund_minimum=settings.refund_minimum,
        refund_poll=60 * settings.block_poll,
    )


def load_signer(settings: SignerSettings, wallet: ChecksumAddress) -> Signer:
    """Raises SettingAtFault where the key file cannot be used, or is the key of another address."""
    passphrase = settings.signer_passphrase
    try:
        signer = KeyFileSigner.load(
            settings.signer_key_file, None if passphrase is None else passphrase.get_secret_value()
        )
    except KeyFileUnusable as unusable:
        raise SettingAtFault("SIGNER_KEY_FILE", str(unusable)) from unusable
    if signer.address != wallet:
        raise SettingAtFault("PLATFORM_WALLET", f"it is {wallet}, and the key file holds the key of {signer.address}")
    return signer


@asynccontextmanager
async def lane_of(
    parts: Parts, signer: Signer, registry: CollectorRegistry | None = None
) -> AsyncIterator[asyncio.Task[None]]:
    """The ``lane`` role, running until the block ends; its task ends early only by a bug, which the task then raises."""
    # A pool of its own, since the lane keeps one session for as long as it holds the lock.
    database = open_database(parts.settings.database_url.get_secret_value(), pool_size=2, application_name="lane")
    lane = SignerLane(lane_config(parts.settings), database, parts.chain.client, signer)
    if registry is not None:
        gauge(LANE_ELECTED, registry).set_function(lane.holding.is_set)
    running = asyncio.create_task(lane.run(), name="signer lane")
    try:
        yield running
    finally:
        await lane.stop()
        await running
        await database.dispose()


@asynccontextmanager
async def figures_told(parts: Parts, temporal: Client, registry: CollectorRegistry) -> AsyncIterator[None]:
    """Looks at what this worker tells Prometheus of rows and neighbours, until the block ends."""
    settings = parts.settings
    database = open_database(settings.database_url.get_secret_value(), pool_size=1, application_name="metrics")
    watched = Watched(
        database=database,
        temporal=temporal,
        node=parts.chain.client,
        wallet=parts.chain.wallet,
        gas_reserve=settings.gas_reserve,
        fee_cap=settings.max_fee_cap,
        every=settings.metrics_every,
    )
    try:
        async with StateCollector(watched, registry).running():
            yield
    finally:
        await database.dispose()


async def serve(role: Role, stop: asyncio.Event) -> None:
    """Serves the role until ``stop`` is set. Raises SettingAtFault where the engine cannot run as it is configured."""
    settings = read_settings(Settings)
    async with AsyncExitStack() as stack:
        tracing = Tracing(f"worker-{role}", settings)
        stack.callback(tracing.close)
        database = open_database(settings.database_url.get_secret_value(), pool_size=settings.database_pool_size)
        stack.push_async_callback(database.dispose)
        tracing.watch_database(database)
        await check_database(database)
        registry = new_registry(f"worker-{role}")
        runtime = None if role is Role.LANE else sdk_runtime(settings.metrics_host, settings.temporal_metrics_port)
        if role is not Role.WEBHOOKS:
            client = await stack.enter_async_context(ChainClient(settings.rpc_url.get_secret_value()))
            parts = Parts(settings, database, await describe_chain(settings, client))
            if role in (Role.ALL, Role.LANE):
                await _serve_lane(stack, parts, registry, stop)
            if role in (Role.ALL, Role.LOANS):
                await _serve_loans(stack, parts, registry, tracing, runtime)
        if role in (Role.ALL, Role.WEBHOOKS) and (sealer := _sealer(role, settings)) is not None:
            dispatching = await _serve_webhooks(stack, settings, database, sealer, tracing, runtime=runtime)
            dispatching.add_done_callback(lambda _: stop.set())
        await stack.enter_async_context(served(registry, settings.metrics_host, settings.metrics_port))
        await stack.enter_async_context(beating(settings.alive_file))
        structlog.get_logger().info("worker ready", role=role)
        await stop.wait()
        structlog.get_logger().info("worker stops", role=role)


async def _serve_lane(stack: AsyncExitStack, parts: Parts, registry: CollectorRegistry, stop: asyncio.Event) -> None:
    signer = load_signer(read_settings(SignerSettings), parts.settings.platform_wallet)
    lane = await stack.enter_async_context(lane_of(parts, signer, registry))
    lane.add_done_callback(lambda _: stop.set())


async def _serve_loans(
    stack: AsyncExitStack, parts: Parts, registry: CollectorRegistry, tracing: Tracing, runtime: Runtime | None
) -> None:
    settings = parts.settings
    temporal = await connect_temporal(settings, tracing.plugins(), runtime)
    await ensure_search_attributes(temporal)
    waiter = await stack.enter_async_context(LegWaiter(transactions(parts.database), parts.database.url))
    for worker in loans_workers(temporal, parts, waiter):
        await stack.enter_async_context(worker)
    await keep_schedules(temporal, recurring(settings))
    if settings.metrics_port:
        await stack.enter_async_context(figures_told(parts, temporal, registry))


def _sealer(role: Role, settings: Settings) -> Sealer | None:
    """Without a sealing key no webhook endpoint can be set up, and there is nothing to serve."""
    sealer = settings.sealer
    if sealer is None and role is Role.WEBHOOKS:
        raise SettingAtFault("SEALING_KEY", "the secrets of webhook endpoints cannot be read without it")
    if sealer is None:
        structlog.get_logger().warning("webhooks are not served", setting="ENGINE_SEALING_KEY", problem="it is not set")
    return sealer


async def _serve_webhooks(
    stack: AsyncExitStack,
    settings: Settings,
    database: AsyncEngine,
    sealer: Sealer,
    tracing: Tracing,
    *,
    runtime: Runtime | None,
) -> asyncio.Task[None]:
    """It knows no chain and no key. The task ends only by a bug."""
    temporal = await connect_temporal(settings, tracing.plugins(), runtime)
    transport = await stack.enter_async_context(Transport(settings.webhook_urls))
    await stack.enter_async_context(webhooks_worker(temporal, settings, database, sealer, transport))
    return (await stack.enter_async_context(dispatcher(temporal, database))).running


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="worker.py", description="Serves the loan engine's task queues.")
    parser.add_argument("--role", type=Role, choices=list(Role), default=Role.ALL)
    role = parser.parse_args(arguments).role
    configure_logging(f"worker-{role}")
    return asyncio.run(_serve_until_signalled(role))


async def _serve_until_signalled(role: Role) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await serve(role, stop)
    except SettingAtFault as fault:
        structlog.get_logger().error("cannot start", setting=fault.setting, problem=fault.problem)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
