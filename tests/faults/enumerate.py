"""``python -m tests.faults.enumerate``: every point that both workflows, the API and the lane reach, written to points.json.

Each story is run by a few operations at once on a real engine whose processes write down where they come by. What a
process reaches only now and then is found by the second of two runs, or by the campaign, which says so.
"""

import asyncio
import json
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.faults.arming import Orders
from tests.faults.desk import LANE, PROCESSES, Desk, open_desk
from tests.faults.grounds import Grounds
from tests.faults.runner import say
from tests.faults.stories import PARTNERS, STORIES, Story

POINTS = Path(__file__).with_name("points.json")
RUNS = 2


@dataclass(frozen=True, slots=True)
class Point:
    """Where ``process`` can die. ``stories`` reach it, the first of them so many times in each operation.

    The lane does not come by for one operation, so there it is how often it came in all.
    """

    process: str
    name: str
    stories: tuple[str, ...]
    each: int

    @property
    def kind(self) -> str:
        """commit, activity, update-with-start, or the methods asked of the node; with the process."""
        what = self.name.split(" | ")[1]
        return f"{self.process}: {what if what.islower() and '_' not in what else 'request to the node'}"


def read_points() -> list[Point]:
    told = json.loads(POINTS.read_text())
    return [Point(**{**each, "stories": tuple(each["stories"])}) for each in told]


async def reached_in(desk: Desk, story: Story) -> dict[str, Counter[str]]:
    """By process, how often each point was reached while a few operations of the story ran to their end."""
    subjects = await desk.business.subjects(story, PARTNERS)
    for post in desk.posts.values():
        post.give(Orders(recording=True))
    await desk.business.done(await asyncio.gather(*(desk.business.begin(story, subject) for subject in subjects)))
    desk.business.returned(story, subjects)
    await asyncio.sleep(1)  # the lane beats once a second
    return {process: desk.posts[process].arrivals() for process in PROCESSES}


async def enumerated() -> list[Point]:
    found: dict[tuple[str, str], dict[str, int]] = {}
    async with Grounds.open() as grounds, open_desk(grounds) as desk:
        for story in [*STORIES.values()] * RUNS:
            for process, arrivals in (await reached_in(desk, story)).items():
                for name, number in arrivals.items():
                    each = number if process == LANE else max(1, number // PARTNERS)
                    found.setdefault((process, name), {}).setdefault(story.name, each)
    return [
        Point(process, name, tuple(stories), next(iter(stories.values())))
        for (process, name), stories in sorted(found.items())
    ]


def main() -> int:
    points = asyncio.run(enumerated())
    POINTS.write_text(json.dumps([asdict(point) for point in points], indent=1) + "\n")
    for kind, number in sorted(Counter(point.kind for point in points).items()):
        say(f"{number:4} {kind}")
    say(f"{len(points):4} points")
    return 0


if __name__ == "__main__":
    sys.exit(main())
