"""Every process is killed between a state change and its delivery: the event still arrives, under the same id.

The load is events as activities write them. Worker and dispatcher are one process, ``webhooks``, which is killed at seeded
moments of its work, and Temporal and PostgreSQL with it; the receiver fails now and then, so that retries are under way.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from sqlalchemy import func, select
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from activities.webhooks.signing import new_secret
from models.statuses import OPEN_DELIVERIES
from models.tables.session import open_database, transactions
from models.tables.webhooks import WebhookDelivery
from sandbox.services import AnvilOptions, PostgresOptions, Stack, StackOptions, TemporalOptions, ValkeyOptions
from tests import factories as make
from tests.engine import until
from tests.faults.campaign import Grounds, Part, Report
from tests.faults.processes import Running, Site, open_running
from tests.webhooks.desk import SEALING_KEY, Desk
from tests.webhooks.receiver import Behave, Receiver, receiving

NAME = "webhook-kills"
SEEDS = 10
EVENTS, EVENTS_IN_FULL = 40, 200
BLOWS, BLOWS_IN_FULL = 3, 12
SLICE = "short-1"
WEBHOOKS = "webhooks"
POSTGRES, TEMPORAL = "PostgreSQL", "Temporal"
VICTIMS = (WEBHOOKS, WEBHOOKS, TEMPORAL, POSTGRES)
QUIET_SECONDS = 180
"""A try of a worker that was killed is made again after fifty seconds (``workflows.options.DELIVERY_TIMEOUT``)."""
PAUSE_MS = (50, 900)
LASTS_MS = (100, 1_500)
FAILS_EACH = 7
"""Every so many requests the receiver fails, so that some deliveries wait for their next try."""
KEPT = StackOptions(PostgresOptions(durable=False), TemporalOptions(persistent=True), ValkeyOptions(), AnvilOptions())


class WebhookKills:
    name = NAME
    title = "Webhooks, Temporal and PostgreSQL killed between state changes and their deliveries"
    figure = f"{SEEDS} seeds, {EVENTS_IN_FULL} events each: every one arrives at least once under one id, and nothing is left open"
    unit = "deliveries that were under way when a part was killed"

    def parts(self, *, full: bool) -> list[Part]:
        return [Part(NAME, f"seed-{seed}", seed) for seed in range(1, SEEDS + 1)] if full else [Part(NAME, SLICE, 1)]

    async def run(self, part: Part, grounds: Grounds) -> Report:
        short = part.name == SLICE
        async with _open(grounds) as struck:
            dice = random.Random(part.seed)  # noqa: S311 - a seed plans the same again
            return await struck.run(dice, EVENTS if short else EVENTS_IN_FULL, BLOWS if short else BLOWS_IN_FULL)


@dataclass(frozen=True)
class _Struck:
    stack: Stack
    running: Running
    desk: Desk
    receiver: Receiver

    async def run(self, dice: random.Random, events: int, blows: int) -> Report:
        report = Report(operations=events)
        load = asyncio.create_task(self._load(events))
        for _ in range(blows):
            await asyncio.sleep(dice.randint(*PAUSE_MS) / 1000)
            victim = dice.choice(VICTIMS)
            report.injections += await self._under_way()
            report.faults[f"{victim} killed"] += 1
            await self._strike(victim, dice.randint(*LASTS_MS))
        written = await load
        report.breaches += await self._judge(written)
        return report

    async def _load(self, events: int) -> list[str]:
        """Events one after the other; one whose commit was not heard of is written again, as another state change."""
        written: list[str] = []
        while len(written) < events:
            try:
                written.append(await self.desk.event())
            except Exception:  # noqa: BLE001 - whatever a killed server makes of it, the next one is another event
                await asyncio.sleep(0.1)
                await self.desk.database.dispose()
        return written

    async def _under_way(self) -> int:
        counting = select(func.count()).where(WebhookDelivery.state.in_(OPEN_DELIVERIES))
        async with self.desk.transaction() as session:
            return int(await session.scalar(counting) or 0)

    async def _strike(self, victim: str, lasts_ms: int) -> None:
        servers = {POSTGRES: self.stack.postgres.process, TEMPORAL: self.stack.temporal.process}
        process = servers.get(victim) or self.running.processes.process(WEBHOOKS)
        await process.kill()
        await asyncio.sleep(lasts_ms / 1000)
        if victim == WEBHOOKS:
            await self.running.processes.start(WEBHOOKS)
            return
        await process.start()
        await self.desk.database.dispose()

    async def _judge(self, written: list[str]) -> list[str]:
        """Everything has arrived and verified, under the id of its row; and no delivery is open or looked at any more."""
        try:
            await until(partial(self._all_arrived, written), QUIET_SECONDS)
            await until(self._rests, QUIET_SECONDS)
        except TimeoutError:
            missing = set(written) - self._ids()
            return [
                f"{len(missing)} events had not arrived {QUIET_SECONDS} s after the last blow: {sorted(missing)[:5]}"
            ]
        unverified = sum(not each.verified for each in self.receiver.received)
        return [f"{unverified} messages did not verify"] if unverified else []

    async def _all_arrived(self, written: list[str]) -> bool:
        return set(written) <= self._ids()

    def _ids(self) -> set[str]:
        return {each.headers["webhook-id"] for each in self.receiver.received if each.verified}

    async def _rests(self) -> bool:
        looked_at = select(func.count()).where(WebhookDelivery.look_at.is_not(None))
        async with self.desk.transaction() as session:
            return int(await session.scalar(looked_at) or 0) == 0 and await self._under_way() == 0


def _faltering(receiver: Receiver) -> Behave:
    """Fails now and then, and no message twice: its third try would come only minutes later."""

    def behave(number: int) -> int:
        seen = [each.headers["webhook-id"] for each in receiver.received]
        return 503 if number % FAILS_EACH == 0 and seen[-1] not in seen[:-1] else 200

    return behave


@asynccontextmanager
async def _open(grounds: Grounds) -> AsyncIterator[_Struck]:
    folder, secret = grounds.folder("webhooks"), new_secret()
    async with (
        receiving([secret]) as receiver,
        Stack.start(folder / "stack", KEPT) as stack,
    ):
        receiver.behave = _faltering(receiver)
        site = Site(folder, await stack.postgres.create_database("faults"), stack.temporal, stack.anvil)
        async with open_running(site, SEALING_KEY=SEALING_KEY) as running:
            settings = running.engine.settings
            database = open_database(settings.database_url.get_secret_value())
            async with transactions(database)() as session:
                partner = await make.new_partner(session)
            temporal = await Client.connect(
                settings.temporal_address, namespace=settings.temporal_namespace, data_converter=pydantic_data_converter
            )
            desk = Desk(database, temporal, settings, partner.id)
            await desk.endpoint(receiver.url, secret=secret)
            await running.processes.start(WEBHOOKS, "webhooks")
            yield _Struck(stack, running, desk, receiver)
            await database.dispose()
