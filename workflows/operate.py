"""What operators do to signers, incidents and the lane's own legs, which no operation's workflow stands for.

To be started by ``operate.py``, or from the Temporal UI with an input such as
``{"do": "pause-signer", "chain_id": 1, "address": "0x…", "operator": "ada", "reason": "…"}``.
"""

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.operators import OperatorActivities
    from models.messages.operators import CarryOut, OperatorAnswer, Order
    from workflows.steps import StepRefused, run_step


@workflow.defn
class OperateWorkflow:
    @workflow.run
    async def run(self, order: Order) -> OperatorAnswer:
        """Fails with the words of the refusal where the rows do not allow it."""
        asked = CarryOut(action_id=str(workflow.uuid4()), order=order)
        try:
            return await run_step(OperatorActivities.carry_out, asked, order.do)
        except StepRefused as refused:
            raise ApplicationError(refused.refusal.detail, type=refused.refusal.code, non_retryable=True) from refused
