"""One key, two API processes, more requests than it may make: never more than its limit in any minute, with or without Valkey.

What can be proven from outside. Each request that was let through is an entry in Valkey, at the microsecond of Valkey's own
clock at which it was; it stays there for a minute, so whoever looks every few seconds has seen them all. There must be as
many entries as requests let through, so that none passed uncounted, and no minute of them may hold more than the limit: that
is exact. A second proof needs no word of Valkey: a request was let through after it was sent and before its answer came, so
those that were sent and answered within one minute of the client's clock were let through within one minute.

While Valkey is away neither can hold for both processes together, since each counts by itself. Then a minute may hold what
Valkey let through before, what each of the two let through alone, and what Valkey, empty again, let through after.
"""

import asyncio
import re
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from sqlalchemy import select
from valkey.asyncio import Valkey as Client

from api.windows import KEY_PREFIX, WINDOW_SECONDS
from models.statuses import IncidentKind, PartnerTier
from models.tables.operators import Incident
from models.tiers import TIERS
from sandbox.engine import API
from sandbox.services import Valkey
from tests.engine import PartnerAccount, until
from tests.faults.campaign import Grounds, Part, Report
from tests.faults.doors import Doors, two_doors
from tests.faults.processes import Running, Site, open_running

LIMIT = TIERS[PartnerTier.PREMIUM].requests_per_minute
FULL, SLICE = 10_000, 700
BURSTS = {FULL: 250, SLICE: 100}
"""The slice asks less at a time: it runs beside other parts, and what overloads the API is answered 503."""
LOOK_SECONDS = 5
BACK_SECONDS = 30
KILLED = ", Valkey killed"
COUNTS_IN_ONE_MINUTE = 4
"""Of the limit, where Valkey goes and comes back empty within a minute: before, at each process alone, and after."""
_SECOND = 1_000_000
_RATE = re.compile(rf'"minute";r=(\d+);t=(\d+) "minute";q={LIMIT};w={WINDOW_SECONDS}')


@dataclass(frozen=True, slots=True)
class Told:
    """What one request was told; when it was sent and answered, in microseconds of the client's clock."""

    status: int
    rate: str
    retry_after: str | None
    sent: int
    answered: int

    @property
    def passed(self) -> bool:
        return self.status == 200

    @property
    def is_right(self) -> bool:
        """A refusal leaves nothing and says when to come back; what passed leaves less than the limit."""
        found = _RATE.fullmatch(self.rate)
        if found is None or self.status not in (200, 429):
            return False
        left, seconds = int(found[1]), int(found[2])
        told = left < LIMIT if self.passed else (left == 0 and self.retry_after == str(seconds))
        return told and 1 <= seconds <= WINDOW_SECONDS


