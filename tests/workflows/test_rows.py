"""Every row of the two tables of points of failure has a test that is there."""

import importlib

import pytest

from tests.workflows.rows import BORROW, REPAY

ROWS_OF_THE_DESIGN = 13 + 10
NAMED = [(row, name) for table in (BORROW, REPAY) for row, names in table.items() for name in names]


def test_every_row_is_walked() -> None:
    """The design's tables have so many rows, and each has a test."""
    assert len(BORROW) + len(REPAY) == ROWS_OF_THE_DESIGN
    assert all([*BORROW.values(), *REPAY.values()])


@pytest.mark.parametrize(("row", "name"), NAMED)
def test_a_rows_test_is_there(row: str, name: str) -> None:
    """A test that was renamed or lost leaves its row without proof."""
    module, test = name.split(".")
    assert callable(getattr(importlib.import_module(f"tests.workflows.{module}"), test)), row
