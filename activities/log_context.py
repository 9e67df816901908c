"""What is logged while a step runs names the operation, its partner and its loan, as far as the step's input tells them."""

from collections.abc import Iterator
from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from models.log_lines import is_partners, name_from_here, whose
from models.messages.common import Message


class LogContextInterceptor(Interceptor):
    """Registered on every worker, before all others, so that their lines and those of Temporal's SDK name it as well."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - Temporal's signature
        return _LinesNameTheirOperation(next)


class _LinesNameTheirOperation(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 - Temporal's signature
        # Each activity is a task of its own, and its failure is logged at the end of that task: nothing is taken back here.
        name_from_here(step=activity.info().activity_type, **_ids(input))
        return await super().execute_activity(input)


def _ids(asked: ExecuteActivityInput) -> dict[str, str]:
    """A step of an operation is asked for with its id, or runs in its workflow; others are named by their workflow alone."""
    messages = [part for argument in asked.args for part in _parts(argument)]
    workflow_id = activity.info().workflow_id or ""
    operation_id = next(_values(messages, "operation_id"), workflow_id if is_partners(workflow_id) else None)
    loan_id = next(_values(messages, "loan_id"), None)
    return {
        **({"workflow_id": workflow_id} if operation_id is None else whose(operation_id)),
        **({} if loan_id is None else {"loan_id": loan_id}),
    }


def _parts(argument: object) -> list[Message]:
    """A payload, and the payloads that it holds."""
    if not isinstance(argument, Message):
        return []
    return [argument, *(value for _, value in argument if isinstance(value, Message))]


def _values(messages: list[Message], name: str) -> Iterator[str]:
    for message in messages:
        value = getattr(message, name, None)
        if isinstance(value, str):
            yield value
