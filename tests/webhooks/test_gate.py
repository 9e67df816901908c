"""The places of an endpoint: no more than so many at once, a short line, and for who fails fewer and none."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

from activities.webhooks.gate import (
    IN_LINE,
    LATEST,
    PLACES,
    PLACES_OF_SUSPECTS,
    SOONEST,
    SUSPECT_AFTER,
    EndpointFull,
    Gate,
)

TOOK = timedelta(seconds=15)


async def test_a_full_endpoint_leaves_the_others_alone() -> None:
    """Its places are its own."""
    gate = Gate()
    async with AsyncExitStack() as stack:
        for _ in range(PLACES):
            await stack.enter_async_context(gate.place("slow"))
        async with asyncio.timeout(1), gate.place("other"):
            pass


async def test_who_waits_gets_the_place_that_comes_free() -> None:
    """In the order of the line, and beyond the line everybody is told when to come again, each later than the one before."""
    gate = Gate()
    entered: list[int] = []

    async def enter(number: int) -> None:
        async with gate.place("busy"):
            entered.append(number)

    async with AsyncExitStack() as stack:
        for _ in range(PLACES):
            await stack.enter_async_context(gate.place("busy"))
        waiting = [asyncio.create_task(enter(number)) for number in range(IN_LINE)]
        await asyncio.sleep(0)
        turned_away = []
        for _ in range(3):
            with pytest.raises(EndpointFull) as full:
                await enter(-1)
            turned_away.append(full.value.again_in)
        assert entered == []
    await asyncio.gather(*waiting)
    assert entered == list(range(IN_LINE))
    assert SOONEST <= turned_away[0] < turned_away[1] < turned_away[2] <= LATEST


async def test_who_keeps_failing_has_few_places_and_no_line() -> None:
    """Until something succeeds."""
    gate = Gate()
    for _ in range(SUSPECT_AFTER):
        async with gate.place("failing") as place:
            place.ended(TOOK, succeeded=False)
    async with AsyncExitStack() as stack:
        places = [await stack.enter_async_context(gate.place("failing")) for _ in range(PLACES_OF_SUSPECTS)]
        with pytest.raises(EndpointFull):
            await stack.enter_async_context(gate.place("failing"))
        places[0].ended(TOOK, succeeded=True)
        for _ in range(PLACES - PLACES_OF_SUSPECTS):
            await stack.enter_async_context(gate.place("failing"))


async def test_a_waiter_that_is_cancelled_takes_no_place_with_it() -> None:
    """As many may enter afterwards as before."""
    gate = Gate()
    async with AsyncExitStack() as stack:
        for _ in range(PLACES):
            await stack.enter_async_context(gate.place("busy"))
        waiting = asyncio.ensure_future(stack.enter_async_context(gate.place("busy")))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(1), AsyncExitStack() as stack:
        for _ in range(PLACES):
            await stack.enter_async_context(gate.place("busy"))
