"""Whose a line of the log is: the ids that lines about a request, a step or a leg name wherever they are known.

They are kept in context variables, so that what a library logs in the middle names them as well. An operation's id names
its partner; its loan and trace are in its row, and are named as soon as somebody has read it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from structlog.contextvars import bind_contextvars, get_contextvars, unbind_contextvars

from models.statuses import OperationKind

NAMES = ("operation_id", "loan_id", "partner_id", "route", "trace_id")
_OF_PARTNERS = (f"{OperationKind.BORROW.lower()}:", f"{OperationKind.REPAY.lower()}:")


def whose(operation_id: str) -> dict[str, str]:
    """What an operation's id tells: itself, and its partner unless it is the engine's own."""
    partner = {"partner_id": operation_id.split(":")[1]} if is_partners(operation_id) else {}
    return {"operation_id": operation_id, **partner}


def is_partners(workflow_id: str) -> bool:
    """Whether it is the id of an operation that a partner asked for; other workflows do the engine's own work."""
    return workflow_id.startswith(_OF_PARTNERS)


def name_from_here(**known: str | None) -> None:
    """Every line of this task names these from here on. What is not known is left as it was."""
    bind_contextvars(**{name: value for name, value in known.items() if value is not None})


@contextmanager
def lines_about(**known: str | None) -> Iterator[None]:
    """A block whose lines name these, and nothing of what the block around it is about."""
    before = {name: value for name, value in get_contextvars().items() if name in NAMES}
    unbind_contextvars(*NAMES)
    name_from_here(**known)
    try:
        yield
    finally:
        unbind_contextvars(*NAMES)
        bind_contextvars(**before)
