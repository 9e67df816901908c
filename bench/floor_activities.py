"""The floor's activities, which do nothing, and their payloads of one word.

They are in a module of their own since the module of a workflow is loaded anew for each workflow that starts.
"""

import asyncio
import time
from datetime import timedelta

from temporalio import activity

from models.messages.common import Done, Message

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
