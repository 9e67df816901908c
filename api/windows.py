"""How many requests of a kind were let through in the last minute: a moving window, exact, in Valkey or in this process.

``limits`` brings both stores. Of its Valkey store the script is replaced: the library's takes the time from whichever process
asks, so that clocks that differ let too many pass, and needs a second round trip to say how much is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from time import time_ns
from typing import Any

from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.storage.redis.valkey import ValkeyBridge
from valkey.asyncio import Valkey
from valkey.exceptions import NoScriptError

WINDOW_SECONDS = 60
KEY_PREFIX = "loan-engine:requests"
_SECOND = 1_000
_ANSWER_SECONDS, _CONNECT_SECONDS = 2, 1
"""When the client gives a connection up; who asks waits much shorter (api/limiter.py)."""

# Entries are Valkey's own microseconds, the newest first, so that "before" means the same to all processes. What has left the
# window is dropped from the end. Where a limit was lowered there can be more entries than it allows: a place is free once all
# but limit - 1 of them have left, which is when the entry at place limit - 1 leaves.
_TAKE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2]) * 1000000
local oldest = redis.call('LINDEX', KEYS[1], -1)
while oldest and tonumber(oldest) <= now - window do
    redis.call('RPOP', KEYS[1])
    oldest = redis.call('LINDEX', KEYS[1], -1)
end
local count = redis.call('LLEN', KEYS[1])
if count < limit then
    redis.call('LPUSH', KEYS[1], string.format('%.0f', now))
    redis.call('PEXPIRE', KEYS[1], window / 1000)
    return {1, limit - count - 1, math.ceil(((oldest or now) + window - now) / 1000)}
end
local leaves = redis.call('LINDEX', KEYS[1], limit - 1)
return {0, 0, math.ceil((leaves + window - now) / 1000)}
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """Whether one more request was let through, how many more would be now, and when one more place is free, in milliseconds."""

    limit: int
    accepted: bool
    remaining: int
    frees_in: int

    @property
    def frees_in_seconds(self) -> int:
        """Rounded up, so that whoever waits so long is not early."""
        return max(1, -(-self.frees_in // _SECOND))


class ValkeyWindows:
    """Shared by all processes that are given the same URL; one round trip, however many requests are asked for together."""

    def __init__(self, url: str) -> None:
        storage = RedisStorage(
            f"async+{url}",
            implementation="valkey",
            socket_timeout=_ANSWER_SECONDS,
            socket_connect_timeout=_CONNECT_SECONDS,
        )
        if not isinstance(storage.bridge, ValkeyBridge):
            raise TypeError("the limits library chose another client than valkey")
        self._client: Valkey = storage.bridge.storage
        self._script = self._client.register_script(_TAKE).sha

    async def take(self, asked: Sequence[tuple[str, int]]) -> list[Taken]:
        """One request of each of these keys, at so many a minute. Raises what the client raises where Valkey is away or refuses."""
        answers = await self._evaluate(asked)
        unknown = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:  # a server that has just started; those that it did count are not counted twice
            await self._client.script_load(_TAKE)
            again = await self._evaluate([asked[place] for place in unknown])
            answers = [again.pop(0) if isinstance(answer, NoScriptError) else answer for answer in answers]
        return [_taken(limit, answer) for (_, limit), answer in zip(asked, answers, strict=True)]

    async def _evaluate(self, asked: Sequence[tuple[str, int]]) -> list[Any]:
        """An answer or an exception for each."""
        async with self._client.pipeline(transaction=False) as pipeline:
            for key, limit in asked:
                pipeline.evalsha(self._script, 1, f"{KEY_PREFIX}:{key}", str(limit), str(WINDOW_SECONDS))
            return list(await pipeline.execute(raise_on_error=False))

    async def aclose(self) -> None:
        await self._client.aclose()


def _taken(limit: int, answer: Any) -> Taken:
    if isinstance(answer, Exception):
        raise answer
    accepted, remaining, frees_in = answer
    return Taken(limit, bool(accepted), remaining, frees_in)


class LocalWindows:
    """The same in this process alone, for while there is no Valkey."""

    def __init__(self) -> None:
        self._storage = MemoryStorage()

    async def take(self, key: str, limit: int) -> Taken:
        accepted = await self._storage.acquire_entry(key, limit, WINDOW_SECONDS)
        began, count = await self._storage.get_moving_window(key, limit, WINDOW_SECONDS)
        left = int(began * _SECOND) + WINDOW_SECONDS * _SECOND - time_ns() // 1_000_000
        return Taken(limit, accepted, max(0, limit - count), max(0, left))
