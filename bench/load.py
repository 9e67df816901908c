"""The client of both sides: so many requests, so many of them at a time. aiohttp, since it takes the least of our cores."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from itertools import cycle, islice
from typing import Any

import aiohttp

from bench.measures import Stopwatch

CONNECTIONS_REST = timedelta(seconds=2)
ANSWERED_WITHIN = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class PostAll:
    url: str
    headers: Mapping[str, str]
    bodies: Sequence[Mapping[str, Any]]
    concurrency: int
    pause: timedelta
    """What each sender waits after each of its requests."""


@dataclass(frozen=True, slots=True)
class Answer:
    body: Mapping[str, Any]
    nanoseconds: int


@dataclass(frozen=True, slots=True)
class GetAll:
    """The urls are asked for in turn."""

    urls: Sequence[str]
    headers: Mapping[str, str]
    concurrency: int


def open_client() -> aiohttp.ClientSession:
    """Enter it before use; it opens as many connections as requests are under way.

    A server closes a connection that was idle for five seconds, so this client gives idle ones up before that.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=CONNECTIONS_REST.total_seconds()),
        timeout=aiohttp.ClientTimeout(total=ANSWERED_WITHIN.total_seconds()),
    )


async def post_all(http: aiohttp.ClientSession, asked: PostAll) -> list[Answer]:
    """Each sender takes the next body when its last answer is there. Every answer must be 202."""
    waiting, answers = iter(asked.bodies), list[Answer]()

    async def send() -> None:
        for body in waiting:
            answers.append(await _post(http, asked, body))
            await asyncio.sleep(asked.pause.total_seconds())

    async with asyncio.TaskGroup() as senders:
        for _ in range(asked.concurrency):
            senders.create_task(send())
    return answers


async def _post(http: aiohttp.ClientSession, asked: PostAll, body: Mapping[str, Any]) -> Answer:
    watch = Stopwatch()
    async with http.post(asked.url, json=body, headers=asked.headers) as response:
        content = await response.json()
    assert response.status == HTTPStatus.ACCEPTED, f"answered {response.status}: {content}"
    return Answer(content, watch.nanoseconds())


async def get_all(http: aiohttp.ClientSession, asked: GetAll, number: int) -> list[int]:
    """So many requests, the latency of each in nanoseconds. Every answer must be 200."""
    waiting, took = islice(cycle(asked.urls), number), list[int]()

    async def read() -> None:
        for url in waiting:
            watch = Stopwatch()
            async with http.get(url, headers=asked.headers) as response:
                content = await response.read()
            took.append(watch.nanoseconds())
            assert response.status == HTTPStatus.OK, f"answered {response.status}: {content[:500]!r}"

    async with asyncio.TaskGroup() as readers:
        for _ in range(asked.concurrency):
            readers.create_task(read())
    return took
