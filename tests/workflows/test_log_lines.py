"""What a worker logs while a step runs says whose step it is, also where Temporal's SDK is the one that logs."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.contextvars import get_contextvars

from chain.types import CallRequest
from models.errors import InvariantBroken
from tests.engine import Engine, until
from tests.workflows.moments import failing


class Said(logging.Handler):
    """What is logged, each line with the names that it would have."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append({"event": record.getMessage(), **get_contextvars()})

    def failures(self, step: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line.get("step") == step and "as failed" in line["event"]]


@pytest.fixture
def said() -> Iterator[Said]:
    handler = Said()
    logging.getLogger("temporalio.activity").addHandler(handler)
    yield handler
    logging.getLogger("temporalio.activity").removeHandler(handler)


async def test_a_step_that_fails_names_its_operation_partner_loan_and_step(engine: Engine, said: Said) -> None:
    """Also at the end of the step, where the SDK logs its failure."""

    async def fail(_: CallRequest) -> None:
        raise InvariantBroken("the test says so")

    engine.client.before_simulation = fail
    answer = (await engine.borrow(await engine.new_borrower())).json()

    async def failed() -> bool:
        return bool(said.failures("submit_transaction"))

    await until(failed)
    engine.release_submissions()
    (line, *_) = said.failures("submit_transaction")
    assert line["operation_id"] == answer["operation_id"]
    assert line["partner_id"] == engine.partner.id
    assert (await engine.operation(answer["operation_id"]))["state"] == "DONE"


async def test_a_step_that_reads_its_operation_names_the_loan_and_the_trace(engine: Engine, said: Said) -> None:
    """What the step's input does not tell, its row does."""

    async def failed() -> bool:
        return bool(said.failures("record_borrow"))

    async with failing(engine, "reservations"):
        answer = (await engine.borrow(await engine.new_borrower())).json()
        await until(failed)
    (line, *_) = said.failures("record_borrow")
    row = await engine.operation_row(answer["operation_id"])
    assert None not in (row.loan_id, row.trace_id)
    assert (line["operation_id"], line["loan_id"], line["trace_id"]) == (row.id, row.loan_id, row.trace_id)
