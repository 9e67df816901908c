"""The runner of campaigns: what it writes down, what it runs again, and that nothing it meets is passed over."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest

from tests.faults.campaign import Grounds, Part, Report
from tests.faults.claims import Claims
from tests.faults.results import Record, money_code_hash
from tests.faults.runner import Plan, run_plan
from tests.faults.summary import tried

CODE = "the code"


@dataclass
class Scripted:
    """Two parts, of which the named ones break a promise or break down."""

    breaks: str = ""
    raises: str = ""
    ran: list[str] = field(default_factory=list)
    name: str = "scripted"
    title: str = "Scripted"
    figure: str = "two"
    unit: str = "things"

    def parts(self, *, full: bool) -> list[Part]:  # noqa: ARG002 - both are all there is
        return [Part(self.name, part, 1) for part in ("one", "two")]

    async def run(self, part: Part, grounds: Grounds) -> Report:  # noqa: ARG002 - it needs none
        self.ran.append(part.name)
        if part.name == self.raises:
            raise RuntimeError("no way on")
        return Report(3, Counter(kill=3), 5, ["lost"] if part.name == self.breaks else [])


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(tmp_path / "var/results.jsonl")


async def run(campaign: Scripted, record: Record, code: str = CODE) -> int:
    plan = Plan.of([campaign], full=True, part=None, code=code)
    folder = record.path.parent / f"claims-{uuid4().hex}"
    folder.mkdir(parents=True)
    return await run_plan(plan.without(record.read()), record, Claims(folder))


async def test_clean_parts_do_not_run_again(record: Record) -> None:
    """What ended clean is not run again at the same code, and is at another."""
    campaign = Scripted()
    assert await run(campaign, record) == 0
    assert await run(campaign, record) == 0
    assert campaign.ran == ["one", "two"]
    assert await run(campaign, record, "other code") == 0
    assert campaign.ran == ["one", "two"] * 2


async def test_a_breach_fails_the_run_and_runs_again(record: Record) -> None:
    """A part with a breach makes the exit status 1, does not keep the next from running, and is not taken for done."""
    campaign = Scripted(breaks="one")
    assert await run(campaign, record) == 1
    assert await run(campaign, record) == 1
    assert campaign.ran == ["one", "two", "one"]


async def test_the_last_words_name_what_was_broken(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever sees the end of a long log only sees which part it was, and how."""
    await run(Scripted(breaks="one"), record)
    *_, count, told = capsys.readouterr().out.splitlines()
    assert (count, told.strip()) == ("1 parts with breaches", "scripted / one: lost")


async def test_runners_beside_each_other_run_each_part_once(record: Record, tmp_path: Path) -> None:
    """What one of them has claimed is left to it, whether it has ended or not."""
    first, second, claims = Scripted(), Scripted(), Claims(tmp_path)
    plans = [Plan.of([campaign], full=True, part=None, code=CODE) for campaign in (first, second)]
    assert await asyncio.gather(*(run_plan(plan, record, claims) for plan in plans)) == [0, 0]
    assert sorted(first.ran + second.ran) == ["one", "two"]
    assert len(record.read()) == 2


async def test_what_is_raised_is_a_breach(record: Record) -> None:
    """A part that breaks down is written down as a breach with its traceback."""
    assert await run(Scripted(raises="two"), record) == 1
    last = record.read()[-1]
    assert (last.part.name, last.clean) == ("two", False)
    assert "RuntimeError: no way on" in last.report.breaches[0]


async def test_a_result_is_read_as_it_was_written(record: Record) -> None:
    """A line of the record tells all that the part reported."""
    await run(Scripted(breaks="one"), record)
    first = record.read()[0]
    assert (first.part, first.code) == (Part("scripted", "one", 1), CODE)
    assert first.report == Report(3, Counter(kill=3), 5, ["lost"])


async def test_the_report_passes_only_what_ran_in_full(record: Record) -> None:
    """Not run, run at other code, run in part, run with a breach: none of them is shown as passed."""
    campaign = Scripted()
    assert "not run" in tried(campaign, record.read(), CODE).verdict
    await run(campaign, record, "other code")
    assert "not run" in tried(campaign, record.read(), CODE).verdict
    await run(Scripted(breaks="two"), record)
    assert "1 breaches" in tried(campaign, record.read(), CODE).verdict
    assert "incomplete" in tried(campaign, [result for result in record.read() if result.clean], CODE).verdict
    await run(campaign, record)
    again = tried(campaign, record.read(), CODE)
    assert (again.verdict, again.earlier_breaches) == (
        "0 breaches",
        1,
    )


def test_the_hash_knows_each_file_of_the_money_code(tmp_path: Path) -> None:
    """A changed, a moved and a new file each change the hash; what moves no money does not."""
    (tmp_path / "chain").mkdir()
    (tmp_path / "chain/lane.py").write_text("one")
    hashes = [money_code_hash(tmp_path)]
    (tmp_path / "chain/lane.py").write_text("two")
    hashes.append(money_code_hash(tmp_path))
    (tmp_path / "chain/lane.py").rename(tmp_path / "chain/line.py")
    hashes.append(money_code_hash(tmp_path))
    (tmp_path / "worker.py").write_text("")
    hashes.append(money_code_hash(tmp_path))
    assert len(set(hashes)) == len(hashes)
    (tmp_path / "README.md").write_text("")
    assert money_code_hash(tmp_path) == hashes[-1]
