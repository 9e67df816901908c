"""What the two operations share: a story that no cancellation cuts in half, a decision to wait for, an operator's word."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.reviews import ReviewActivities
    from models.messages.common import DecisionBase, OperationInput, OperatorChoice, OperatorDecision, Outcome
    from workflows.steps import run_step

Decided = TypeVar("Decided", bound=DecisionBase)


class OperationRun(Generic[Decided]):
    """The state of one run. Everything that must outlive a run is in the operation's rows, not here."""

    def __init__(self, start: OperationInput) -> None:
        self.start = start
        self.decision: Decided | None = None
        self._choice: OperatorDecision | None = None
        self.awaits_choice_among: frozenset[OperatorChoice] = frozenset()

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
        await workflow.wait_condition(workflow.all_handlers_finished)
        return outcome

    async def decided(self) -> Decided:
        await workflow.wait_condition(lambda: self.decision is not None)
        if self.decision is None:  # the condition above holds; this tells the type checker
            raise RuntimeError("woken without a decision")
        return self.decision

    def choose(self, decision: OperatorDecision) -> None:
        self._choice = decision

    def check_choice(self, decision: OperatorDecision) -> None:
        """Raises ValueError, which the operator sees at once, when the choice cannot be made now."""
        if decision.choice not in self.awaits_choice_among:
            possible = ", ".join(sorted(self.awaits_choice_among)) or "none"
            raise ValueError(f"'{decision.choice}' is no choice now; possible: {possible}")
        if not decision.reason.strip():
            raise ValueError("a decision needs a reason")

    async def operator_choice(self, *possible: OperatorChoice) -> OperatorChoice:
        """Waits, as long as it takes, for an operator to choose one of what is possible."""
        self.awaits_choice_among = frozenset(possible)
        await workflow.wait_condition(lambda: self._choice is not None)
        self.awaits_choice_among = frozenset()
        choice, self._choice = self._choice, None
        if choice is None:  # the condition above holds; this tells the type checker
            raise RuntimeError("woken without a choice")
        return choice.choice
