"""``operate.py``: what an operator types, and what is read in answer. Nothing here writes a row by another way."""

import functools
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from google.protobuf.duration_pb2 import Duration
from sqlalchemy import select
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from chain.types import CallRequest
from models.errors import InvariantBroken
from models.statuses import IncidentKind, OperationKind, OperationState, TransactionState
from models.tables.incident_book import open_incident
from models.tables.operations import Operation
from models.tables.operators import Incident, OperatorAction
from models.tables.transactions import ChainSigner
from sandbox.services import Temporal
from startup import SettingAtFault, ensure_search_attributes
from tests.engine import BuildEngine, Engine, until
from tests.factories import new_leg
from tests.operating import Say
from tests.workflows.moments import held_borrow, leg_is, under_review

WHO = ("--operator", "ada", "--reason", "the test says so")


async def test_a_hold_from_sight_to_resolution(build_engine: BuildEngine, say: Say) -> None:
    """An operator sees what is under review and what is possible, resolves the hold, and it is gone from the list."""
    async with build_engine() as engine, engine.loans():
        async with held_borrow(engine) as (_, answer):
            operation_id = answer.json()["operation_id"]
            await until(functools.partial(under_review, engine, operation_id))
        status, said = await say(engine, "review")
        assert status == 0
        assert "operations under review: 1" in said
        assert f"{operation_id} (" in said
        assert "possible: cancel, resolve-hold" in said
        status, said = await say(engine, "retry", operation_id, *WHO)
        assert (status, said) == (1, "nothing waits for a retry now: the engine goes on by itself\n")
        resolve = ("resolve-hold", operation_id, "--leg", "borrow", "--resolution", "resume", *WHO)
        assert await say(engine, *resolve) == (0, "borrow is BROADCAST\n")
        async with engine.lane():
            assert (await engine.finished(answer))["outcome"]["status"] == "ACTIVE"
        _, said = await say(engine, "review")
        assert "operations under review: 0" in said
        status, said = await say(engine, "cancel", operation_id, *WHO)
        assert (status, "has no running workflow" in said) == (1, True)
        await engine.assert_sound()


async def test_cancel_on_the_command_line(build_engine: BuildEngine, say: Say) -> None:
    """A borrow that is QUEUED is given up by one command."""
    async with build_engine() as engine, engine.loans():
        answer = await engine.borrow(await engine.new_borrower())
        operation_id = answer.json()["operation_id"]
        await until(functools.partial(leg_is, engine, operation_id, ("borrow", 1, "QUEUED")))
        assert await say(engine, "cancel", operation_id, *WHO) == (
            0,
            "the leg 'borrow' was given up before it was sent\n",
        )
        assert (await engine.finished(answer))["outcome"]["status"] == "FAILED"
        await engine.assert_sound()


async def test_a_signer_is_paused_and_resumed(build_engine: BuildEngine, say: Say) -> None:
    """A paused signer takes no nonce until it is resumed; both are on record, and listed while they last."""
    async with build_engine() as engine, engine.loans(), engine.lane():
        wallet = engine.chain.wallet
        assert await say(engine, "pause-signer", *WHO) == (0, f"{wallet} is paused\n")
        answer = await engine.borrow(await engine.new_borrower())
        assert f"{wallet} (chain {engine.chain.chain_id}) by ada: the test says so" in (await say(engine, "review"))[1]
        assert await engine.legs(answer.json()["operation_id"]) == [("borrow", 1, "QUEUED")]
        assert await say(engine, "resume-signer", *WHO) == (0, f"{wallet} goes on\n")
        assert (await engine.finished(answer))["outcome"]["status"] == "ACTIVE"
        unknown = "0x" + "ab" * 20
        status, said = await say(engine, "pause-signer", "--address", unknown, *WHO)
        assert (status, "no signer" in said) == (1, True)
        await engine.assert_sound()


async def test_a_signer_with_a_held_leg_is_not_resumed_by_accident(build_engine: BuildEngine, say: Say) -> None:
    """While a leg is HELD a signer is resumed only by an operator who says so; an open incident is listed."""
    async with build_engine() as engine, engine.loans():
        await say(engine, "pause-signer", *WHO)
        async with engine.transaction() as session:
            session.add(
                Operation(
                    id="system:tests",
                    kind=OperationKind.SYSTEM,
                    idempotency_key="tests",
                    state=OperationState.OPEN,
                )
            )
            await session.flush()
            operation = await session.get_one(Operation, "system:tests")
            where = {"signer": engine.chain.wallet, "chain_id": engine.chain.chain_id}
            await new_leg(session, operation, "approve", TransactionState.HELD, **where)
            await open_incident(session, IncidentKind.LEG_HELD, "system:tests/approve/1", "it is held")
        status, said = await say(engine, "resume-signer", *WHO)
        assert (status, "Resolve the holds of system:tests/approve/1 first" in said) == (1, True)
        said = (await say(engine, "review"))[1]
        assert "holds of the lane's own legs: 1" in said
        assert "LEG_HELD system:tests/approve/1: it is held" in said
        resolve = ("resolve-hold", "system:tests", "--leg", "approve", "--resolution", "accept", *WHO)
        status, said = await say(engine, *resolve)
        assert (status, "No attempt of system:tests/approve/1" in said) == (1, True)
        assert (await say(engine, "resume-signer", "--despite-held", *WHO))[0] == 0
        async with engine.transaction() as session:
            signer = await session.get_one(ChainSigner, (engine.chain.chain_id, engine.chain.wallet))
            assert signer.paused_at is None


