"""Tracing is for people who look; where nobody receives spans, the engine goes on as if it did not trace."""

import time
from datetime import timedelta

from sandbox.engine import API, WORKER
from sandbox.services.ports import leased_port
from tests.faults.processes import Site, open_running, start_and_fund

STOPS_WITHIN = timedelta(seconds=30)


async def test_a_receiver_that_is_away_stops_nothing(site: Site) -> None:
    """A borrow becomes a loan, and the processes stop as soon as they are told to."""
    with leased_port(None) as nobody:
        async with open_running(site, OTLP_ENDPOINT=f"http://127.0.0.1:{nobody}", TRACE_PERCENT="100") as running:
            await start_and_fund(running, API, WORKER)
            answer = await running.engine.borrow(await running.engine.new_borrower())
            done = await running.finishes(answer.json()["operation_id"])
            assert done["outcome"]["status"] == "ACTIVE"
            begun = time.monotonic_ns()
            await running.processes.stop_all()
            assert timedelta(microseconds=(time.monotonic_ns() - begun) // 1_000) < STOPS_WITHIN
