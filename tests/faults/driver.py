"""Drives the whole engine as processes behind a proxy: load, kills, and at the end the proof that nothing was lost."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import httpx
from sqlalchemy import select

from contracts.funding import mint_usdc
from models.statuses import TERMINAL_EVENTS, LoanStatus, OperationKind, OperationState
from models.tables.operations import Event, Operation
from sandbox.engine import API, Engine
from sandbox.services.process import ServiceStartError
from tests.chain.world import USD
from tests.faults.asking import Partners, Request, Told
from tests.faults.processes import CONNECTIONS, Running, Site, open_running, start_and_fund
from tests.faults.proxy import Proxy, proxy_before
from tests.faults.scenes import House, Scenes

LOANS, LANE = "loans", "lane"
ROLES = (API, LOANS, LANE)
QUIET_SECONDS = 180
PULLS = 10_000_000 * USD
PACE = {
    "CONFIRMATIONS": "2",
    "RESEND_AFTER": "PT1S",
    "BUMP_AFTER": "PT3S",
    "SETTLE_RETRY": "PT1S",
    "PROOF_WAIT": "PT30S",
    "SWEEP_EVERY": "PT5S",
    "SYNC_EVERY": "PT2S",
}
"""Quick where only patience is saved. A settlement address is given up after ten minutes, as in production."""


@dataclass
class Driven:
    """An engine under load, with what was done to it."""

    running: Running
    proxy: Proxy
    scenes: Scenes
    kills: Counter[str] = field(default_factory=Counter)
    _restarting: set[str] = field(default_factory=set)

    @property
    def partners(self) -> Partners:
        return self.scenes.partners

    async def kill(self, name: str) -> None:
        """Kill -9, and started again by a supervisor that does not give up. What is not back yet is not killed again."""
        processes = self.running.processes
        if name in self._restarting:
            return
        self._restarting.add(name)
        self.kills[f"kill-9 {name}"] += 1
        await processes.kill(name)
        while not processes.running(name):
            with suppress(ServiceStartError):
                await processes.start(name)
        self._restarting.remove(name)

    async def comes_to_rest(self) -> list[str]:
        """Lifts the proxy's faults and waits until everything has ended; says what is wrong then, or nothing."""
        self.proxy.follow(None)
        self.proxy.come_back()
        return [
            *await self.running.breaches_at_rest(QUIET_SECONDS),
            *self.scenes.breaches,
            *self.partners.failures,
            *await self._lost(),
            *await self._told_otherwise(),
        ]

    async def _lost(self) -> list[str]:
        """Every request that was decided is an operation that is DONE with one terminal event; and there are no others."""
        asked = {request.operation_id for request, told in self.partners.told if not told.conflicts}
        async with self.running.engine.transaction() as session:
            rows = {row.id: row for row in await session.scalars(select(Operation).where(_from_partners()))}
            events = Counter(
                await session.scalars(select(Event.operation_id).where(Event.type.in_(sorted(TERMINAL_EVENTS))))
            )
        return [
            *(f"{each} was asked for and is lost" for each in sorted(asked - rows.keys())),
            *(f"{each} was never asked for" for each in sorted(rows.keys() - asked)),
            *(f"{row.id} is {row.state}" for row in rows.values() if row.state is not OperationState.DONE),
            *(
                f"{each} ended as {rows[each].outcome}"
                for each in sorted(self.scenes.to_be_active & rows.keys())
                if _status(rows[each].outcome) != LoanStatus.ACTIVE
            ),
            *(f"{each} has {events[each]} terminal events" for each in sorted(rows) if events[each] != 1),
        ]

    async def _told_otherwise(self) -> list[str]:
        """Asked again now, every request is answered as it was; and its operation reads as its row says."""
        found: list[str] = []
        for request, told in list(self.partners.told):
            again = await self.partners.ask(request)
            if again != told:
                found.append(f"{request.operation_id} was told {told} and later {again}")
            if not told.conflicts:
                found += await self._read_otherwise(request, told)
        return found

    async def _read_otherwise(self, request: Request, told: Told) -> list[str]:
        answer = await self.partners.look(request.partner, f"/v1/operations/{request.operation_id}")
        seen = answer.json()
        row = await self.running.engine.operation_row(request.operation_id)
        wanted = ("DONE", "ACCEPTED" if told.accepted else "REFUSED", _status(row.outcome))
        shown = (seen.get("state"), seen.get("decision"), _status(seen.get("outcome")))
        return [] if shown == wanted else [f"{request.operation_id} is shown as {shown}, and is {wanted}"]


def _status(outcome: dict[str, Any] | None) -> str | None:
    return None if outcome is None else outcome["status"]


def _from_partners() -> Any:
    return Operation.kind != OperationKind.SYSTEM


@asynccontextmanager
async def driven(
    site: Site, seed: int, *, houses: int = 3, lines: int = 40, more_doors: int = 0, **settings: str
) -> AsyncIterator[Driven]:
    """An engine with three processes behind a proxy, a funded float, and partners with credit lines of their own."""
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(proxy_before(site.anvil.url))
        behind = replace(site, rpc_url=proxy.url)
        running = await stack.enter_async_context(open_running(behind, **{**PACE, **settings}))
        await running.processes.start(LANE, role="lane")
        await running.processes.start(LOANS, role="loans")
        await start_and_fund(running, API)
        doors = [running.engine.api, *[await _door(stack, running, site, place) for place in range(more_doors)]]
        built = [await _house(running, lines) for _ in range(houses)]
        yield Driven(running, proxy, Scenes(running, Partners(doors), built, Random(seed)))  # noqa: S311 - a seed is the point


async def _door(stack: AsyncExitStack, running: Running, site: Site, place: int) -> httpx.AsyncClient:
    """One more API process of the same engine."""
    folder = site.folder / f"door-{place}"
    other = await stack.enter_async_context(Engine.open(folder, running.processes.config))
    await other.start(API)
    limits = httpx.Limits(max_connections=CONNECTIONS)
    client = httpx.AsyncClient(base_url=other.api_url, timeout=60, trust_env=False, limits=limits)
    return await stack.enter_async_context(client)


async def _house(running: Running, lines: int) -> House:
    engine = running.engine
    account = await engine.new_partner(total_limit=PULLS, daily_limit=PULLS)
    await mint_usdc(engine.owner, engine.contracts, account.settlement.address, PULLS)
    await engine.approve_pull(account, PULLS)
    return House(account, await running.many_lines(account, lines) if lines else [])
