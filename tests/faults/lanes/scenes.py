"""The form of a campaign that mines by hand: rounds of the same kind of trouble, rest, and then the checks."""

import random
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Protocol

from models.statuses import TransactionState
from tests.faults.campaign import Part, Report
from tests.faults.grounds import Grounds
from tests.faults.lanes.yard import Yard, mining_by_hand, open_yard


@dataclass
class Scene:
    """What a round has at hand. ``ends`` are of the operations that may end otherwise than paid."""

    yard: Yard
    dice: random.Random
    report: Report
    ends: dict[str, Collection[TransactionState]] = field(default_factory=dict)
    stolen: set[int] = field(default_factory=set)
    """Nonces that a foreign transaction has used."""

    def hit(self, what: str, number: int = 1) -> None:
        self.report.injections += number
        self.report.faults[what] += number


class Rounds(Protocol):
    """``round`` makes trouble once; ``judge`` says what is wrong in the end beside the checks of every yard."""

    async def round(self) -> None: ...
    async def judge(self) -> list[str]: ...


async def play(part: Part, grounds: Grounds, rounds: int, rounds_of: Callable[[Scene], Rounds], **lane: Any) -> Report:
    """A lane at work through so many rounds; ``lane`` is what it is told otherwise."""
    async with open_yard(grounds, **lane) as yard:
        scene = Scene(yard, random.Random(part.seed), Report())  # noqa: S311 - a seed must plan the same again
        trouble = rounds_of(scene)
        async with mining_by_hand(yard), yard.desk.running():
            for _ in range(rounds):
                if not await _ended(scene, trouble):
                    break
            else:
                scene.report.breaches += await yard.rests()
        scene.report.breaches += await yard.breaches(scene.ends, scene.stolen)
        scene.report.breaches += await trouble.judge()
        await _conclude(scene)
        return scene.report


async def _ended(scene: Scene, trouble: Rounds) -> bool:
    """Whether the lane came through a round; where it did not, the checks that follow say what became of its legs."""
    try:
        await trouble.round()
    except TimeoutError:
        scene.report.breaches.append(f"a round waited in vain: {await scene.yard.states()}\n{traceback.format_exc()}")
        return False
    return True


async def _conclude(scene: Scene) -> None:
    scene.report.operations = len(await scene.yard.rows())
    scene.report.notes.append(await scene.yard.states())
