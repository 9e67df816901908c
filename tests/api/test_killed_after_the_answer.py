"""``kill -9`` of the API at the first byte of an answer: whatever was answered, the request's log row is there."""

import asyncio
import json
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest_asyncio
from sqlalchemy import select

from models.tables.requests import RequestLog
from sandbox.services.ports import LOOPBACK, leased_port
from tests.api.desk import Desk

ROOT = Path(__file__).parents[2]
ROUNDS = 5
STATUS = len("HTTP/1.1 200")


@dataclass(frozen=True)
class Asked:
    """A request, and the status of its answer."""

    status: int
    method: str
    path: str
    headers: Mapping[str, str]
    body: object = None
    raw: bytes | None = field(default=None)

    def sent(self, trace_id: str) -> bytes:
        body = self.raw if self.raw is not None else b"" if self.body is None else json.dumps(self.body).encode()
        headers = {
            "Host": "engine",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "traceparent": f"00-{trace_id}-{'ab' * 8}-01",
            **self.headers,
        }
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Mortal:
    """An API that is started anew after each death."""

    def __init__(self, launcher: asyncio.subprocess.Process, port: int) -> None:
        self._launcher = launcher
        self._port = port

    async def killed_at_the_first_byte(self, asked: Asked) -> tuple[str, int]:
        """The trace id of the request and the status that the client has read when it kills the API."""
        pid = await self._start()
        trace_id = secrets.token_hex(16)
        reader, writer = await self._connected()
        writer.write(asked.sent(trace_id))
        first = await reader.readexactly(1)
        os.kill(pid, signal.SIGKILL)
        status = first + await reader.readexactly(STATUS - 1)
        writer.close()
        assert await self._said() == "over"
        return trace_id, int(status.split()[1])

    async def _start(self) -> int:
        assert self._launcher.stdin is not None
        self._launcher.stdin.write(f"--host {LOOPBACK} --port {self._port}\n".encode())
        return int(await self._said())

    async def _said(self) -> str:
        assert self._launcher.stdout is not None
        return (await self._launcher.stdout.readline()).decode().strip()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(30):
            while True:
                try:
                    return await asyncio.open_connection(LOOPBACK, self._port)
                except ConnectionRefusedError:
                    await asyncio.sleep(0.02)


@pytest_asyncio.fixture
async def mortal(working_desk: Desk) -> AsyncIterator[Mortal]:
    environment = {"PATH": ""}
    settings = working_desk.settings
    for name, value in settings.model_dump(exclude_none=True, include=set(settings.model_fields_set)).items():
        shown = value.get_secret_value() if hasattr(value, "get_secret_value") else value
        environment[f"ENGINE_{name.upper()}"] = str(shown)
    pipe = asyncio.subprocess.PIPE
    with leased_port() as port:
        launcher = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.api.preforked", cwd=ROOT, env=environment, stdin=pipe, stdout=pipe
        )
        try:
            yield Mortal(launcher, port)
        finally:
            assert launcher.stdin is not None
            launcher.stdin.close()
            await launcher.wait()


async def test_the_row_is_there_when_the_first_byte_is(working_desk: Desk, mortal: Mortal) -> None:
    """Forty deaths right after an answer's first byte: of borrows, reads, refusals, wrong keys and unreadable bodies."""
    desk = working_desk
    assert (await desk.grant()).status_code == 201
    mine = desk.auth()
    borrow, refused = desk.borrow_body(), desk.borrow_body(amount=str(10**17))
    kinds = (
        Asked(202, "POST", "/v1/loans", mine, borrow),
        Asked(422, "POST", "/v1/loans", mine, refused),
        Asked(200, "GET", f"/v1/operations/borrow:acme:loan~{desk.names[0]}?wait=0", mine),
        Asked(200, "GET", "/v1/grants", mine),
        Asked(404, "GET", "/v1/loans/none", mine),
        Asked(422, "POST", "/v1/loans", mine, {"amount": 1}),
        Asked(400, "POST", "/v1/loans", mine, raw=b"{"),
        Asked(401, "GET", "/v1/grants", {"Authorization": "Bearer pk_wrong"}),
    )
    for _ in range(ROUNDS):
        for asked in kinds:
            trace_id, status = await mortal.killed_at_the_first_byte(asked)
            assert status == asked.status, asked
            assert await statuses_of(desk, trace_id) == [status], asked
    assert await desk.operations() == 2


async def statuses_of(desk: Desk, trace_id: str) -> list[int]:
    async with desk.transaction() as session:
        return list(await session.scalars(select(RequestLog.status).where(RequestLog.trace_id == trace_id)))
