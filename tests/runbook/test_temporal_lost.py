"""What the runbook says of Temporal: an empty server takes over, a queue is drained, a new build is made current."""

from dataclasses import replace
from datetime import timedelta
from functools import partial
from uuid import uuid4

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from models.statuses import LegName
from sandbox.services import Temporal
from schedules import keep_schedules, recurring
from startup import ensure_search_attributes
from tests.engine import BuildEngine, until
from tests.runbook import shell
from tests.workflows.moments import leg_is
from tests.workflows.test_builds import of_build, pinned_to
from tests.workflows.test_runs_again import hold_after
from tests.workflows.test_sweep import aged


async def test_an_empty_server_takes_over(build_engine: BuildEngine, temporal_server: Temporal) -> None:
    """A borrow whose USDC is in flight when its history is gone is paid out once, by the schedule of the new namespace."""
    async with build_engine(sweep_every=timedelta(seconds=1)) as engine, engine.lane():
        async with engine.loans():
            hold_after(engine, LegName.BORROW)
            answer = await engine.borrow(await engine.new_borrower())
            operation_id = answer.json()["operation_id"]
            await until(partial(leg_is, engine, operation_id, ("borrow", 1, "FINAL_OK")))
        engine.release_submissions()
        empty = f"empty-{uuid4().hex}"
        await temporal_server.create_namespace(empty)
        temporal = await Client.connect(
            temporal_server.address, namespace=empty, data_converter=pydantic_data_converter
        )
        await ensure_search_attributes(temporal)
        await keep_schedules(temporal, recurring(engine.settings))
        await aged(engine)
        async with replace(engine, temporal=temporal).loans():
            done = await engine.operation(operation_id, wait=30)
        assert done["outcome"]["status"] == "ACTIVE"
        assert await engine.legs(operation_id) == [("borrow", 1, "FINAL_OK"), ("settle", 1, "FINAL_OK")]
        await engine.assert_sound()


async def test_drained(build_engine: BuildEngine, temporal_server: Temporal) -> None:
    """The count that is waited for before a stop tells what runs, and becomes zero when the last operation has ended."""
    async with build_engine() as engine, engine.loans():
        answer = await engine.borrow(await engine.new_borrower())
        where = {"TEMPORAL_ADDRESS": temporal_server.address, "TEMPORAL_NAMESPACE": engine.temporal.namespace}

        async def counted(number: int) -> bool:
            status, said = await shell.run("drained", **where)
            assert status == 0, said
            return said.strip() == f"Total: {number}"

        await until(partial(counted, 1))
        async with engine.lane():
            await engine.finished(answer)
        await until(partial(counted, 0))


async def test_a_new_build_is_made_current(build_engine: BuildEngine, temporal_server: Temporal) -> None:
    """By the command of the page; a borrow that comes after it is begun by that build, and its page says so."""
    async with build_engine() as first:
        engine = of_build(first, "b1")
        where = {
            "TEMPORAL_ADDRESS": temporal_server.address,
            "TEMPORAL_NAMESPACE": engine.temporal.namespace,
            "ENGINE_WORKER_DEPLOYMENT": engine.settings.worker_deployment or "",
            "ENGINE_BUILD_ID": "b1",
        }

        async def made_current() -> bool:
            return (await shell.run("set-current", **where))[0] == 0

        async with engine.lane(), engine.loans():
            await until(made_current)
            done = await engine.active_loan(await engine.new_borrower())
            assert (await pinned_to(engine, done["operation_id"]))[0] == "b1"
            status, said = await shell.run("describe", **where)
            assert (status, "b1" in said) == (0, True)
        await engine.assert_sound()
