"""What the API logs while it answers says whose request it was."""

from sqlalchemy import text
from structlog.contextvars import get_contextvars, merge_contextvars
from structlog.testing import capture_logs

from tests.api.desk import Desk


async def test_a_failure_names_partner_route_trace_and_operation(desk: Desk) -> None:
    """The line about a bug leads to the call in the request log, to its trace and to the operation that it was about."""
    async with desk.transaction() as session:
        await session.execute(
            text("ALTER TABLE operations ADD CONSTRAINT no_poison CHECK (partner_loan_id <> 'poison')")
        )
    with capture_logs(processors=[merge_contextvars]) as lines:
        answer = await desk.borrow(partner_loan_id="poison")
    (line,) = [dict(line) for line in lines if line["event"] == "unexpected failure"]
    assert line["partner_id"] == "acme"
    assert line["route"] == "/v1/loans"
    assert line["trace_id"] == answer.json()["trace_id"]
    assert line["operation_id"] == "borrow:acme:loan~poison"


async def test_nothing_of_a_request_is_named_after_it(desk: Desk) -> None:
    """A connection is used by many requests; each names only itself."""
    await desk.borrow()
    assert "partner_id" not in get_contextvars()
    assert "operation_id" not in get_contextvars()