class RateLimit:
    name = "rate-limit"
    title = "10,000 requests through two API processes with one PREMIUM key, and with Valkey killed meanwhile"
    figure = f"at most {LIMIT} let through in any minute, headers right; no 5xx while Valkey is away"
    unit = "requests of one key"

    def parts(self, *, full: bool) -> list[Part]:
        number, gap = (FULL, 4) if full else (SLICE, 2)
        names = [f"{number} requests in bursts every {gap} s{how}" for how in ("", KILLED)]
        return [Part(self.name, name, seed) for seed, name in enumerate(names, 1)]

    async def run(self, part: Part, grounds: Grounds) -> Report:
        number, gap = map(int, re.findall(r"\d+", part.name))
        async with _engine(grounds) as (running, doors, valkey):
            partner = await running.engine.new_partner(requests_per_minute=None)
            seen = Seen(valkey, partner.issued.key_id)
            asking = _ask(doors, partner, number, gap)
            if part.name.endswith(KILLED):
                told, breaches = await _with_valkey_away(running, valkey, asking, number // BURSTS[number] * gap)
                most = COUNTS_IN_ONE_MINUTE * LIMIT
            else:
                async with seen.looking():
                    told = await asking
                breaches, most = seen.breaches(told), LIMIT
        passed = sum(one.passed for one in told)
        notes = [f"{passed} of {len(told)} let through", f"{_most_together(told)} of them surely within one minute"]
        return Report(len(told), Counter(), len(told), [*breaches, *_breaches(told, most)], notes)


def _breaches(told: list[Told], most: int) -> list[str]:
    wrong = [one for one in told if not one.is_right]
    together = _most_together(told)
    checks = {
        f"{len(wrong)} answers are not right, such as {wrong[:1]}": not wrong,
        f"{together} were let through within one minute of the client's clock": together <= most,
        "fewer were let through than the limit allows": sum(one.passed for one in told) >= min(LIMIT, len(told)),
    }
    return [breach for breach, holds in checks.items() if not holds]


def _most_together(told: list[Told]) -> int:
    """The most that were sent, and answered, within one minute."""
    passed = [one for one in told if one.passed]
    most = 0
    for first in passed:
        ends = sorted(one.answered for one in passed if one.sent >= first.sent)
        most = max(most, bisect_right(ends, first.sent + WINDOW_SECONDS * _SECOND - 1))
    return most


class Seen:
    """The entries of one key that Valkey ever had. One is there for a minute, at the same place among the others."""

    def __init__(self, valkey: Valkey, key_id: str) -> None:
        self._client = Client.from_url(valkey.url)
        self._key = f"{KEY_PREFIX}:key:{key_id}"
        self._entries: Counter[int] = Counter()

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        looking = asyncio.create_task(self._keep_looking())
        try:
            yield
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking
            await self._look()
            await self._client.aclose()

    def breaches(self, told: list[Told]) -> list[str]:
        times = sorted(self._entries.elements())
        passed = sum(one.passed for one in told)
        early = [
            late - first
            for first, late in zip(times, times[LIMIT:], strict=False)
            if late - first < WINDOW_SECONDS * _SECOND
        ]
        checks = {
            f"{passed} were let through, and Valkey counted {len(times)}": passed == len(times),
            f"{len(early)} were let through too early, one {min(early, default=0)} us after {LIMIT} before it": not early,
        }
        return [breach for breach, holds in checks.items() if not holds]

    async def _keep_looking(self) -> None:
        while True:
            await self._look()
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        entries = await self._client.lrange(self._key, 0, -1)
        self._entries |= Counter(int(entry) for entry in entries)


async def _ask(doors: Doors, partner: PartnerAccount, number: int, gap: int) -> list[Told]:
    """So many requests, in bursts that begin by the clock, through each door in turn."""
    bursts = []
    for begun in range(0, number, BURSTS[number]):
        bursts.append(asyncio.gather(*(_one(doors, partner, place) for place in range(begun, begun + BURSTS[number]))))
        await asyncio.sleep(gap)
    return [one for burst in await asyncio.gather(*bursts) for one in burst]


async def _one(doors: Doors, partner: PartnerAccount, place: int) -> Told:
    url = f"{doors.urls[place % len(doors.urls)]}/v1/grants"
    sent = time.monotonic_ns() // 1_000
    async with doors.session.get(url, headers=partner.headers) as answer:
        await answer.read()
        rate = f"{answer.headers.get('RateLimit')} {answer.headers.get('RateLimit-Policy')}"
        return Told(answer.status, rate, answer.headers.get("Retry-After"), sent, time.monotonic_ns() // 1_000)


async def _with_valkey_away(
    running: Running, valkey: Valkey, requests: Coroutine[None, None, list[Told]], seconds: int
) -> tuple[list[Told], list[str]]:
    """Killed after a third of the requests, back after two; operators are told, and told that it is over."""
    third = seconds / 3
    asking = asyncio.create_task(requests)
    await asyncio.sleep(third)
    await valkey.process.kill()
    await asyncio.sleep(third)
    breaches = [] if await _comes_true(running, is_open=True) else ["no incident tells that Valkey is away"]
    await valkey.process.start()
    told = await asking
    if not await _comes_true(running, is_open=False):
        breaches.append("the incident is not closed although Valkey is back")
    return told, breaches


async def _comes_true(running: Running, *, is_open: bool) -> bool:
    """Whether there was an incident, and it is open or not, before long."""

    async def so() -> bool:
        query = select(Incident.closed_at).where(Incident.kind == IncidentKind.RATE_LIMITS_LOCAL)
        async with running.engine.transaction() as session:
            found = [closed is None for closed in (await session.scalars(query)).all()]
        return bool(found) and any(found) is is_open

    try:
        await until(so, BACK_SECONDS)
    except TimeoutError:
        return False
    return True


@asynccontextmanager
async def _engine(grounds: Grounds) -> AsyncIterator[tuple[Running, Doors, Valkey]]:
    folder = grounds.folder("rate-limit")
    async with Valkey.start(folder / "valkey") as valkey:
        servers = await grounds.database(), await grounds.temporal(), await grounds.anvil()
        async with open_running(Site(folder, *servers, rate_limit_url=valkey.url)) as running:
            await running.processes.start(API)
            async with two_doors(running, folder) as doors:
                yield running, doors, valkey
