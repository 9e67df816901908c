"""Borrow and repay as versioned workers run them: an operation stays with the build that began it (ADR 0029).

They are classes of their own because Temporal refuses a behaviour from workers that are unversioned. Under the names of the
plain ones they take the same steps, so a history of either replays with the other.
"""

from temporalio import workflow
from temporalio.common import VersioningBehavior

with workflow.unsafe.imports_passed_through():
    from models.messages.common import OperationInput, Outcome
    from workflows.borrow import BorrowWorkflow
    from workflows.repay import RepayWorkflow


@workflow.defn(name=BorrowWorkflow.__name__, versioning_behavior=VersioningBehavior.PINNED)
class PinnedBorrowWorkflow(BorrowWorkflow):
    @workflow.init
    def __init__(self, start: OperationInput) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: OperationInput) -> Outcome:
        return await super().run(start)


@workflow.defn(name=RepayWorkflow.__name__, versioning_behavior=VersioningBehavior.PINNED)
class PinnedRepayWorkflow(RepayWorkflow):
    @workflow.init
    def __init__(self, start: OperationInput) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: OperationInput) -> Outcome:
        return await super().run(start)
