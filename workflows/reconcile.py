"""The reconciliation: the engine audits itself by the clock, looks twice, and acts on what it saw twice (money.md section 8)."""

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.reconciliation import ReconciliationActivities
    from models.messages.reconcile import Conclude, Look, Reconciliation, Seen
    from workflows.options import HEARTBEAT_TIMEOUT, PATIENT_RETRY, STEP_TIMEOUT, WAITING_QUEUE

LIMIT = timedelta(minutes=30)
"""For one audit, waits for a later block and for a node that is away included; then the schedule's next run is the retry."""
WHOLE_EVERY = timedelta(days=1)
"""In between, a run reads the chain from where the last one found nothing: a year of blocks is too much for every time."""


@workflow.defn
class ReconcileWorkflow:
    @workflow.run
    async def run(self) -> Reconciliation:
        last = workflow.get_last_completion_result(Reconciliation) or Reconciliation(block=-1)
        whole = last.whole_at is None or workflow.now() - last.whole_at >= WHOLE_EVERY
        since = None if whole else last.sound_up_to
        seen = await self._look(Look(since=since), "audit")
        carried = {
            "sound_up_to": None if seen.breaches else seen.block,
            "whole_at": workflow.now() if since is None else last.whole_at,
        }
        if not seen.breaches:
            return (await self._conclude(Conclude(last=seen))).model_copy(update=carried)
        look = Look(later_than=seen.block, since=since)
        again = await self._look(look, f"audit again: {len(seen.breaches)} breaches were seen")
        return (await self._conclude(Conclude(last=again, before=seen))).model_copy(update=carried)

    async def _look(self, look: Look, summary: str) -> Seen:
        return await workflow.execute_activity_method(
            ReconciliationActivities.look,
            look,
            task_queue=WAITING_QUEUE,
            schedule_to_close_timeout=LIMIT,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=PATIENT_RETRY,
            summary=summary,
        )

    async def _conclude(self, conclude: Conclude) -> Reconciliation:
        return await workflow.execute_activity_method(
            ReconciliationActivities.conclude,
            conclude,
            schedule_to_close_timeout=LIMIT,
            start_to_close_timeout=STEP_TIMEOUT,
            retry_policy=PATIENT_RETRY,
            summary="conclude",
        )
