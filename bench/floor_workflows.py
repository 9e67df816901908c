"""The floor: a workflow of the shape of a borrow, whose activities do nothing.

It runs its steps as the engine does, local activities with the same options and confirmations on a queue of their own, and
answers the same update after the same step. What it leaves out is all that the engine is for: rows, chain, money. Its
payloads are one word. ``SevenSteps`` is the head and tail without the waiting, to be compared with another engine.
"""

import asyncio
import time
from datetime import timedelta

from temporalio import activity, workflow

with workflow.unsafe.imports_passed_through():
    from models.messages.common import Done, Message
    from workflows.steps import run_step, run_wait

NOTHING = Done()


class Nothing(Message):
    """``block_time`` in milliseconds: a confirmation waits for the next block of a clock as long; not at all with zero."""

    block_time: int = 0


class FloorActivities:
    @activity.defn
    async def open_operation(self, _asked: Nothing) -> Done:
        return NOTHING

    @activity.defn
    async def authorize_partner(self, _asked: Nothing) -> Done:
        return NOTHING

    @activity.defn
    async def check_credit_line(self, _asked: Nothing) -> Done:
        return NOTHING

    @activity.defn
    async def calculate_fee(self, _asked: Nothing) -> Done:
        return NOTHING

    @activity.defn
    async def reserve_limit(self, _asked: Nothing) -> Done:
        return NOTHING

    @activity.defn
    async def submit_transaction(self, _asked: Nothing) -> Done:
        return NOTHING

    @activity.defn
    async def record_borrow(self, _asked: Nothing) -> Done:
        return NOTHING

    @activity.defn
    async def activate_loan(self, _asked: Nothing) -> Done:
        return NOTHING

    @activity.defn
    async def confirm_transaction(self, asked: Nothing) -> Done:
        if asked.block_time > 0:
            left = asked.block_time - time.time_ns() // 1_000_000 % asked.block_time
            await asyncio.sleep(timedelta(milliseconds=left).total_seconds())
        return NOTHING


HEAD = (
    FloorActivities.open_operation,
    FloorActivities.authorize_partner,
    FloorActivities.check_credit_line,
    FloorActivities.calculate_fee,
    FloorActivities.reserve_limit,
)
SEVEN = (*HEAD, FloorActivities.record_borrow, FloorActivities.activate_loan)


@workflow.defn
class FloorBorrow:
    """The shape of ``BorrowWorkflow`` on its good path."""

    def __init__(self) -> None:
        self._decided = False

    @workflow.run
    async def run(self, asked: Nothing) -> Done:
        for step in HEAD:
            await run_step(step, asked, "nothing")
        self._decided = True
        await self._leg(asked)
        await run_step(FloorActivities.record_borrow, asked, "nothing")
        await self._leg(asked)
        await run_step(FloorActivities.activate_loan, asked, "nothing")
        await workflow.wait_condition(workflow.all_handlers_finished)
        return NOTHING

    @workflow.update
    async def decision(self) -> Done:
        await workflow.wait_condition(lambda: self._decided)
        return NOTHING

    async def _leg(self, asked: Nothing) -> None:
        await run_step(FloorActivities.submit_transaction, asked, "nothing")
        await run_wait(FloorActivities.confirm_transaction, asked, patience=60, summary="nothing")


@workflow.defn
class SevenSteps:
    @workflow.run
    async def run(self, asked: Nothing) -> Done:
        for step in SEVEN:
            await run_step(step, asked, "nothing")
        return NOTHING
