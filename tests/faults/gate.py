"""A gate before a node: everything passes, until the answers to what is sent are kept back.

So a process can be killed at the one moment that no row shows: the node has its transaction, and it does not know.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import ClientSession, web

_SEND = b"eth_sendRawTransaction"


class Gate:
    def __init__(self, node_url: str, session: ClientSession) -> None:
        self.url = ""
        self.taken = asyncio.Event()
        """Set when the node has taken a transaction whose sender waits for the answer in vain."""
        self._node_url = node_url
        self._session = session
        self._answering = asyncio.Event()
        self._answering.set()

    def keep_answers_to_sends(self) -> None:
        self.taken.clear()
        self._answering.clear()

    def let_pass(self) -> None:
        self._answering.set()

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = {"Content-Type": "application/json"}
        async with self._session.post(self._node_url, data=body, headers=headers) as answer:
            content = await answer.read()
        if _SEND in body and not self._answering.is_set():
            self.taken.set()
            await self._answering.wait()
        return web.Response(body=content, status=answer.status, content_type="application/json")


@asynccontextmanager
async def gate_before(node_url: str) -> AsyncIterator[Gate]:
    async with ClientSession() as session:
        gate = Gate(node_url, session)
        application = web.Application(client_max_size=0)
        application.router.add_post("/", gate.handle)
        runner = web.AppRunner(application, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        gate.url = f"http://{host}:{port}/"
        try:
            yield gate
        finally:
            gate.let_pass()
            await runner.cleanup()
