"""`python -m sandbox.demo`: start everything, tell the story, check it, and stay up until Ctrl-C (`--once`: end)."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from contracts.deploy import SandboxError as ContractsError
from sandbox.demo.checks import check, read_limits
from sandbox.demo.links import TRY_AMOUNT, borrow_command, links, write_env_file
from sandbox.demo.partner import PartnerClient
from sandbox.demo.receiver import receiving
from sandbox.demo.story import Story, Told, finish_interrupted
from sandbox.demo.tables import balances_table, checks_lines
from sandbox.demo.view import View, view
from sandbox.engine import ROOT
from sandbox.services import SandboxError, StackOptions
from sandbox.services.packages import ProgramMissingError
from sandbox.world import Sandbox, open_sandbox

STATE = ROOT / "var" / "sandbox"
ENV_FILE = "demo.env"
WRONG, INTERRUPTED = 1, 130


@dataclass
class Demo:
    """`right` is whether the story was told to its end and every check held. `otlp` is where its spans go, if anywhere."""

    folder: Path
    once: bool
    view: View
    otlp: str | None = None
    right: bool = False

    async def run(self) -> None:
        async with AsyncExitStack() as opened:
            with self.view.section("Start"):
                opening = open_sandbox(self.folder, StackOptions(), self.view.doing, settings(self.otlp))
                sandbox = await opened.enter_async_context(opening)
                await finish_interrupted(sandbox, self.view)
            try:
                await self._show(sandbox)
            finally:
                with self.view.section("Stop"), self.view.doing("API, worker and the four parts"):
                    await opened.aclose()

    async def _show(self, sandbox: Sandbox) -> None:
        async with (
            PartnerClient.connect(sandbox.engine.api_url, sandbox.manifest.partner_key) as partner,
            receiving(partner) as receiver,
        ):
            line = await sandbox.free_line(0)
            before = await read_limits(sandbox)
            told = await Story(sandbox, partner, self.view, line, sandbox.chain.accounts.users[0], receiver).tell()
            self.view.write("\nBalances in USDC")
            self.view.show(balances_table(told))
            checks = await check(sandbox, told, before)
            self.view.write(checks_lines(checks))
            self.right = all(each.right for each in checks)
            await self._offer(sandbox, partner, told)
            if not self.once:
                self.view.write(
                    "\nAll of it stays up until you press Ctrl-C. Webhooks that come to the partner are shown here."
                )
                receiver.show = lambda heard: self.view.write(
                    f"  ⇐ {heard.type}  {heard.id}  {heard.operation_id or ''}"
                )
                await asyncio.Event().wait()

    async def _offer(self, sandbox: Sandbox, partner: PartnerClient, told: Told) -> None:
        """Links, and a borrow to try on the line of the second user, who has to consent to it first."""
        line = await sandbox.free_line(1)
        await partner.grant(line, sandbox.chain.accounts.users[1], TRY_AMOUNT)
        env_file = self.folder / ENV_FILE
        write_env_file(env_file, sandbox)
        until = "gone when this ends: leave ONCE=1 out to keep it up" if self.once else "while this is up"
        self.view.write(f"\nLook around ({until})")
        for name, where in {**links(sandbox, told), "URLs, addresses, keys": str(env_file)}.items():
            self.view.write(f"  {name:<26}{where}")
        self.view.write("\nTry a borrow of your own; pasted again, it answers the same and moves nothing")
        self.view.write(borrow_command(sandbox, line, told.partner_loan_id.replace("demo-", "try-")))


def settings(otlp: str | None) -> dict[str, str]:
    """Those of the engine that the command line gives, by their names without ENGINE_. A demo traces every request."""
    return {} if otlp is None else {"OTLP_ENDPOINT": otlp, "TRACE_PERCENT": "100"}


async def run(demo: Demo) -> int:
    """The exit status. A signal ends the demo in good order, also while it starts; one that follows changes nothing."""
    task = asyncio.ensure_future(demo.run())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, _cancel_once, task)
    try:
        await task
    except asyncio.CancelledError:
        return 0 if demo.right else INTERRUPTED
    except (SandboxError, ContractsError, ProgramMissingError) as failure:
        demo.view.write(f"\n{failure}")
        demo.view.write(f"The logs are in {demo.folder}.")
        return WRONG
    return 0 if demo.right else WRONG


def _cancel_once(task: asyncio.Future[None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, lambda: None)
    task.cancel()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m sandbox.demo", description="A borrow and a repayment, live.")
    parser.add_argument(
        "--once", action="store_true", help="end when the story is told; exit status 0 if all was right"
    )
    parser.add_argument("--folder", type=Path, default=STATE, help="where the state is kept (default: var/sandbox)")
    parser.add_argument(
        "--otlp", metavar="URL", help="send spans there by OTLP over gRPC, such as http://127.0.0.1:4317"
    )
    asked = parser.parse_args(arguments)
    return asyncio.run(run(Demo(asked.folder, asked.once, view(), asked.otlp)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
