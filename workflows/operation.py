"""What the two operations share: a story that no cancellation cuts in half, a decision to wait for, an operator's hands."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.reviews import ReviewActivities
    from models.messages.common import DecisionBase, LegBegun, OperationInput, Outcome, Pace
    from models.statuses import LegName
    from workflows.attention import Attention
    from workflows.hands import Hands
    from workflows.legs import Legs
    from workflows.steps import run_step
    from workflows.tale import Tale

Decided = TypeVar("Decided", bound=DecisionBase)


class OperationRun(Generic[Decided]):
    """The state of one run. Everything that must outlive a run is in the operation's rows, not here."""

    def __init__(self, start: OperationInput, first_leg: LegName) -> None:
        self.start = start
        self.decision: Decided | None = None
        self.tale = Tale()
        self.attention = Attention(start, self.tale)
        self.hands = Hands(start, self.attention, first_leg)

    async def tell(self, story: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Runs the story to its end; a cancel request never interrupts it.

        The request is written to the operation's row, where the signer lane sees it in the very transaction that would
        otherwise send the first leg.
        """
        told = asyncio.ensure_future(story())
        try:
            outcome = await asyncio.shield(told)
        except asyncio.CancelledError:
            await run_step(ReviewActivities.request_cancel, self.start, "note the cancel request")
            outcome = await told
        self.tale.ended(outcome)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return outcome

    async def decided(self) -> Decided:
        await workflow.wait_condition(lambda: self.decision is not None)
        if self.decision is None:  # the condition above holds; this tells the type checker
            raise RuntimeError("woken without a decision")
        return self.decision

    def legs(self, pace: Pace, begun: Sequence[LegBegun]) -> Legs:
        return Legs(self.attention, self.tale, self.start.operation_id, pace, begun)
