"""The floor: a workflow of the shape of a borrow, whose activities do nothing.

It runs its steps as the engine does, local activities with the same options and confirmations on a queue of their own, and
answers the same update after the same step. What it leaves out is all that the engine is for: rows, chain, money.
``SevenSteps`` is the head and tail without the waiting, to be compared with another engine.
"""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from bench.floor_activities import HEAD, NOTHING, SEVEN, FloorActivities, Nothing
    from models.messages.common import Done
    from workflows.steps import run_step, run_wait


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
