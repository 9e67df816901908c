"""Takes the pictures of docs/images/ from a running sandbox: ``python -m sandbox.screenshots``.

It needs Chromium (Debian's package ``chromium``) on the path and skips, with exit status 0 and a word why, where there is
none. It makes one loan that has ended, one that waits for a person and one that waits for its block, on a sandbox of its own.
"""

import argparse
import asyncio
import base64
import json
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from sqlalchemy import select

from chain.codec import Function
from contracts.deploy import Sender, Transaction
from models.statuses import TransactionState
from models.tables.operations import Operation
from models.tables.session import transactions
from models.tables.transactions import ChainTransaction
from sandbox.accounts import address_of, key_of
from sandbox.demo.partner import PartnerClient
from sandbox.engine import ROOT
from sandbox.seed import USDC
from sandbox.services import AnvilOptions, PostgresOptions, StackOptions, TemporalOptions
from sandbox.world import Sandbox, open_sandbox

IMAGES = ROOT / "docs" / "images"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--remote-debugging-port=0", "about:blank"),
)
WIDTH, HEIGHT = 1700, 1000
AMOUNT = 1_000 * USDC
QUICK = {"SETTLE_RETRY": "PT1S", "SETTLE_BLOCKED": "PT2S"}
PATIENCE, POLL, SETTLES = 60, 0.2, 3
"""Seconds."""
STORY_HEIGHT = 640
TO_THE_STORY = "[...document.querySelectorAll('a')].find(each => each.innerText.startsWith('User Metadata')).click()"
COLUMNS = ("Status", "Workflow ID", "PartnerId", "OaidTokenId", "Step", "AttentionReason", "Start")


@dataclass
class Browser:
    socket: aiohttp.ClientWebSocketResponse
    session: str
    numbers: "count[int]"

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters, "sessionId": self.session}
        await self.socket.send_json({name: value for name, value in message.items() if value})
        while True:
            answer: dict[str, Any] = json.loads((await self.socket.receive()).data)
            if answer.get("id") == number:
                return dict(answer.get("result", {}))

    async def evaluate(self, script: str) -> Any:
        answer = await self.call("Runtime.evaluate", expression=script, returnByValue=True)
        return answer.get("result", {}).get("value")

    async def picture(self, url: str, shows: str, name: str, *, height: int = HEIGHT) -> None:
        """Waits until the page shows these words, and a moment longer for what is drawn after them."""
        await self.call("Page.navigate", url=url)
        await self.shoot(shows, name, height)

    async def shoot(self, shows: str, name: str, height: int) -> None:
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=WIDTH, height=height, deviceScaleFactor=1, mobile=False
        )
        async with asyncio.timeout(PATIENCE):
            while shows not in (await self.evaluate("document.body ? document.body.innerText : ''") or ""):  # noqa: ASYNC110 - another program draws it
                await asyncio.sleep(POLL)
        await asyncio.sleep(SETTLES)
        shot = await self.call("Page.captureScreenshot", format="png")
        (IMAGES / name).write_bytes(base64.b64decode(shot["data"]))
        sys.stdout.write(f"{IMAGES / name}: {(IMAGES / name).stat().st_size // 1024} kB\n")


@asynccontextmanager
async def browsing(program: str) -> AsyncIterator[Browser]:
    folder = Path(tempfile.mkdtemp(prefix="screenshots-"))
    process = await asyncio.create_subprocess_exec(
        program,
        f"--user-data-dir={folder}",
        *FLAGS,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        port_file = folder / "DevToolsActivePort"
        async with asyncio.timeout(PATIENCE):
            while not port_file.exists() or len(port_file.read_text().split()) < 2:  # noqa: PLR2004, ASYNC110
                await asyncio.sleep(POLL)
        port, path = port_file.read_text().split()
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(f"ws://127.0.0.1:{port}{path}", max_msg_size=0) as socket,
        ):
            browser = Browser(socket, "", count(1))
            target = await browser.call("Target.createTarget", url="about:blank")
            attached = await browser.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
            browser.session = attached["sessionId"]
            yield browser
    finally:
        process.terminate()
        await process.wait()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Scene:
    sandbox: Sandbox
    partner: PartnerClient

    async def borrow(self, name: str) -> str:
        line = await self.sandbox.chain.open_line(0)
        await self.partner.grant(line, self.sandbox.chain.accounts.users[0], AMOUNT)
        return (await self.partner.borrow(line, AMOUNT, name)).operation_id

    async def owner(self, contract: Any, signature: str, *arguments: object) -> None:
        chain = self.sandbox.chain
        owner = Sender(chain.client, key_of(chain.accounts.owner))
        await owner.send(Transaction(contract, Function(signature).encode(*arguments)))

    async def until(self, query: Any) -> None:
        async with asyncio.timeout(PATIENCE):
            while True:
                async with transactions(self.sandbox.database)() as session:
                    if await session.scalar(query) is not None:
                        return
                await asyncio.sleep(POLL)

    async def finished(self) -> str:
        operation = await self.borrow("loan-2026-0041")
        await self.until(select(Operation.id).where(Operation.id == operation, Operation.state == "DONE"))
        return operation

    async def under_review(self) -> str:
        """Neither can the partner be paid nor the vault be repaid."""
        chain = self.sandbox.chain
        await self.owner(chain.contracts.usdc, "blacklist(address)", address_of(chain.accounts.settlement))
        await self.owner(chain.contracts.pool, "setRepaymentsPaused(bool)", True)
        operation = await self.borrow("loan-2026-0042")
        await self.until(select(Operation.id).where(Operation.id == operation, Operation.review_reason.is_not(None)))
        return operation

    async def waiting(self) -> str:
        line = await self.sandbox.chain.open_line(0)
        await self.partner.grant(line, self.sandbox.chain.accounts.users[0], AMOUNT)
        await self.sandbox.chain.client.rpc.call("evm_setIntervalMining", 0)
        operation = (await self.partner.borrow(line, AMOUNT, "loan-2026-0043")).operation_id
        sent = ChainTransaction.state == TransactionState.BROADCAST
        await self.until(select(ChainTransaction.id).where(ChainTransaction.operation_id == operation, sent))
        return operation


