"""The process itself: it starts whatever is away, serves over a real socket, and stops at once while partners long-poll."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest_asyncio

from sandbox.services.ports import leased_port
from tests.api.desk import Desk

ROOT = Path(__file__).parents[2]
NOWHERE = "127.0.0.1:1"


@pytest_asyncio.fixture
async def process(desk: Desk) -> AsyncIterator[tuple[asyncio.subprocess.Process, httpx.AsyncClient]]:
    """An API whose Temporal is away."""
    environment = {"PATH": "", "ENGINE_TEMPORAL_ADDRESS": NOWHERE}
    for name, value in desk.settings.model_dump(exclude_none=True, include=set(desk.settings.model_fields_set)).items():
        shown = value.get_secret_value() if hasattr(value, "get_secret_value") else value
        environment.setdefault(f"ENGINE_{name.upper()}", str(shown))
    with leased_port() as port:
        started = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "api.app", "--port", str(port), cwd=ROOT, env=environment
        )
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
                await _until_it_answers(http)
                yield started, http
        finally:
            if started.returncode is None:
                started.kill()
            await started.wait()


async def test_it_starts_while_temporal_is_away_and_lets_long_polls_go_when_it_is_told_to_stop(
    desk: Desk, process: tuple[asyncio.subprocess.Process, httpx.AsyncClient]
) -> None:
    started, http = process
    answer = await http.post("/v1/loans", json=desk.borrow_body(), headers=desk.auth())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    path = f"/v1/operations/borrow:acme:loan~{desk.names[-1]}?wait=30"
    waiting = asyncio.create_task(http.get(path, headers=desk.auth()))
    await asyncio.sleep(0.5)
    began = time.monotonic()
    started.send_signal(signal.SIGTERM)
    assert (await waiting).json()["state"] == "RECEIVED"
    assert await started.wait() in (0, -signal.SIGTERM)
    assert time.monotonic() - began < 5


async def _until_it_answers(http: httpx.AsyncClient) -> None:
    for _ in range(300):
        try:
            if (await http.get("/v1/health/live")).is_success:
                return
        except httpx.TransportError:
            await asyncio.sleep(0.1)
    raise AssertionError("the API did not start")
