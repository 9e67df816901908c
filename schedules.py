"""What the engine does by the clock: Temporal Schedules, kept as this table says by every worker of the role ``loans``.

A new one is a row in ``recurring``, its workflow in ``wiring.WORKFLOWS``, and its activities among those of
``wiring.loans_workers``: with the waits where it takes long, with the steps where it does not. The workflow takes no
argument; what it needs to know, its activities were built with.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)

from settings import Settings
from workflows.options import LOANS_QUEUE
from workflows.reconcile import AuditWorkflow, ReconcileWorkflow
from workflows.service_loans import ServiceLoansWorkflow
from workflows.sweep import SweepWorkflow
from workflows.sync_positions import SyncPositionsWorkflow
from workflows.upkeep import UpkeepWorkflow

CATCH_UP = timedelta(minutes=1)
"""Runs that were missed while Temporal was away are not made up for: the next one does all that they would have."""


@dataclass(frozen=True, slots=True)
class Recurring:
    """``id`` names the schedule, and begins the ids of its runs. A run that is late is waited for: none starts beside it."""

    id: str
    workflow: type
    every: timedelta


def recurring(settings: Settings) -> Sequence[Recurring]:
    return (
        Recurring("audit", AuditWorkflow, settings.audit_every),
        Recurring("reconcile", ReconcileWorkflow, settings.reconcile_every),
        Recurring("service-loans", ServiceLoansWorkflow, settings.service_every),
        Recurring("sweep", SweepWorkflow, settings.sweep_every),
        Recurring("sync-positions", SyncPositionsWorkflow, settings.sync_every),
        Recurring("upkeep", UpkeepWorkflow, settings.upkeep_every),
    )


async def keep_schedules(temporal: Client, rows: Sequence[Recurring]) -> None:
    """Creates what is missing and brings the others up to date; whether an operator has paused one is left as it is."""
    for row in rows:
        schedule = _schedule(row)
        try:
            await temporal.create_schedule(row.id, schedule)
        except ScheduleAlreadyRunningError:
            await temporal.get_schedule_handle(row.id).update(_to(schedule))


def _schedule(row: Recurring) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(row.workflow.__name__, id=row.id, task_queue=LOANS_QUEUE),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=row.every)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=CATCH_UP),
    )


def _to(schedule: Schedule) -> Callable[[ScheduleUpdateInput], ScheduleUpdate]:
    def change(current: ScheduleUpdateInput) -> ScheduleUpdate:
        schedule.state = current.description.schedule.state
        return ScheduleUpdate(schedule)

    return change
