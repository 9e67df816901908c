"""Keys that fail count for the address that sent them, and past a limit a key from there is not even looked at.

So neither a guesser nor a flood of invented keys costs the database more than the limit a minute, on whatever path. A key that
was good from that address a while ago is looked at all the same: whoever shares an address with a guesser, or stands behind the
same proxy, is not shut out by it.
"""

import hashlib
from dataclasses import dataclass

from api.addresses import counted_as
from api.resources import Resources
from api.who import Who
from api.windows import WINDOW_SECONDS, Taken

POLICY = "minute"
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Failures:
    """Of the address of one request, which carries one key or none. Past the limit ``who`` is marked ``unheard``."""

    resources: Resources
    who: Who
    place: str
    pair: bytes

    @classmethod
    def of(cls, resources: Resources, who: Who, credentials: str) -> "Failures":
        place = f"failed:{counted_as(who.address)}"
        return cls(resources, who, place, hashlib.sha256(f"{place} {credentials}".encode()).digest())

    def refused(self) -> Taken | None:
        """The refusal, where the key must not be looked at."""
        if self.pair in self.resources.good_pairs:
            return None
        refused = self.resources.limiter.refused(self.place, self._limit)
        self.who.unheard = refused is not None
        return refused

    async def add(self) -> Taken:
        """Counts a key that is not known, or not good here."""
        self.resources.good_pairs.pop(self.pair, None)
        taken = await self.resources.limiter.take(self.place, self._limit)
        self.who.unheard = not taken.accepted
        return taken

    def none(self) -> None:
        """The key was good, and is remembered."""
        pairs = self.resources.good_pairs
        pairs[self.pair] = None
        pairs.move_to_end(self.pair)
        if len(pairs) > _REMEMBERED:
            pairs.popitem(last=False)

    @property
    def _limit(self) -> int:
        return self.resources.settings.failed_keys_per_minute


def rate_headers(taken: Taken) -> list[tuple[bytes, bytes]]:
    """The structured fields of draft-ietf-httpapi-ratelimit-headers: the quota of a window, what remains, and when it grows."""
    return [
        (b"ratelimit-policy", f'"{POLICY}";q={taken.limit};w={WINDOW_SECONDS}'.encode()),
        (b"ratelimit", f'"{POLICY}";r={taken.remaining};t={taken.frees_in_seconds}'.encode()),
    ]