async def test_a_setting_at_fault_is_named(build_engine: BuildEngine, say: Say) -> None:
    """Where Temporal is away the command says which setting to look at, and has exit status 2."""
    async with build_engine() as engine:
        away = {"temporal_address": "127.0.0.1:1"}
        status, said = await say(replace(engine, settings=engine.settings.model_copy(update=away)), "review")
        assert (status, "ENGINE_TEMPORAL_ADDRESS" in said) == (2, True)


async def test_a_namespace_without_the_search_attribute_gets_it(
    temporal_server: Temporal, build_engine: BuildEngine
) -> None:
    """A worker adds what operators list by, and what was added is there for the next one."""
    async with build_engine() as engine:
        bare = f"bare-{uuid4().hex}"
        await register(engine.temporal, bare)
        client = await Client.connect(temporal_server.address, namespace=bare)
        with pytest.raises(RPCError):
            await client.count_workflows("AttentionReason = 'none'")
        await ensure_search_attributes(client)
        await ensure_search_attributes(client)
        assert (await client.count_workflows("AttentionReason = 'none'")).count == 0


async def test_a_search_attribute_of_another_type_is_a_fault(
    temporal_server: Temporal, build_engine: BuildEngine
) -> None:
    """Where the attribute cannot be what the engine needs, the worker names the setting and the command."""
    async with build_engine() as engine:
        bare = f"bare-{uuid4().hex}"
        await register(engine.temporal, bare)
        client = await Client.connect(temporal_server.address, namespace=bare)
        integer = {"AttentionReason": IndexedValueType.INDEXED_VALUE_TYPE_INT}
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=bare, search_attributes=integer)
        )
        with pytest.raises(SettingAtFault, match=r"ENGINE_TEMPORAL_NAMESPACE: .*search-attribute create") as fault:
            await ensure_search_attributes(client, timedelta(seconds=2))
        assert bare in str(fault.value)


async def register(temporal: Client, namespace: str) -> None:
    await temporal.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace=namespace, workflow_execution_retention_period=Duration(seconds=86_400))
    )


async def test_an_incident_that_nothing_closes(build_engine: BuildEngine, say: Say) -> None:
    """A person closes what was seen to, by the id that the list shows; who did and why is kept, and once is enough."""
    async with build_engine() as engine, engine.loans():
        async with engine.transaction() as session:
            await open_incident(session, IncidentKind.FINAL_TRANSFER_MOVED, "0xabc", "a block that was final is gone")
        _, listed = await say(engine, "review")
        (shown,) = [line for line in listed.splitlines() if "FINAL_TRANSFER_MOVED" in line]
        incident = shown.split()[0]
        assert await say(engine, "close-incident", incident, *WHO) == (
            0,
            f"{incident} is closed: FINAL_TRANSFER_MOVED 0xabc\n",
        )
        status, words = await say(engine, "close-incident", incident, *WHO)
        assert (status, words) == (1, f"No incident {incident} is open. 'review' lists those that are.\n")
        async with engine.transaction() as session:
            action = (await session.scalars(select(OperatorAction))).one()
        assert (action.action, action.subject, action.operator) == ("CLOSE_INCIDENT", incident, "ada")


async def test_a_step_that_meets_what_must_never_be(engine: Engine) -> None:
    """It is tried for ever, and a person is told of it; once it is mended the operation ends as if nothing had been."""

    async def break_it(_: CallRequest) -> None:
        raise InvariantBroken("the test says so")

    engine.client.before_simulation = break_it
    answer = await engine.borrow(await engine.new_borrower())
    subject = f"step submit_transaction of {answer.json()['operation_id']}"
    await until(lambda: _stands(engine, subject))
    engine.release_submissions()
    assert (await engine.finished(answer))["outcome"]["status"] == "ACTIVE"


async def _stands(engine: Engine, subject: str) -> bool:
    query = select(Incident.detail).where(Incident.subject == subject, Incident.closed_at.is_(None))
    async with engine.transaction() as session:
        return await session.scalar(query) == "the test says so"
