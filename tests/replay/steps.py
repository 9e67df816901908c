"""What Temporal's own check leaves open: what the activities of a replay are asked to do.

A replay compares the names of activities with those of the history, and nothing else of them: two legs that change places are
the same activities in the same order. So what the code says that each step does is written down, and compared as well. A step
that is only worded anew fails this too; then the histories are recorded anew.
"""

import json
from collections.abc import Sequence
from typing import Any

from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import (
    Interceptor,
    Replayer,
    StartActivityInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

Step = tuple[str, str]
"""The name of an activity, and what the workflow said that it does: ``("submit_transaction", "submit borrow")``."""

_NOTE = "note_step"


async def replay(history: WorkflowHistory, workflows: Sequence[type]) -> list[Step]:
    """Replays a history and returns the steps that the code asked for. Raises what the replay raises."""
    noting = _NotesSteps()
    replayer = Replayer(workflows=workflows, data_converter=pydantic_data_converter, interceptors=[noting])
    await replayer.replay_workflow(history)
    return noting.steps


def recorded_steps(history: WorkflowHistory) -> list[Step]:
    return [step for event in history.events if (step := _step(event)) is not None]


def _step(event: HistoryEvent) -> Step | None:
    summary = event.user_metadata.summary.data
    if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
        return event.activity_task_scheduled_event_attributes.activity_type.name, json.loads(summary)
    if event.event_type == EventType.EVENT_TYPE_MARKER_RECORDED:
        (about,) = event.marker_recorded_event_attributes.details["data"].payloads
        return json.loads(about.data)["activity_type"], json.loads(summary)
    return None


class _NotesSteps(Interceptor):
    def __init__(self) -> None:
        self.steps: list[Step] = []

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:  # noqa: A002 - Temporal's signature
        input.unsafe_extern_functions[_NOTE] = self._note
        return _Inbound

    def _note(self, activity: str, summary: str | None) -> None:
        self.steps.append((activity, summary or ""))


class _Inbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_Outbound(outbound))


class _Outbound(WorkflowOutboundInterceptor):
    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:  # noqa: A002 - Temporal's signature
        workflow.extern_functions()[_NOTE](input.activity, input.summary)
        return super().start_activity(input)

    def start_local_activity(self, input: StartLocalActivityInput) -> workflow.ActivityHandle[Any]:  # noqa: A002 - Temporal's signature
        workflow.extern_functions()[_NOTE](input.activity, input.summary)
        return super().start_local_activity(input)
