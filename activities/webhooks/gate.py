"""How many requests to one endpoint are under way at once, so that a slow partner delays no other.

Whoever finds the endpoint full waits here for a moment, and then is told when to come again: a waiting delivery holds no
place that another endpoint's could have. An endpoint that keeps failing gets fewer places, and nobody waits for it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

PLACES: Final = 10
"""Requests to one endpoint at once, from one worker."""
IN_LINE: Final = 30
PATIENCE: Final = timedelta(seconds=5)
SUSPECT_AFTER: Final = 5
"""Failures in a row after which an endpoint has few places, until something succeeds."""
PLACES_OF_SUSPECTS: Final = 2
SOONEST, LATEST = timedelta(seconds=1), timedelta(seconds=60)


class EndpointFull(Exception):
    """``again_in`` spreads those who are sent away over the time that the endpoint takes for those before them."""

    def __init__(self, again_in: timedelta) -> None:
        super().__init__(f"there is no place now; again in {again_in}")
        self.again_in = again_in


@dataclass
class _Endpoint:
    inside: int = 0
    line: "asyncio.Queue[asyncio.Future[None]]" = field(default_factory=asyncio.Queue)
    waiting: int = 0
    failures: int = 0
    pace: timedelta = timedelta(milliseconds=100)
    """How long a request took lately."""
    taken_until: timedelta = timedelta(0)
    """By the loop's clock: until when those who were sent away have been told to come."""

    @property
    def suspect(self) -> bool:
        return self.failures >= SUSPECT_AFTER

    @property
    def places(self) -> int:
        return PLACES_OF_SUSPECTS if self.suspect else PLACES

    @property
    def idle(self) -> bool:
        return self.inside == 0 and self.waiting == 0 and self.failures == 0


class Place:
    """One request under way."""

    def __init__(self, endpoint: _Endpoint) -> None:
        self._endpoint = endpoint

    def ended(self, took: timedelta, *, succeeded: bool) -> None:
        self._endpoint.failures = 0 if succeeded else self._endpoint.failures + 1
        self._endpoint.pace = (3 * self._endpoint.pace + took) / 4


class Gate:
    def __init__(self) -> None:
        self._endpoints: dict[str, _Endpoint] = {}

    @asynccontextmanager
    async def place(self, endpoint_id: str) -> AsyncIterator[Place]:
        """One of the endpoint's places. Raises EndpointFull where none comes free in time."""
        endpoint = self._endpoints.setdefault(endpoint_id, _Endpoint())
        await self._enter(endpoint)
        try:
            yield Place(endpoint)
        finally:
            self._leave(endpoint)
            if endpoint.idle:
                self._endpoints.pop(endpoint_id, None)

    async def _enter(self, endpoint: _Endpoint) -> None:
        if endpoint.inside < endpoint.places:
            endpoint.inside += 1
            return
        if endpoint.suspect or endpoint.waiting >= IN_LINE:
            raise EndpointFull(_appointment(endpoint))
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        endpoint.line.put_nowait(turn)
        endpoint.waiting += 1
        try:
            await asyncio.wait_for(turn, PATIENCE.total_seconds())
        except TimeoutError:
            raise EndpointFull(_appointment(endpoint)) from None
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave(endpoint)  # the place that was given is passed on
            raise
        finally:
            endpoint.waiting -= 1

    def _leave(self, endpoint: _Endpoint) -> None:
        """Hands the place to the next in line, unless there are fewer places by now."""
        endpoint.inside -= 1
        while endpoint.inside < endpoint.places and not endpoint.line.empty():
            turn = endpoint.line.get_nowait()
            if not turn.done():
                endpoint.inside += 1
                turn.set_result(None)


def _appointment(endpoint: _Endpoint) -> timedelta:
    now = timedelta(seconds=asyncio.get_running_loop().time())
    endpoint.taken_until = max(endpoint.taken_until, now + SOONEST) + endpoint.pace / endpoint.places
    return min(endpoint.taken_until - now, LATEST)
