"""Whoever a hostile URL tries to reach: a port on every address of this machine that counts who connects."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Listener:
    port: int = 0
    connections: int = 0


@asynccontextmanager
async def listening_everywhere() -> AsyncIterator[Listener]:
    """All local addresses, of both families: loopback, this machine's own, and what 0.0.0.0 and :: lead to."""
    listener = Listener()

    async def count(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        listener.connections += 1
        writer.close()

    async with _served(count, "::", "0.0.0.0") as port:  # noqa: S104 - every address is the point
        listener.port = port
        yield listener


@asynccontextmanager
async def scripted(handler: Handler, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A server that speaks TCP as the handler says; its port."""
    async with _served(handler, host) as port:
        yield port


@asynccontextmanager
async def _served(handler: Handler, *hosts: str) -> AsyncIterator[int]:
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    port, servers = 0, []
    for host in hosts:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((host, port))
        port = bound.getsockname()[1]
        servers.append(await asyncio.start_server(serve, sock=bound))
    try:
        yield port
    finally:
        for server in servers:
            server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass
class Names:
    """A name server that answers as it is told, once after the other; the last answer stays."""

    answers: Sequence[Sequence[str]]
    asked: list[str] = field(default_factory=list)

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        del port
        self.asked.append(host)
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


@dataclass
class Sockets:
    """Notes each address for which a socket is made."""

    tried: list[str] = field(default_factory=list)

    def open(self, info: Any) -> socket.socket:
        self.tried.append(str(info[4][0]))
        return socket.socket(*info[:3])

    def refuse(self, info: Any) -> socket.socket:
        self.tried.append(str(info[4][0]))
        raise ConnectionRefusedError(111, "the test lets nobody out")
