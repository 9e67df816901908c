"""What a process is told to do at its points, through a file, and what it tells of them, through another.

The file is looked at again whenever it has changed, so that a running process is armed without being started anew.
"""

import asyncio
import json
import os
import signal
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.points import Arrival


@dataclass(frozen=True, slots=True)
class Orders:
    """Where to kill. ``passing`` arrivals of each operation go on first; the process dies once ``together`` stand there.

    What stands for ``hold_ms`` dies with fewer. Without a point nothing happens but what ``recording`` asks for: that each
    arrival is written down.
    """

    point: str = ""
    passing: int = 0
    together: int = 5
    hold_ms: int = 3_000
    recording: bool = False


@dataclass(frozen=True, slots=True)
class Death:
    """``operations`` stood at the point when the process died; ``weight`` is what they carried in all."""

    point: str
    operations: int
    weight: int


@dataclass(frozen=True)
class Post:
    """The files of one process."""

    folder: Path
    name: str

    @property
    def orders(self) -> Path:
        return self.folder / f"{self.name}.orders.json"

    @property
    def told(self) -> Path:
        return self.folder / f"{self.name}.told.jsonl"

    @property
    def obeyed(self) -> Path:
        """The pid of the last process that died of its orders, for the launcher: any other end is one to be told."""
        return self.folder / f"{self.name}.obeyed"

    def give(self, orders: Orders) -> None:
        """In one step, since the process may look at any moment. What was told before is forgotten."""
        self.told.unlink(missing_ok=True)
        draft = self.orders.with_suffix(".new")
        draft.write_text(json.dumps(asdict(orders)))
        draft.rename(self.orders)

    def death(self) -> Death | None:
        lines = self._lines()
        return Death(**lines[-1]["died"]) if lines and "died" in lines[-1] else None

    def somebody_stands(self) -> bool:
        """The process is about to die, as soon as enough others stand there or it was held up long enough."""
        return any("stands" in line for line in self._lines())

    def arrivals(self) -> Counter[str]:
        return Counter(line["reached"] for line in self._lines() if "reached" in line)

    def _lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.told.read_text().splitlines()] if self.told.exists() else []


@dataclass
class Sentry:
    """Stands at every point of its process, and carries the orders out."""

    post: Post
    _orders: Orders = field(default_factory=Orders)
    _read_at: int = 0
    _passed: Counter[str] = field(default_factory=Counter)
    _standing: dict[str, int] = field(default_factory=dict)
    _revoked: asyncio.Event = field(default_factory=asyncio.Event)
    _hold: asyncio.TimerHandle | None = None

    async def reached(self, arrival: Arrival) -> None:
        self._look()
        if self._orders.recording:
            self._tell({"reached": arrival.point})
        if arrival.point == self._orders.point:
            await self._stand(arrival)

    def _look(self) -> None:
        changed = self.post.orders.stat().st_mtime_ns if self.post.orders.exists() else 0
        if changed not in (0, self._read_at):
            self._read_at, self._passed, self._standing = changed, Counter(), {}
            self._orders = Orders(**json.loads(self.post.orders.read_text()))
            self._revoked.set()
            self._revoked = asyncio.Event()
            if self._hold is not None:
                self._hold.cancel()  # else it would end the hold of the new orders early

    async def _stand(self, arrival: Arrival) -> None:
        self._passed[arrival.operation] += 1
        if self._passed[arrival.operation] <= self._orders.passing:
            return
        if not self._standing:
            self._tell({"stands": arrival.point})
            held_for = self._orders.hold_ms / 1000
            self._hold = asyncio.get_running_loop().call_later(held_for, self._die_as_ordered)
        self._standing[arrival.operation] = arrival.weight
        if sum(self._standing.values()) >= self._orders.together:
            self._die()
        await self._revoked.wait()

    def _die_as_ordered(self) -> None:
        """Whoever stands goes on where there are other orders by now."""
        self._look()
        if self._standing:
            self._die()

    def _die(self) -> None:
        """The orders are carried out with it: who comes after it must not die of them again."""
        weight = sum(self._standing.values())
        self._tell({"died": asdict(Death(self._orders.point, len(self._standing), weight))})
        self.post.orders.unlink()
        self.post.obeyed.write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)

    def _tell(self, line: dict[str, Any]) -> None:
        with self.post.told.open("a") as lines:
            lines.write(f"{json.dumps(line)}\n")
