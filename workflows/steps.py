"""How a workflow runs one step: quickly as a local activity, and durably when that does not answer in time."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from models.errors import RefusalPayload
    from models.messages.common import Message
    from workflows import options

Holder = TypeVar("Holder")
Asked = TypeVar("Asked", bound=Message)
Answered = TypeVar("Answered")


async def run_step(activity: Callable[[Holder, Asked], Awaitable[Answered]], asked: Asked, summary: str) -> Answered:
    """Runs an idempotent step; raises ActivityError only for a refusal, everything else is retried for ever."""
    try:
        return await workflow.execute_local_activity_method(
            activity,
            asked,
            schedule_to_close_timeout=options.HEAD_BUDGET,
            retry_policy=options.QUICK_RETRY,
            summary=summary,
        )
    except ActivityError as failed:
        if _refusal_of(failed) is not None:
            raise
    return await workflow.execute_activity_method(
        activity,
        asked,
        start_to_close_timeout=options.STEP_TIMEOUT,
        retry_policy=options.PATIENT_RETRY,
        summary=summary,
    )


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


def refusal_in(failed: ActivityError) -> RefusalPayload:
    """The business refusal that ended a step; anything else is raised again."""
    refusal = _refusal_of(failed)
    if refusal is None:
        raise failed
    return refusal


def _refusal_of(failed: ActivityError) -> RefusalPayload | None:
    cause = failed.cause
    if isinstance(cause, ApplicationError) and cause.non_retryable and cause.details:
        return RefusalPayload.model_validate(cause.details[0])
    return None
