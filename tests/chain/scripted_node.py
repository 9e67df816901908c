"""A node that answers as it is told, for what a good one does not do."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

RpcItem = dict[str, Any]
Script = Callable[[list[RpcItem]], Any]
"""From the requests of a batch to the JSON of the answer, or to a whole response."""


@asynccontextmanager
async def scripted_node(script: Script) -> AsyncIterator[str]:
    """The URL of a node that answers each batch by the script."""

    async def handle(request: web.Request) -> web.Response:
        answer = script(await request.json())
        return answer if isinstance(answer, web.Response) else web.json_response(answer)

    application = web.Application()
    application.router.add_post("/{key:.*}", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}/secret-key"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def silent_node() -> AsyncIterator[str]:
    """The URL of a node that takes a request and never answers."""
    done = asyncio.Event()

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await done.wait()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        done.set()
        server.close()
        await server.wait_closed()


def result(request: RpcItem, value: Any) -> RpcItem:
    return {"jsonrpc": "2.0", "id": request["id"], "result": value}


def error(request: RpcItem, code: int, message: str) -> RpcItem:
    return {"jsonrpc": "2.0", "id": request["id"], "error": {"code": code, "message": message}}
