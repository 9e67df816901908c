"""How a workflow runs one step: quickly as a local activity, and durably when that does not answer in time."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, FailureError

with workflow.unsafe.imports_passed_through():
    from models.errors import RefusalPayload
    from models.messages.common import Message
    from workflows import options

Holder = TypeVar("Holder")
Asked = TypeVar("Asked", bound=Message)
Answered = TypeVar("Answered")


class StepRefused(Exception):
    """A business refusal ended a step: the workflow turns it into a refused result, and never fails by it."""

    def __init__(self, refusal: RefusalPayload) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


async def run_step(activity: Callable[[Holder, Asked], Awaitable[Answered]], asked: Asked, summary: str) -> Answered:
    """Runs an idempotent step; raises StepRefused only for a refusal, everything else is retried for ever."""
    try:
        return await workflow.execute_local_activity_method(
            activity,
            asked,
            schedule_to_close_timeout=options.HEAD_BUDGET,
            retry_policy=options.QUICK_RETRY,
            summary=summary,
        )
    except FailureError as failed:
        _raise_refusal(failed)
    try:
        return await workflow.execute_activity_method(
            activity,
            asked,
            start_to_close_timeout=options.STEP_TIMEOUT,
            retry_policy=options.PATIENT_RETRY,
            summary=summary,
        )
    except FailureError as failed:
        _raise_refusal(failed)
        raise


async def run_wait(
    activity: Callable[[Holder, Asked], Awaitable[Answered]], asked: Asked, *, patience: int, summary: str
) -> Answered:
    """Runs an activity that waits for the chain for at most ``patience`` seconds, with heartbeats, on a queue of its own."""
    return await workflow.execute_activity_method(
        activity,
        asked,
        task_queue=options.WAITING_QUEUE,
        start_to_close_timeout=timedelta(seconds=patience) + options.WAIT_MARGIN,
        heartbeat_timeout=options.HEARTBEAT_TIMEOUT,
        retry_policy=options.PATIENT_RETRY,
        summary=summary,
    )


def _raise_refusal(failed: FailureError) -> None:
    """A regular activity's failure comes wrapped in an ActivityError, a local one's as it is."""
    cause = failed.cause if isinstance(failed, ActivityError) else failed
    if isinstance(cause, ApplicationError) and cause.non_retryable and cause.details:
        raise StepRefused(RefusalPayload.model_validate(cause.details[0])) from failed
