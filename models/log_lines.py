"""Whose a line of the log is: the ids that lines about a request, a step or a leg name wherever they are known.

They are kept in context variables, so that what a library logs in the middle names them as well. An operation's id names
its partner; its loan and trace are in its row, and are named as soon as somebody has read it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from structlog.contextvars import bind_contextvars, get_contextvars, unbind_contextvars

NAMES = ("operation_id", "loan_id", "partner_id", "route", "trace_id")
_PARTS = 3


def whose(operation_id: str) -> dict[str, str]:
    """What an operation's id tells: itself, and its partner unless it is the engine's own."""
    parts = operation_id.split(":", _PARTS - 1)
    partner = {"partner_id": parts[1]} if len(parts) == _PARTS and parts[0] != "system" else {}
    return {"operation_id": operation_id, **partner}


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
