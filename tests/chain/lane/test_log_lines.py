"""What the lane logs about one leg says whose it is."""

from dataclasses import replace
from typing import Any

from structlog.testing import capture_logs

from models.statuses import TransactionState
from models.tables.operations import Operation
from tests.chain.lane.desk import Desk, eventually
from tests.chain.world import USD

TRACE, LOAN = "ab" * 16, "loan-of-the-test"


def about(lines: list[Any], event: str) -> list[dict[str, Any]]:
    return [dict(line) for line in lines if line["event"] == event]


async def test_a_final_leg_is_one_line(desk: Desk) -> None:
    """It names the leg, its state, its transaction, its operation and its partner."""
    await desk.lane_known()
    with capture_logs() as lines:
        operation_id = await desk.settle()
        async with desk.running():
            row = await desk.until(operation_id, "settle", TransactionState.FINAL_OK)
            await eventually(lambda: _said(lines, "leg_final"))
    (line,) = about(lines, "leg_final")
    assert (
        line
        | {
            "leg": f"{operation_id}/settle/1",
            "state": "FINAL_OK",
            "hash": row.result_tx_hash,
            "operation_id": operation_id,
            "partner_id": operation_id.split(":")[1],
        }
        == line
    )


async def test_a_leg_that_is_held_names_its_loan_and_trace(desk: Desk) -> None:
    """An operator goes from the line to the loan and to Jaeger without a query."""
    await desk.lane_known()
    with capture_logs() as lines:
        operation_id = await desk.funded(USD)
        async with desk.transaction() as session:
            operation = await session.get_one(Operation, operation_id)
            operation.trace_id, operation.loan_id = TRACE, LOAN
        await desk.queue(replace(desk.transfer(operation_id, USD), expected_logs=()))
        async with desk.running():
            await desk.until(operation_id, "settle", TransactionState.HELD)
            await eventually(lambda: _said(lines, "leg_held"))
    (line,) = about(lines, "leg_held")
    assert (line["operation_id"], line["loan_id"], line["trace_id"]) == (operation_id, LOAN, TRACE)


async def _said(lines: list[Any], event: str) -> bool:
    return bool(about(lines, event))
