"""The audit as a command: each invariant of money.md section 8 with the figures compared, and each breach with its rows.

``python audit.py`` reads the ``ENGINE_*`` variables that the engine itself reads, needs no key, and writes nothing. Exit
status 0 means that every invariant holds, 1 that one is broken, 2 that nothing can be said and why.
"""

import asyncio
import sys
from collections.abc import Iterable

from activities.audit.checker import audit
from activities.audit.findings import AuditReport, Breach, Figure, Finding
from chain.client import ChainClient
from chain.errors import ChainError
from models.tables.session import open_database, transactions
from settings import Settings
from startup import SettingAtFault, check_database, describe_chain, read_settings

HOLDS, BROKEN, CANNOT_SAY = 0, 1, 2
WIDTH = 72
DIGITS = 22


def described(report: AuditReport) -> str:
    """The report for people to read; amounts are base units."""
    parts = [f"Audit at block {report.block}", *(_finding(finding) for finding in report.findings)]
    broken = len({breach.invariant for breach in report.breaches})
    parts.append(f"{broken} of {len(report.findings)} invariants broken" if broken else "Every invariant holds")
    return "\n\n".join(parts) + "\n"


def _finding(finding: Finding) -> str:
    mark = "✗" if finding.breaches else "✓"
    lines = [f"{mark} {finding.invariant}. {finding.title}", *_table(finding.figures)]
    lines += [f"    {note}" for note in finding.notes]
    for breach in finding.breaches:
        lines += _breach(breach)
    return "\n".join(lines)


def _table(figures: Iterable[Figure]) -> Iterable[str]:
    yield f"    {'':<{WIDTH}}{'expected':>{DIGITS}}{'found':>{DIGITS}}"
    for figure in figures:
        yield f"    {figure.what:<{WIDTH}}{figure.expected:>{DIGITS},}{figure.found:>{DIGITS},}"


def _breach(breach: Breach) -> Iterable[str]:
    yield f"  ✗ {breach.kind}: {breach.detail}"
    for row in breach.rows:
        yield f"      {row}"


async def run() -> AuditReport:
    """Raises SettingAtFault where the engine is not as it is configured, ChainError where the chain cannot be read."""
    settings = read_settings(Settings)
    database = open_database(settings.database_url.get_secret_value(), pool_size=2, application_name="audit")
    try:
        await check_database(database)
        async with ChainClient(settings.rpc_url.get_secret_value()) as client:
            return await audit(transactions(database), await describe_chain(settings, client))
    finally:
        await database.dispose()


def main() -> int:
    try:
        report = asyncio.run(run())
    except (SettingAtFault, ChainError) as fault:
        sys.stderr.write(f"nothing can be said: {fault}\n")
        return CANNOT_SAY
    sys.stdout.write(described(report))
    return BROKEN if report.breaches else HOLDS


if __name__ == "__main__":
    sys.exit(main())
