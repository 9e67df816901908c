"""What pytest says of a test in a copy: a failed assertion catches a bug; a test that could not run catches nothing."""

import asyncio
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.machines.effort import HASTY

TIME_LIMIT_SECONDS = 240


@dataclass(frozen=True, slots=True)
class Verdict:
    """``how`` is the assertion that failed; ``broken`` says why nothing can be said."""

    passed: bool
    how: str = ""
    broken: str | None = None


async def run_tests(copy: Path, *tests: str, stop_early: bool = True) -> Verdict:
    report = copy / "planted.xml"
    report.unlink(missing_ok=True)
    early = ["-x"] if stop_early else []
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *early, f"--timeout={TIME_LIMIT_SECONDS}",
        f"--hypothesis-profile={HASTY}", f"--junitxml={report}", *tests,
        cwd=copy, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)  # it stops the services that its fixtures have started
            await process.wait()
    if not report.exists():
        return Verdict(passed=False, broken=_last_line(output.decode()))
    return _read(report)


def _read(report: Path) -> Verdict:
    cases = list(ET.parse(report).getroot().iter("testcase"))  # noqa: S314 - pytest has just written it
    if not cases:
        return Verdict(passed=False, broken="no test was found")
    for case in cases:
        if (failure := case.find("failure")) is not None:
            return Verdict(passed=False, how=f"{case.get('name')}: {_said(failure)}")
    for case in cases:
        if (error := case.find("error")) is not None:
            return Verdict(passed=False, broken=f"{case.get('name')}: {_said(error)}")
    skipped = [case.get("name") for case in cases if case.find("skipped") is not None]
    return Verdict(passed=not skipped, broken=f"skipped: {skipped}" if skipped else None)


def _said(element: ET.Element) -> str:
    """The line of the failed assertion: pytest marks it, and explains it below."""
    lines = [line[1:].strip() for line in (element.text or "").splitlines() if line.startswith("E ")]
    return next((line for line in lines if line), _last_line(element.get("message") or ""))


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
