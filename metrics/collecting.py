"""What the role ``loans`` tells: whether PostgreSQL, Temporal and the node answer, the wallet's gas, and the figures of rows.

It looks every so often, by itself, with a connection of its own, and keeps what it saw: a scrape asks nobody. Of all workers
one reads the rows, which an advisory lock decides; where it dies another goes on. Whatever is away, its figures are absent
and its ``…_up`` is 0. Nothing here is waited for by anything that moves money.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from time import monotonic_ns

import structlog
from eth_typing import ChecksumAddress
from prometheus_client import CollectorRegistry
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from temporalio.client import Client
from temporalio.service import RPCError

from chain.client import ChainClient
from chain.errors import ChainError
from chain.types import Market, Wei
from metrics import catalogue
from metrics.ended_legs import EndedLegs
from metrics.rows import SOURCES, LoanCounts
from metrics.samples import LatestSamples, Sample
from metrics.signers import read_signers
from metrics.webhooks import WebhookTries

_LOCK = 0x6D657472
"""The key of the advisory lock: who holds it tells the figures of rows."""
_TRY_LOCK = text("SELECT pg_try_advisory_lock(:key)")
_BOUND = text("SET LOCAL statement_timeout = '5s'")
_PATIENCE = 10
"""Seconds for one look at each of what may be away."""
_PARTING = 2
"""The same for a look that is ended, and for the session: a worker that stops has money's steps to wait for, not this."""
_TURNS_KEPT = 3


@dataclass(frozen=True)
class Watched:
    """What is looked at, and how often. ``database`` is for this alone, with one connection, which keeps the lock."""

    database: AsyncEngine
    temporal: Client
    node: ChainClient
    wallet: ChecksumAddress
    gas_reserve: Wei
    fee_cap: Wei
    every: timedelta


class StateCollector:
    def __init__(self, watched: Watched, registry: CollectorRegistry) -> None:
        self._watched = watched
        kept = _TURNS_KEPT * int(watched.every.total_seconds() + _PATIENCE)
        self._latest = LatestSamples(registry, stale_after=kept)
        self._ended, self._tries, self._loans = EndedLegs(registry), WebhookTries(registry), LoanCounts()
        self._registry = registry
        self._connection: AsyncConnection | None = None
        self._holds = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Until the block ends; then the lock is free for another worker."""
        task = asyncio.create_task(self._run(), name="metrics")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task}, timeout=_PARTING)
            await self.close()

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except Exception:  # noqa: BLE001 - whatever it fails of, it looks again, and figures are absent meanwhile
                structlog.get_logger(__name__).exception("metrics: a look failed")
                await self.close()
            await asyncio.sleep(self._watched.every.total_seconds())

    async def look(self) -> None:
        """One look at everything. The node first: what it says of nonces is then older than the rows, never newer."""
        market, temporal = await asyncio.gather(self._market(), self._temporal_serves())
        rows = await self._rows(market)
        self._latest.put(
            [
                Sample(catalogue.NODE_UP, int(market is not None)),
                Sample(catalogue.TEMPORAL_UP, int(temporal)),
                Sample(catalogue.POSTGRESQL_UP, int(rows is not None)),
                Sample(catalogue.STATE_COLLECTOR, int(self._holds)),
                *self._gas(market),
                *(rows or ()),
            ]
        )

    def _gas(self, market: Market | None) -> Sequence[Sample]:
        kept = [
            Sample(catalogue.GAS_RESERVE, self._watched.gas_reserve),
            Sample(catalogue.FEE_CAP, self._watched.fee_cap),
        ]
        if market is None:
            return kept
        price = market.base_fee + market.tip
        balance = Sample(catalogue.GAS_BALANCE, market.balance, (self._watched.wallet,))
        return [*kept, balance, Sample(catalogue.GAS_PRICE, price)]

    async def _market(self) -> Market | None:
        with suppress(ChainError, TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                return await self._watched.node.market(self._watched.wallet)
        return None

    async def _temporal_serves(self) -> bool:
        with suppress(RPCError, RuntimeError, TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                return await self._watched.temporal.service_client.check_health(timeout=timedelta(seconds=_PATIENCE))
        return False

    async def _rows(self, market: Market | None) -> Sequence[Sample] | None:
        """None where PostgreSQL does not answer; nothing where another worker tells the figures."""
        try:
            async with asyncio.timeout(_PATIENCE):
                if not self._holds:
                    self._holds = await self._try_lock()
                return await self._read(market) if self._holds else ()
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            structlog.get_logger(__name__).warning("metrics: rows cannot be read", error=type(error).__name__)
            await self.close()
            return None

    async def _try_lock(self) -> bool:
        if self._connection is None:
            self._connection = await self._watched.database.connect()
        async with self._connection.begin():
            return bool(await self._connection.scalar(_TRY_LOCK, {"key": _LOCK}))

    async def _read(self, market: Market | None) -> Sequence[Sample]:
        """All sources in one snapshot, on the session that holds the lock."""
        assert self._connection is not None  # noqa: S101 - the lock is held on it
        begun = monotonic_ns()
        snapshot = await self._connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        samples: list[Sample] = []
        async with AsyncSession(snapshot) as session, session.begin():
            await session.execute(_BOUND)
            for source in (*SOURCES, self._loans.read):
                samples += await source(session)
            samples += await read_signers(session, self._watched.wallet, market)
            await self._ended.look(session)
            await self._tries.look(session)
        took = Decimal(monotonic_ns() - begun) / 1_000_000_000
        return [*samples, Sample(catalogue.COLLECTION_SECONDS, took)]

    async def close(self) -> None:
        """Ends the session, and with it the lock, which would stay with it in a pool."""
        self._holds = False
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # a session that cannot even be closed is gone
                async with asyncio.timeout(_PARTING):
                    await connection.invalidate()
                    await connection.close()
