"""The alerts about processes and neighbours, on real processes: each is away, is found as its entry says, and is brought back."""

import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.engine import until
from tests.faults.processes import Running
from tests.faults.test_away import bring_back, what_it_says
from tests.metrics.scraping import Scrape, scrape
from tests.metrics.test_processes import API, BACK_SECONDS, LANE, LOANS, Told
from tests.operating import Say
from tests.runbook import shell
from tests.runbook.entries import trying
from tests.runbook.states import figure

pytest_plugins: list[str] = []


def places(told: Told) -> dict[str, str]:
    processes, settings = told.running.processes, told.running.engine.settings
    return {
        **processes.variables,
        "TEMPORAL_ADDRESS": settings.temporal_address,
        "TEMPORAL_NAMESPACE": settings.temporal_namespace,
    }


async def says(told: Told, name: str, value: int) -> None:
    async def is_told() -> bool:
        return (await told.figures()).get(name) == value

    await until(is_told, BACK_SECONDS)


async def borrows(running: Running) -> None:
    answer = await running.engine.borrow(await running.engine.new_borrower())
    done = await running.finishes(answer.json()["operation_id"])
    assert done["outcome"]["status"] == "ACTIVE"
