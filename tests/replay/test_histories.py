"""The saved histories of every path replay with the workflow code as it is now; no service is needed.

A failure means that a running operation could not go on with this code: the change must be patched or versioned. Where the
change is of something that never ran outside a test, the histories are recorded anew (see ``record.py``).
"""

import pytest
from temporalio import workflow

from tests.replay.changed import (
    FeeBeforeCreditLine,
    PaysBeforeItBorrows,
    WaitsBeforeItBorrows,
)
from tests.replay.paths import PATHS
from tests.replay.saved import load, saved_names
from tests.replay.steps import recorded_steps, replay
from workflows.borrow import BorrowWorkflow
from workflows.deliver_webhook import DeliverWebhookWorkflow
from workflows.pinned import PinnedBorrowWorkflow, PinnedRepayWorkflow
from workflows.repay import RepayWorkflow
from workflows.service_loans import ServiceLoansWorkflow
from workflows.upkeep import UpkeepWorkflow

RECORDED = [
    "borrow-active",
    "borrow-cancelled",
    "borrow-failed",
    "borrow-given-up",
    "borrow-refused",
    "borrow-reversed",
    "borrow-reverted",
    "borrow-reviewed",
    "borrow-run-again",
    "borrow-undone-by-an-operator",
    "borrow-unwind-retried",
    "deliver-again",
    "deliver-at-once",
    "deliver-cancelled",
    "deliver-stopped",
    "repay-applied",
    "repay-by-proof",
    "repay-collect-failed",
    "repay-payoff",
    "repay-payoff-by-proof",
    "repay-proof-not-found",
    "repay-proof-rejected",
    "repay-refund-retried",
    "repay-refunded",
    "repay-refused",
    "repay-run-again",
    "service-loans",
    "upkeep",
]

WORKFLOWS = [BorrowWorkflow, DeliverWebhookWorkflow, RepayWorkflow, ServiceLoansWorkflow, UpkeepWorkflow]


@pytest.mark.parametrize("name", RECORDED)
async def test_replays(name: str) -> None:
    """Today's workflow code takes every step that this path took when it was recorded."""
    history = load(name)
    assert await replay(history, WORKFLOWS) == recorded_steps(history)


@pytest.mark.parametrize("name", RECORDED)
async def test_replays_with_a_pinned_build(name: str) -> None:
    """So does the code that versioned workers run, so that versions can be switched on and off with operations open."""
    history = load(name)
    unversioned = [each for each in WORKFLOWS if each not in (BorrowWorkflow, RepayWorkflow)]
    pinned = [PinnedBorrowWorkflow, PinnedRepayWorkflow, *unversioned]
    assert await replay(history, pinned) == recorded_steps(history)


def test_every_path_is_recorded() -> None:
    """There is a history for each path that can be recorded, and none that nobody can record again."""
    assert RECORDED == sorted(PATHS) == saved_names()


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("borrow-active", WaitsBeforeItBorrows),
        ("borrow-refused", FeeBeforeCreditLine),
    ],
)
async def test_a_changed_workflow_does_not_replay(name: str, changed: type) -> None:
    """A workflow with one step more, or two swapped, cannot go on from a saved history."""
    with pytest.raises(workflow.NondeterminismError):
        await replay(load(name), [changed])


async def test_swapped_legs_are_noticed() -> None:
    """Legs that change places pass Temporal's own check, and are told by what the steps say that they do."""
    history = load("borrow-active")
    steps = await replay(history, [PaysBeforeItBorrows])
    recorded = recorded_steps(history)
    assert [name for name, _ in steps] == [name for name, _ in recorded]
    assert steps != recorded
