"""API processes of one engine, and what it takes to knock at them a thousand times at once.

The requests are sent with aiohttp: with httpx, choosing among hundreds of connections takes longer than what is measured.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
from aiohttp import ClientSession, TCPConnector

from sandbox.engine import API, Engine
from tests.faults.asking import Request
from tests.faults.processes import Running

DECIDED_SECONDS = 300


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.content)
        return found

    @property
    def accepted(self) -> bool:
        return self.status == httpx.codes.ACCEPTED

    @property
    def undecided(self) -> bool:
        """The partner is to ask again: the decision is still being made, or nobody could be reached that would make it."""
        return self.status == httpx.codes.SERVICE_UNAVAILABLE or self.body.get("decision") == "pending"


@dataclass(frozen=True)
class Doors:
    urls: Sequence[str]
    session: ClientSession

    async def ask_at_once(self, requests: Sequence[Request]) -> list[Answer]:
        """All in flight together, each on a connection of its own, through each door in turn."""
        return await asyncio.gather(
            *(self._ask(url, request) for url, request in zip(cycle(self.urls), requests, strict=False))
        )

    async def decided(self, requests: Sequence[Request]) -> list[Answer]:
        """Every answer once it is a decision: whoever was told to ask again sends the same request again."""
        answers = await self.ask_at_once(requests)
        async with asyncio.timeout(DECIDED_SECONDS):
            while waiting := [place for place, answer in enumerate(answers) if answer.undecided]:
                later = await self.ask_at_once([requests[place] for place in waiting])
                for place, answer in zip(waiting, later, strict=True):
                    answers[place] = answer
        return answers

    async def _ask(self, url: str, request: Request) -> Answer:
        async with self.session.post(f"{url}{request.path}", json=request.body, headers=request.headers) as answer:
            return Answer(answer.status, answer.headers, await answer.read())


@asynccontextmanager
async def two_doors(running: Running, folder: Path) -> AsyncIterator[Doors]:
    """The engine's API process and one more of it: what decides must be the row, and not the memory of one process."""
    async with (
        Engine.open(folder / "second", running.processes.config) as second,
        ClientSession(connector=TCPConnector(limit=0, force_close=True)) as session,
    ):
        await second.start(API)
        yield Doors((running.processes.api_url, second.api_url), session)
