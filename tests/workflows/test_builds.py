"""Pinned builds: the build that began an operation ends it, and new operations begin on the build that is current."""

from dataclasses import replace
from functools import partial

from temporalio.api.workflowservice.v1 import SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import WorkflowHandle
from temporalio.common import VersioningBehavior
from temporalio.service import RPCError, RPCStatusCode

from tests.engine import BuildEngine, Engine, until
from wiring import deployment
from workflows.options import LOANS_QUEUE
from workflows.sweep import SweepWorkflow

DEPLOYMENT = "loan-engine"
UNVERSIONED = ""


def of_build(engine: Engine, build_id: str) -> Engine:
    """The same engine, whose workers are this build."""
    settings = engine.settings.model_copy(update={"worker_deployment": DEPLOYMENT, "build_id": build_id})
    return replace(engine, settings=settings, parts=replace(engine.parts, settings=settings))


async def make_current(engine: Engine, build_id: str) -> None:
    """What an operator types once the workers of a build are there: they register themselves as they begin to poll."""
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace=engine.temporal.namespace, deployment_name=DEPLOYMENT, build_id=build_id, identity="tests"
    )

    async def is_made() -> bool:
        try:
            await engine.temporal.workflow_service.set_worker_deployment_current_version(request)
        except RPCError as error:
            if error.status in {RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION}:
                return False
            raise
        return True

    await until(is_made)


async def builds_of(handle: WorkflowHandle[object, object]) -> list[str]:
    """Which builds carried out the workflow's tasks, each once, in order."""
    history = await handle.fetch_history()
    completed = [
        event.workflow_task_completed_event_attributes
        for event in history.events
        if event.HasField("workflow_task_completed_event_attributes")
    ]
    return list(dict.fromkeys(each.deployment_version.build_id for each in completed))


async def pinned_to(engine: Engine, operation_id: str) -> tuple[str, int]:
    described = await engine.temporal.get_workflow_handle(operation_id).describe()
    info = described.raw_description.workflow_execution_info.versioning_info
    return info.deployment_version.build_id, info.behavior


async def begun(engine: Engine) -> str:
    """A borrow that is accepted, and waits for a lane."""
    answer = await engine.borrow(await engine.new_borrower())
    assert "quote" in answer.json(), answer.text
    operation_id: str = answer.json()["operation_id"]
    return operation_id


async def test_a_new_build_takes_new_operations_and_the_old_one_ends_its_own(build_engine: BuildEngine) -> None:
    """With two builds at work each ends what it began; what the clock starts runs on the build that is current."""
    async with build_engine() as engine, of_build(engine, "one").loans():
        await make_current(engine, "one")
        first = await begun(engine)
        async with of_build(engine, "two").loans():
            await make_current(engine, "two")
            second = await begun(engine)
            async with engine.lane():
                done = [await engine.operation(each) for each in (first, second)]
            sweep = await engine.temporal.start_workflow(SweepWorkflow.run, id="sweep", task_queue=LOANS_QUEUE)
            await sweep.result()
        assert [each["outcome"]["status"] for each in done] == ["ACTIVE", "ACTIVE"]
        handles = [engine.temporal.get_workflow_handle(each) for each in (first, second, "sweep")]
        assert [await builds_of(handle) for handle in handles] == [["one"], ["two"], ["two"]]
        assert await pinned_to(engine, first) == ("one", VersioningBehavior.PINNED)
        await engine.assert_sound()


async def test_operations_of_unversioned_workers_go_on_with_the_first_build(build_engine: BuildEngine) -> None:
    """Versions can be switched on under way: the first build that is made current takes up what is open."""
    async with build_engine() as engine:
        async with engine.loans():
            operation_id = await begun(engine)
        async with of_build(engine, "one").loans():
            await make_current(engine, "one")
            async with engine.lane():
                done = await engine.operation(operation_id)
        assert done["outcome"]["status"] == "ACTIVE"
        assert await builds_of(engine.temporal.get_workflow_handle(operation_id)) == [UNVERSIONED, "one"]
        await engine.assert_sound()


async def test_an_operation_waits_for_its_own_build(build_engine: BuildEngine) -> None:
    """With the workers of its build gone an operation waits, and no other build touches it; it goes on with their return."""
    async with build_engine() as engine:
        async with of_build(engine, "one").loans():
            await make_current(engine, "one")
            first = await begun(engine)
        async with of_build(engine, "two").loans(), engine.lane():
            await make_current(engine, "two")
            await engine.operation(await begun(engine))
            assert (await engine.operation(first, wait=0))["state"] != "DONE"
            async with of_build(engine, "one").loans():
                assert (await engine.operation(first))["outcome"]["status"] == "ACTIVE"
        assert await builds_of(engine.temporal.get_workflow_handle(first)) == ["one"]


async def test_workers_are_unversioned_where_nothing_is_set(build_engine: BuildEngine) -> None:
    """Without the two settings a worker is what it was before there were builds."""
    async with build_engine() as engine, engine.loans(), engine.lane():
        assert deployment(engine.settings) is None
        operation_id = await begun(engine)
        await until(partial(_is_active, engine, operation_id))
        assert await builds_of(engine.temporal.get_workflow_handle(operation_id)) == [UNVERSIONED]


async def _is_active(engine: Engine, operation_id: str) -> bool:
    return bool((await engine.operation(operation_id))["outcome"]["status"] == "ACTIVE")
