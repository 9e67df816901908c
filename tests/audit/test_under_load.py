"""The audit is right while the engine is at work: whatever moment it hits, what is under way is no breach."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from activities.audit.checker import audit
from activities.audit.findings import AuditReport, Finding
from sandbox.services import Anvil, Temporal
from tests.chain.world import USD
from tests.engine import Borrower, Engine, engine_builder, until

BORROWERS = 12
AMOUNT = 1_000 * USD


@pytest.fixture
async def deep_engine(
    anvil_interval: Anvil, temporal_server: Temporal, database_url: str, tmp_path: Path
) -> AsyncIterator[Engine]:
    """An engine that waits for three blocks, on a chain with ten a second: much is mined, final and not recorded yet."""
    build = engine_builder(anvil_interval, temporal_server, database_url, tmp_path)
    async with build(confirmations=3) as built, built.lane(), built.loans():
        await built.fund_float()
        await until(built.float_is_booked)
        yield built


async def borrow_and_repay(engine: Engine, borrower: Borrower) -> None:
    await finished(engine, await engine.borrow(borrower, AMOUNT))
    await finished(engine, await engine.repay(borrower, {"amount": str(AMOUNT // 4)}))
    await finished(engine, await engine.repay(borrower, {"payoff": True}))


async def finished(engine: Engine, answer: httpx.Response) -> None:
    """However long it takes on a busy machine: the test's own timeout is the limit."""
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    while (await engine.operation(answer.json()["operation_id"]))["state"] != "DONE":
        pass


async def audit_until(engine: Engine, done: asyncio.Event) -> list[AuditReport]:
    """Of everything and of what came since the last one, by turns."""
    reports: list[AuditReport] = []
    while not done.is_set():
        since = reports[-1].block if len(reports) % 2 else None
        reports.append(await audit(engine.transaction, engine.chain, since=since))
    return reports


def corrected(finding: Finding) -> bool:
    """Whether the ledger's cash had to be brought to the audit's block."""
    return "+0 by legs" not in finding.notes[0] or "+0 from after" not in finding.notes[0]


@pytest.mark.timeout(300)
async def test_audits_during_load_report_no_breach(deep_engine: Engine) -> None:
    """Borrows and repayments run at once while audits follow one another, and many of them meet work half done."""
    engine, done = deep_engine, asyncio.Event()
    borrowers = [await engine.new_borrower() for _ in range(BORROWERS)]
    audits = asyncio.create_task(audit_until(engine, done))
    try:
        await asyncio.gather(*(borrow_and_repay(engine, borrower) for borrower in borrowers))
    finally:
        done.set()
        reports = await audits
    assert [str(breach) for report in reports for breach in report.breaches] == []
    assert sum(corrected(report.findings[2]) for report in reports) >= 5
    await engine.assert_sound()
