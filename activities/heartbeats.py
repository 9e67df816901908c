"""Waiting for something long while Temporal knows that this process is alive."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import TypeVar

from temporalio import activity

Answered = TypeVar("Answered")
HEARTBEAT_EVERY = timedelta(seconds=4)


async def with_heartbeats(waiting: Awaitable[Answered]) -> Answered:
    """Awaits, and tells Temporal every few seconds that it still does; cancelled, it cancels what it waits for."""
    task = asyncio.ensure_future(waiting)
    try:
        while not task.done():
            activity.heartbeat()
            await asyncio.wait({task}, timeout=HEARTBEAT_EVERY.total_seconds())
    finally:
        task.cancel()
    return await task
