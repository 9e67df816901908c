"""The engine audits itself by the clock, looks twice, and acts on what it saw twice (money.md section 8)."""

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.reconciliation import ReconciliationActivities
    from models.messages.reconcile import Conclude, Look, Reconciliation, Seen
    from workflows.options import HEARTBEAT_TIMEOUT, PATIENT_RETRY, STEP_TIMEOUT, WAITING_QUEUE

LIMIT = timedelta(minutes=30)
"""For one look, waits for a later block and for a node that is away included; then the schedule's next run is the retry."""
WHOLE_LIMIT = timedelta(hours=20)
"""For a look at everything, which takes the longer the older the chain is."""


@workflow.defn
class ReconcileWorkflow:
    """Every few minutes: a year of blocks is too much for that, so it reads from where the last run found nothing."""

    @workflow.run
    async def run(self) -> Reconciliation:
        last = workflow.get_last_completion_result(Reconciliation)
        return await _reconcile(since=None if last is None else last.sound_up_to)


@workflow.defn
class AuditWorkflow:
    """Once a day: everything from the first block on, beside the runs that look at what is new."""

    @workflow.run
    async def run(self) -> Reconciliation:
        return await _reconcile(since=None)


async def _reconcile(since: int | None) -> Reconciliation:
    last, before = await _look(Look(since=since), "audit"), None
    if last.breaches:
        before = last
        look = Look(later_than=before.block, since=since)
        last = await _look(look, f"audit again: {len(before.breaches)} breaches were seen")
    return await workflow.execute_activity_method(
        ReconciliationActivities.conclude,
        Conclude(last=last, before=before, since=since),
        schedule_to_close_timeout=LIMIT,
        start_to_close_timeout=STEP_TIMEOUT,
        retry_policy=PATIENT_RETRY,
        summary="conclude",
    )


async def _look(look: Look, summary: str) -> Seen:
    return await workflow.execute_activity_method(
        ReconciliationActivities.look,
        look,
        task_queue=WAITING_QUEUE,
        schedule_to_close_timeout=WHOLE_LIMIT if look.since is None else LIMIT,
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        retry_policy=PATIENT_RETRY,
        summary=summary,
    )
