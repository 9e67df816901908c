"""``python audit.py`` as an operator runs it: a process that is told by variables, and says by its exit status what it found."""

import asyncio
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

from settings import surroundings
from tests.audit.conftest import AtRest, Tampered

ROOT = Path(__file__).resolve().parents[2]


async def run_audit(at_rest: AtRest, url: str) -> tuple[int | None, str]:
    configured = at_rest.settings
    variables = {
        "ENGINE_DATABASE_URL": url,
        "ENGINE_RPC_URL": configured.rpc_url.get_secret_value(),
        "ENGINE_CHAIN_ID": str(configured.chain_id),
        "ENGINE_USDC_ADDRESS": configured.usdc_address,
        "ENGINE_OAID_ADDRESS": configured.oaid_address,
        "ENGINE_VAULT_ADDRESS": configured.vault_address,
        "ENGINE_POOL_ADDRESS": configured.pool_address,
        "ENGINE_PLATFORM_WALLET": configured.platform_wallet,
        "ENGINE_CONFIRMATIONS": "1",
    }
    command = [sys.executable, "audit.py"]
    environment = {**surroundings(), **variables}
    audit = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment, stdout=PIPE, stderr=STDOUT)
    printed, _ = await audit.communicate()
    return audit.returncode, printed.decode()


async def test_a_sound_engine_exits_with_zero(at_rest: AtRest, copy_url: str) -> None:
    """Each invariant is printed with its figures."""
    status, printed = await run_audit(at_rest, copy_url)
    assert status == 0, printed
    assert [line[2:4] for line in printed.splitlines() if line.startswith("✓ ")] == [f"{n}." for n in range(1, 8)]
    assert "USDC of the wallet: by the ledger, on chain" in printed


async def test_a_breach_exits_with_one_and_its_row(at_rest: AtRest, copy_url: str, tampered: Tampered) -> None:
    """The breach and the row at fault are printed below their invariant."""
    await tampered.execute("UPDATE solvency_positions SET outside_debt = 7 WHERE position_id IN (TABLE a_position)")
    status, printed = await run_audit(at_rest, copy_url)
    assert status == 1, printed
    assert "✗ 4. " in printed
    assert "solvency_positions " in printed
    assert "1 of 7 invariants broken" in printed


async def test_a_setting_at_fault_exits_with_two(at_rest: AtRest) -> None:
    """A database that is not the engine's is named by its setting, and nothing is said of invariants."""
    status, printed = await run_audit(at_rest, "postgresql+psycopg://nobody@127.0.0.1:9/none")
    assert status == 2, printed
    assert "ENGINE_DATABASE_URL" in printed