async def _api_docs(browser: Browser, url: str, swagger: Path | None) -> None:
    """The page takes Swagger UI from a public server; where that is out of reach, it is given from the folder."""
    await browser.call("Page.navigate", url=url)
    await asyncio.sleep(SETTLES)
    if swagger is not None:
        style, script = ((swagger / name).read_text() for name in ("swagger-ui.css", "swagger-ui-bundle.js"))
        await browser.evaluate(script)
        await browser.evaluate(
            f"document.head.appendChild(document.createElement('style')).textContent = {json.dumps(style)}"
        )
        await browser.evaluate("(0, eval)([...document.scripts].find(each => !each.src).textContent)")
    await browser.shoot("Borrow, repay, and what is owed", "api-docs.png", HEIGHT)


async def take(program: str, folder: Path, swagger: Path | None) -> None:
    options = StackOptions(
        PostgresOptions(durable=False),
        TemporalOptions(ui=True),
        anvil=AnvilOptions(block_time=StackOptions().anvil.block_time),
    )
    async with AsyncExitStack() as opened:
        doing = lambda what: nullcontext(sys.stdout.write(f"{what}\n"))  # noqa: E731
        sandbox = await opened.enter_async_context(open_sandbox(folder, options, doing, QUICK))
        api = sandbox.engine.api_url
        partner = await opened.enter_async_context(PartnerClient.connect(api, sandbox.manifest.partner_key))
        scene = Scene(sandbox, partner)
        pages = {"finished": await scene.finished(), "under-review": await scene.under_review()}
        pages["waiting"] = await scene.waiting()
        browser = await opened.enter_async_context(browsing(program))
        ui = f"{sandbox.stack.temporal_ui_url}/namespaces/{sandbox.engine.config.temporal_namespace}"
        listed = f"{ui}/workflows?query={quote('WorkflowType = ' + chr(34) + 'BorrowWorkflow' + chr(34))}"
        await browser.call("Page.navigate", url=listed)
        columns = json.dumps({sandbox.engine.config.temporal_namespace: [{"label": each} for each in COLUMNS]})
        await asyncio.sleep(SETTLES)
        await browser.evaluate(f"localStorage.setItem('namespace-workflow-table-columns', {json.dumps(columns)})")
        await browser.picture(listed, "loan-2026-0041", "temporal-list.png", height=560)
        for name, operation in pages.items():
            await browser.picture(
                f"{ui}/workflows/{quote(operation, safe='')}", "User Metadata", f"workflow-{name}.png"
            )
            await browser.evaluate(TO_THE_STORY)
            await browser.shoot("Current Details", f"workflow-{name}.png", STORY_HEIGHT)
        await _api_docs(browser, f"{api}/docs", swagger)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m sandbox.screenshots", description="The pictures of docs/images/.")
    parser.add_argument(
        "--swagger", type=Path, help="folder of the npm package swagger-ui-dist, where its server is out of reach"
    )
    asked = parser.parse_args(arguments)
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        sys.stdout.write("Skipped: there is no Chromium on the path (Debian: apt install chromium).\n")
        return 0
    IMAGES.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="pictures-"))
    try:
        asyncio.run(take(program, folder, asked.swagger))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
