"""Running parts one after the other, writing each down, and saying how far it is and how long it may still take."""

import asyncio
import time
import traceback
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta

from tests.faults.campaign import Campaign, Part, Report
from tests.faults.claims import Claims
from tests.faults.grounds import Grounds
from tests.faults.results import ROOT, Record, Result

PART_LIMIT = timedelta(minutes=20)
RENEWED_AFTER = timedelta(minutes=5)
"""Servers keep all they have seen in memory, Anvil above all: gigabytes in a quarter of an hour."""
UNKNOWN_SECONDS = 30
"""What a part is taken to last while none of its campaign has ever run."""


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - for the person who started it


@dataclass(frozen=True)
class Step:
    campaign: Campaign
    part: Part


@dataclass(frozen=True)
class Plan:
    steps: Sequence[Step]
    code: str

    @classmethod
    def of(cls, campaigns: Iterable[Campaign], *, full: bool, part: str | None, code: str) -> "Plan":
        steps = [Step(campaign, each) for campaign in campaigns for each in campaign.parts(full=full)]
        return cls([step for step in steps if part in (None, step.part.name)], code)

    @property
    def campaigns(self) -> list[Campaign]:
        return list({step.campaign.name: step.campaign for step in self.steps}.values())

    def without(self, results: Iterable[Result]) -> "Plan":
        """What is left where these results count; what broke a promise the last time runs again."""
        last = {result.part: result.clean for result in results if result.code == self.code}
        return replace(self, steps=[step for step in self.steps if not last.get(step.part, False)])


async def run_plan(plan: Plan, record: Record, claims: Claims, *, already: int = 0) -> int:
    """Runs what no other runner has claimed. Exit status 1 where a part of this one had a breach."""
    say(f"{len(plan.steps)} parts to run, {already} clean at this code already (money code {plan.code})")
    shared = _Shared()
    breached: list[Result] = []
    try:
        for step in plan.steps:
            if not claims.take(step.part):
                continue
            result = await _run(step, shared, plan.code)
            record.append(result)
            if not result.clean:
                breached.append(result)
            _say_result(result, [each for each in plan.steps if not claims.taken(each.part)], record)
    finally:
        await shared.close()
    _say_end(breached)
    return 1 if breached else 0


class _Shared:
    """The servers of this process, new ones now and then, and after a part that broke a promise, which leaves them in doubt."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._grounds: Grounds | None = None
        self._opened = 0.0

    async def grounds(self) -> Grounds:
        if time.monotonic() - self._opened > RENEWED_AFTER.total_seconds():
            await self.close()
        if self._grounds is None:
            self._grounds = await self._stack.enter_async_context(Grounds.open())
            self._opened = time.monotonic()
        return self._grounds

    async def close(self) -> None:
        self._grounds = None
        await self._stack.aclose()


async def _run(step: Step, shared: _Shared, code: str) -> Result:
    began = time.monotonic()
    try:
        async with asyncio.timeout(PART_LIMIT.total_seconds()):
            report = await step.campaign.run(step.part, await shared.grounds())
    except Exception:  # noqa: BLE001 - whatever it was, it is written down as a breach
        report = Report(breaches=[_told()])
    if report.breaches:
        await _close_in_doubt(shared, report)
    return Result.of(step.part, report, int(time.monotonic() - began), code)


async def _close_in_doubt(shared: _Shared, report: Report) -> None:
    try:
        await shared.close()
    except Exception:  # noqa: BLE001 - what cannot even be stopped is told with the rest
        report.breaches.append(_told())


def _told() -> str:
    """What was raised, with paths as the repository has them: the record is kept."""
    return traceback.format_exc().replace(f"{ROOT}/", "")


def _say_result(result: Result, left: Sequence[Step], record: Record) -> None:
    part, report = result.part, result.report
    say(
        f"{part.campaign} / {part.name}: {report.injections} injections, {report.operations} operations, "
        f"{len(report.breaches)} breaches, {result.seconds} s; {len(left)} parts left, {_estimate(left, record)} of work"
    )
    for line in (*report.notes, *report.breaches):
        say(f"    {line}")


def _say_end(breached: Sequence[Result]) -> None:
    """Once more what was broken: many parts may have ended well since."""
    say(f"{len(breached)} parts with breaches" if breached else "no breach")
    for result in breached:
        for line in result.report.breaches:
            say(f"    {result.part.campaign} / {result.part.name}: {line}")


def _estimate(left: Sequence[Step], record: Record) -> timedelta:
    """By what parts of the same campaigns took, here and earlier."""
    took: dict[str, list[int]] = {}
    for result in record.read():
        took.setdefault(result.part.campaign, []).append(result.seconds)
    seconds = (took.get(step.part.campaign, [UNKNOWN_SECONDS]) for step in left)
    return timedelta(seconds=sum(sum(each) // len(each) for each in seconds))
