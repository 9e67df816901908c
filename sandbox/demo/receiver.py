"""The partner's own receiver of webhooks, on this machine: it verifies each by the library of the specification.

A partner's real one does no more than this, and remembers the ids that it has seen (docs/webhooks.md).
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from models.events.catalog import Envelope
from models.statuses import EventType
from sandbox.demo.partner import PartnerClient
from sandbox.services.ports import LOOPBACK


class Receiver:
    """``show`` is called with each event that is new, when it comes."""

    def __init__(self) -> None:
        self.secret = ""
        self.show: Callable[[Envelope], None] = lambda _: None
        self._heard: dict[str, Envelope] = {}
        self._came = asyncio.Condition()

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            Webhook(self.secret).verify(body, dict(request.headers), json_parse=False)
        except WebhookVerificationError as refused:
            return web.Response(status=401, text=str(refused))
        event = Envelope.model_validate_json(body)
        if event.id not in self._heard:
            self.show(event)
        async with self._came:
            self._heard[event.id] = event
            self._came.notify_all()
        return web.Response(status=204)

    async def wait_for(self, operation_id: str, kind: EventType) -> Envelope:
        """The event of this type of an operation, as soon as it has come."""
        async with self._came:
            while True:
                for event in self._heard.values():
                    if (event.operation_id, event.type) == (operation_id, kind):
                        return event
                await self._came.wait()


@asynccontextmanager
async def receiving(partner: PartnerClient) -> AsyncIterator[Receiver]:
    """Set up as an endpoint of the partner's for as long as the block lasts."""
    receiver = Receiver()
    application = web.Application()
    application.router.add_post("/webhooks", receiver.handle)
    runner = web.AppRunner(application, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, 0).start()
        port = runner.addresses[0][1]
        endpoint_id, receiver.secret = await partner.listen_at(f"http://{LOOPBACK}:{port}/webhooks")
        yield receiver
        await partner.stop_listening(endpoint_id)
    finally:
        await runner.cleanup()
