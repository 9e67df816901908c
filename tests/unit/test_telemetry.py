"""Logs: one line of JSON for each event, whoever wrote it. Tried in a process of its own, since logging is set up for all."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WRITES = """
import logging
import structlog
from telemetry import configure_logging

configure_logging("worker-lane", level=logging.INFO)
structlog.get_logger().info("leg sent", leg="borrow", nonce=7)
logging.getLogger("elsewhere").warning("a %s of the library", "warning")
structlog.get_logger().debug("too much")
with structlog.contextvars.bound_contextvars(operation_id="borrow:acme:1"):
    try:
        raise ValueError("no such leg")
    except ValueError:
        structlog.get_logger().exception("step failed")
"""


@pytest.fixture(scope="module")
def lines() -> list[dict[str, Any]]:
    """What a process that writes four events has written to its standard error."""
    written = subprocess.run(  # noqa: S603 - our own interpreter and script
        [sys.executable, "-c", WRITES], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    assert written.stdout == ""
    return [json.loads(line) for line in written.stderr.splitlines()]


def test_one_line_an_event(lines: list[dict[str, Any]]) -> None:
    """Each event is one line; what is below the level is not written."""
    assert [line["event"] for line in lines] == ["leg sent", "a warning of the library", "step failed"]


def test_every_line_says_whose_and_when(lines: list[dict[str, Any]]) -> None:
    """The service, the level and the time in UTC stand in lines of libraries as well."""
    assert {line["service"] for line in lines} == {"worker-lane"}
    assert [line["level"] for line in lines] == ["info", "warning", "error"]
    assert all(line["timestamp"].endswith("Z") for line in lines)


def test_values_stay_values(lines: list[dict[str, Any]]) -> None:
    """A number is written as a number, under its own name."""
    assert (lines[0]["leg"], lines[0]["nonce"]) == ("borrow", 7)


def test_an_exception_keeps_its_context(lines: list[dict[str, Any]]) -> None:
    """A failure carries its traceback and the operation that it happened in."""
    assert lines[2]["operation_id"] == "borrow:acme:1"
    assert "ValueError: no such leg" in lines[2]["exception"]
