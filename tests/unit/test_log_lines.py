"""Whose a line of the log is."""

import pytest
from structlog.contextvars import bound_contextvars, get_contextvars

from models.log_lines import lines_about, name_from_here, whose


@pytest.mark.parametrize(
    ("operation_id", "partner"),
    [
        ("borrow:acme:loan~loan-1", {"partner_id": "acme"}),
        ("repay:acme:a:b", {"partner_id": "acme"}),
        ("system:approve:1", {}),
        ("sweep", {}),
    ],
)
def test_an_operation_s_id_names_its_partner(operation_id: str, partner: dict[str, str]) -> None:
    """The engine's own operations belong to none."""
    assert whose(operation_id) == {"operation_id": operation_id, **partner}


def test_a_block_names_nothing_of_what_is_around_it() -> None:
    """And gives back what was there before; what a process says of itself stays."""
    with bound_contextvars(service="api", operation_id="borrow:acme:1", trace_id="0" * 32):
        with lines_about(trace_id="1" * 32, loan_id=None):
            name_from_here(partner_id="umbrella", loan_id=None)
            assert get_contextvars() == {"service": "api", "trace_id": "1" * 32, "partner_id": "umbrella"}
        assert get_contextvars() == {"service": "api", "operation_id": "borrow:acme:1", "trace_id": "0" * 32}
