"""The partner guide's own snippets, in order, against a sandbox: so what it says is what happens."""

import asyncio
import re
import sys
import time
from asyncio.subprocess import PIPE, STDOUT

import pytest

from models.statuses import LoanStatus, OperationState, RepaymentState, Scope, TransactionState
from models.tiers import TIERS
from sandbox.demo.links import variables
from sandbox.engine import ROOT
from sandbox.world import Sandbox
from settings import surroundings

GUIDE = (ROOT / "docs" / "partners.md").read_text()
BLOCK = re.compile(r"^```(\w+) run\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = ("bash", "-euo", "pipefail", "-c")
PYTHON = (sys.executable, "-W", "error", "-c")


def snippets(language: str) -> str:
    return "\n".join(code for marked, code in BLOCK.findall(GUIDE) if marked == language)


async def _run(sandbox: Sandbox, *command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env={**surroundings(), **variables(sandbox)}, stdout=PIPE, stderr=STDOUT
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    return printed.decode()


@pytest.mark.timeout(180)
async def test_the_guides_shell_borrows_and_repays_in_all_three_ways(sandbox: Sandbox) -> None:
    said = await _run(sandbox, *SHELL, snippets("sh").replace(".venv/bin/python", sys.executable))
    assert said.count('"status":"APPLIED"') >= 3, said
    assert '"status":"REPAID"' in said, said
    assert '"code":"api_key_malformed"' in said, said


@pytest.mark.timeout(180)
async def test_the_guides_python_is_refused_borrows_repays_and_is_told(sandbox: Sandbox) -> None:
    said = await _run(sandbox, *PYTHON, snippets("python"))
    assert "grant_required: No live grant" in said
    assert "['borrow', 'settle']" in said
    told = ["loan.rejected", "loan.borrowed", "repayment.applied", "repayment.applied", "loan.repaid"]
    assert str(told) in said, said
    assert said.count('"POST /loans HTTP/1.1" 204') == len(["ping", "loan.borrowed"]), said
    assert "Warning" not in said, said


@pytest.mark.parametrize("states", [OperationState, LoanStatus, RepaymentState, TransactionState, Scope])
def test_the_guide_names_every_state(states: type[LoanStatus]) -> None:
    assert [state for state in states if f"`{state}`" not in GUIDE] == []


def test_the_guide_names_every_tiers_terms() -> None:
    for tier, terms in TIERS.items():
        daily, total = terms.daily_borrow_limit // 10**6, terms.total_borrow_limit // 10**6
        fee = f"0.{terms.fee_bps:02} %"
        assert f"| {tier} | {daily:,} USDC | {total:,} USDC | {fee} | {terms.requests_per_minute:,} |" in GUIDE


def test_the_guides_links_lead_somewhere() -> None:
    headings = {_anchor(line) for line in GUIDE.splitlines() if line.startswith("#")}
    for target in re.findall(r"\]\(([^)]+)\)", GUIDE):
        path, _, anchor = target.partition("#")
        assert (ROOT / "docs" / path).exists(), target
        assert path or anchor in headings, target


def _anchor(heading: str) -> str:
    """As GitHub makes them."""
    return re.sub(r"[^\w -]", "", heading.lstrip("# ").lower()).replace(" ", "-")


def test_the_guides_signature_is_the_engines() -> None:
    """Where this deployment's engine knows signatures, the guide's function makes the very same."""
    signing = pytest.importorskip("api.signing")
    told: dict[str, object] = {}
    exec(re.findall(r"^```python sign\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)[0], told)  # noqa: S102
    made = told["signed_headers"]
    assert callable(made)
    asked = {"method": "POST", "target": "/v1/loans?a=%20b", "body": b'{"payoff": true}'}
    for named in ({}, {"idempotency_key": "payoff-1"}):
        before = int(time.time())
        headers = made("ss_secret", asked["method"], asked["target"], asked["body"], **named)
        moment = int(headers["X-Timestamp"])
        assert before <= moment <= time.time()
        assert headers == signing.sign("ss_secret", **asked, **named, timestamp=moment)
