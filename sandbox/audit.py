"""`python -m sandbox.audit`: audit the state that the demo keeps, while it is up or from what it left behind.

Where nothing is up, PostgreSQL and Anvil are started for as long as the audit takes, without the engine: nothing changes.
"""

import argparse
import asyncio
import shlex
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from sandbox.demo.__main__ import ENV_FILE, STATE
from sandbox.engine import ROOT
from sandbox.services import Anvil, AnvilOptions, Postgres, SandboxError
from sandbox.services.process import FolderInUseError, locked_folder
from sandbox.services.stack import A_KILLED_PROCESS_ENDS
from sandbox.world import DATABASE
from settings import ENV_PREFIX, surroundings

NEEDED = (
    *("DATABASE_URL", "RPC_URL", "CHAIN_ID", "USDC_ADDRESS", "OAID_ADDRESS", "POOL_ADDRESS", "VAULT_ADDRESS"),
    "PLATFORM_WALLET",
)
CANNOT_SAY = 2


async def audit(folder: Path) -> int:
    """The exit status of `audit.py`, which is told by variables as in production."""
    try:
        told = _read(folder / ENV_FILE)
    except FileNotFoundError:
        sys.stderr.write("There is nothing to audit yet: `make demo ONCE=1` makes it.\n")
        return CANNOT_SAY
    async with _services(folder) as where:
        variables = {f"{ENV_PREFIX}{name}": {**told, **where}[name] for name in NEEDED}
        environment = {**surroundings(), **variables, f"{ENV_PREFIX}CONFIRMATIONS": "1"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(ROOT / "audit.py"), cwd=ROOT, env=environment
        )
        return await process.wait()


@asynccontextmanager
async def _services(folder: Path) -> AsyncIterator[Mapping[str, str]]:
    """Where the database and the node are, if not where the demo wrote: it is up then, and has them."""
    async with AsyncExitStack() as opened:
        try:
            await opened.enter_async_context(locked_folder(folder, A_KILLED_PROCESS_ENDS))
        except FolderInUseError:
            yield {}
            return
        postgres = await opened.enter_async_context(Postgres.start(folder / "postgres"))
        anvil = await opened.enter_async_context(Anvil.start(folder / "anvil", AnvilOptions(persistent=True)))
        yield {"DATABASE_URL": postgres.database_url(DATABASE), "RPC_URL": anvil.url}


def _read(env_file: Path) -> Mapping[str, str]:
    """The variables of a file that the demo wrote for shells."""
    words = shlex.split(env_file.read_text(), comments=True)
    return dict(word.split("=", 1) for word in words)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.audit", description="Audits the state that the demo keeps."
    )
    parser.add_argument("--folder", type=Path, default=STATE, help="where the state is kept (default: var/sandbox)")
    try:
        return asyncio.run(audit(parser.parse_args(arguments).folder))
    except SandboxError as failure:
        sys.stderr.write(f"{failure}\n")
        return CANNOT_SAY


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
