"""A partner's receiver: a real HTTP server that verifies what comes by the library of the specification."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

Behave = Callable[[int], "int | None"]
"""The status for the n-th request, the first being 1; None: no answer at all."""


@dataclass
class Received:
    headers: dict[str, str]
    body: str
    verified: bool

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass
class Receiver:
    """``secrets`` are those it knows; a message counts as verified where one of them fits."""

    url: str = ""
    secrets: list[str] = field(default_factory=list)
    behave: Behave = lambda _: 200
    received: list[Received] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def events(self) -> Sequence[dict[str, Any]]:
        return [each.event for each in self.received if each.verified]

    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    async def has(self, count: int) -> bool:
        return len(self.received) >= count

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body, headers = (await request.read()).decode(), dict(request.headers)
        self.received.append(Received(headers, body, self._verifies(body, headers)))
        status = self.behave(len(self.received))
        if status is None:
            await self.released.wait()
        return web.Response(status=status or 200, text="thanks", headers={"Location": "http://127.0.0.1:1/"})

    def _verifies(self, body: str, headers: dict[str, str]) -> bool:
        for secret in self.secrets:
            try:
                Webhook(secret).verify(body, headers)
            except WebhookVerificationError:
                continue
            return True
        return False


@asynccontextmanager
async def receiving(secrets: Sequence[str] = (), behave: Behave = lambda _: 200) -> AsyncIterator[Receiver]:
    receiver = Receiver(secrets=list(secrets), behave=behave)
    application = web.Application()
    application.router.add_post("/{path:.*}", receiver.handle)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    receiver.url = f"http://{host}:{port}/hooks"
    try:
        yield receiver
    finally:
        receiver.released.set()
        await runner.cleanup()
