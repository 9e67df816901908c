"""What one operation cost Temporal: the events of its history, and an estimate of its billable actions.

The rule of the estimate: one action for the workflow's start, for each update accepted, each regular activity started, each
timer, each upsert of search attributes, and one for all markers of one workflow task (local activities); and one heartbeat
for each regular activity, which says that it is alive when it starts and every eight seconds from then on.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

HEARTBEAT_EVERY = timedelta(seconds=8)
_ACTIONS = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED: "workflow started",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED: "updates",
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED: "activities",
    EventType.EVENT_TYPE_TIMER_STARTED: "timers",
    EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES: "search attributes",
}
_MARKER = EventType.EVENT_TYPE_MARKER_RECORDED
_SCHEDULED = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
_COMPLETED = EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED


@dataclass(frozen=True, slots=True)
class TemporalCost:
    events: Counter[str]
    actions: Counter[str]


async def temporal_cost(temporal: Client, operation_id: str) -> TemporalCost:
    history = await temporal.get_workflow_handle(operation_id).fetch_history()
    events = list(history.events)
    actions = Counter(_ACTIONS[event.event_type] for event in events if event.event_type in _ACTIONS)
    actions["tasks with local activities"] = len(_marker_tasks(events))
    actions["heartbeats"] = _heartbeats(events)
    return TemporalCost(Counter(_name(event) for event in events), actions)


def _name(event: HistoryEvent) -> str:
    return EventType.Name(event.event_type).removeprefix("EVENT_TYPE_").replace("_", " ").lower()


def _marker_tasks(events: list[HistoryEvent]) -> set[int]:
    markers = [event for event in events if event.event_type == _MARKER]
    return {event.marker_recorded_event_attributes.workflow_task_completed_event_id for event in markers}


def _heartbeats(events: list[HistoryEvent]) -> int:
    began = {event.event_id: event.event_time.ToDatetime() for event in events if event.event_type == _SCHEDULED}
    lasted = [
        event.event_time.ToDatetime() - began[event.activity_task_completed_event_attributes.scheduled_event_id]
        for event in events
        if event.event_type == _COMPLETED
    ]
    return sum(1 + each // HEARTBEAT_EVERY for each in lasted if each >= timedelta())
