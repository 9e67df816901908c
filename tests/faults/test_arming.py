"""Whoever stands at a point dies there as it was ordered, and of no other order."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.arming import Orders, Post, Sentry
from tests.faults.points import Arrival

HOLD_MS = 200


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    pids: list[int] = []
    monkeypatch.setattr("tests.faults.arming.os.kill", lambda pid, _: pids.append(pid))
    return pids


async def _stand(post: Post) -> "asyncio.Task[None]":
    """Somebody who has come to the ordered point."""
    post.give(Orders("here", hold_ms=HOLD_MS))
    standing = asyncio.create_task(Sentry(post).reached(Arrival("here", "borrow:1")))
    await asyncio.sleep(HOLD_MS / 4000)
    assert post.somebody_stands()
    return standing


async def test_who_stands_dies_when_held_up_long_enough(tmp_path: Path, killed: list[int]) -> None:
    post = Post(tmp_path, "loans")
    standing = await _stand(post)
    await asyncio.sleep(2 * HOLD_MS / 1000)
    death = post.death()
    assert (len(killed), death and (death.point, death.operations)) == (1, ("here", 1))
    standing.cancel()


async def test_who_stands_when_the_orders_change_goes_on(tmp_path: Path, killed: list[int]) -> None:
    post = Post(tmp_path, "loans")
    standing = await _stand(post)
    post.give(Orders("there"))
    await asyncio.wait_for(standing, 1)
    assert (killed, post.death()) == ([], None)


async def test_the_hold_of_old_orders_does_not_end_that_of_new_ones(tmp_path: Path, killed: list[int]) -> None:
    """Each order holds for its own time, counted from when somebody first stands there."""
    post = Post(tmp_path, "loans")
    post.give(Orders("here", hold_ms=HOLD_MS))
    sentry = Sentry(post)
    first = asyncio.create_task(sentry.reached(Arrival("here", "borrow:1")))
    await asyncio.sleep(HOLD_MS / 4000)
    post.give(Orders("there", hold_ms=20 * HOLD_MS))
    second = asyncio.create_task(sentry.reached(Arrival("there", "borrow:2")))
    await asyncio.wait_for(first, 1)
    await asyncio.sleep(2 * HOLD_MS / 1000)
    assert (killed, post.death(), second.done()) == ([], None, False)
    post.give(Orders())
    await asyncio.wait_for(asyncio.gather(sentry.reached(Arrival("elsewhere", "borrow:3")), second), 1)
