"""docs/fault-report.md, written from the record of what ran: what is missing or stale is shown as not run, never as passed."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.faults.campaign import Campaign
from tests.faults.campaigns import CAMPAIGNS
from tests.faults.results import KEPT, ROOT, Record, Result, commit_now, money_code_hash

FAULT_REPORT = ROOT / "docs/fault-report.md"
PLANTED = KEPT / "planted.jsonl"
"""A line for each planted bug: code, name, file, test, caught, how."""


@dataclass(frozen=True)
class Tried:
    """One campaign at its full figure, as far as it ran at this code."""

    campaign: Campaign
    planned: int
    results: Sequence[Result]
    earlier_breaches: int

    @property
    def verdict(self) -> str:
        if not self.results:
            return "**not run at this code**"
        breaches = sum(len(result.report.breaches) for result in self.results)
        if breaches > 0:
            return f"**{breaches} breaches**"
        if len(self.results) < self.planned:
            return f"**incomplete at this code: {len(self.results)} of {self.planned} parts**"
        return "0 breaches"

    @property
    def faults(self) -> Counter[str]:
        return sum((result.report.faults for result in self.results), Counter())


def tried(campaign: Campaign, results: Sequence[Result], code: str) -> Tried:
    """The last result of each part of the full figure; a breach that a later run did not show is counted beside."""
    planned = campaign.parts(full=True)
    here = [result for result in results if result.code == code and result.part in planned]
    last = {result.part: result for result in here}
    earlier = sum(not result.clean for result in here) - sum(not result.clean for result in last.values())
    return Tried(campaign, len(planned), list(last.values()), earlier)


def write_report(path: Path = FAULT_REPORT) -> Path:
    code, results = money_code_hash(), Record.of(full=True).read()
    all_tried = [tried(campaign, results, code) for campaign in CAMPAIGNS]
    path.write_text("\n".join(_report(code, all_tried, _planted(code))) + "\n")
    return path


def _planted(code: str) -> list[dict[str, Any]]:
    lines = PLANTED.read_text().splitlines() if PLANTED.exists() else []
    last = {bug["name"]: bug for bug in map(json.loads, lines) if bug.get("code") == code}
    return list(last.values())


def _report(code: str, all_tried: Sequence[Tried], planted: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield from (
        "# Fault report",
        "",
        "Written by `python -m tests.faults --report` from the record of what ran. A result counts only for the money code",
        "that it ran at (models, chain, activities, workflows, api, worker, settings, migrations, contracts), told by a hash",
        "of its content. Figures count injections: faults that hit an operation or a leg under way, not starts of the engine.",
        "",
        f"Written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC at commit `{commit_now()}`, money code `{code}`.",
        "",
        "All at once: `make faults-full`, which resumes. The seeded slice that runs before each change lands: `make faults`.",
    )
    for one in all_tried:
        yield from _campaign(one)
    yield from _planted_bugs(planted)


def _campaign(one: Tried) -> Iterator[str]:
    campaign, results = one.campaign, one.results
    yield from (
        "",
        f"## {campaign.title}",
        "",
        "| | |",
        "|---|---|",
        f"| demanded | {campaign.figure} |",
        f"| outcome | {one.verdict} |",
    )
    if results:
        yield from (
            f"| counted | {sum(result.report.injections for result in results)} {campaign.unit} |",
            f"| faults by kind | {_by_kind(one.faults)} |",
            f"| operations | {sum(result.report.operations for result in results)} |",
            f"| parts | {len(results)} of {one.planned}, {sum(result.seconds for result in results)} s |",
            f"| ran | {', '.join(sorted({result.date[:10] for result in results}))}, {_commits(results)} |",
        )
    if one.earlier_breaches > 0:
        yield f"| run again after a breach | {one.earlier_breaches} runs at this same code had breaches |"
    yield f"| command | `python -m tests.faults --full --only {campaign.name}` |"
    yield from _remarks(results)


def _by_kind(faults: Counter[str]) -> str:
    return ", ".join(f"{number} {kind}" for kind, number in sorted(faults.items())) or "none"


def _commits(results: Sequence[Result]) -> str:
    commits = sorted({result.commit for result in results})
    return f"commit {', '.join(f'`{commit}`' for commit in commits)}"


def _remarks(results: Sequence[Result]) -> Iterator[str]:
    breaches = [f"- {result.part.name}: {breach}" for result in results for breach in result.report.breaches]
    if breaches:
        yield from ("", "Breaches:", "", *(breach.replace("\n", "\n  ") for breach in breaches))


def _planted_bugs(planted: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield from ("", "## Planted bugs", "")
    if not planted:
        yield "**Not run at this code.**"
        return
    yield from (
        "Each is applied alone, as a patch to a copy of the tree, and the named test is run on it.",
        "",
        "| bug | in | test | caught | how it showed |",
        "|---|---|---|---|---|",
    )
    for bug in planted:
        caught = "yes" if bug["caught"] else "**no**"
        yield f"| {bug['name']} | `{bug['file']}` | `{bug['test']}` | {caught} | {bug['how']} |"
