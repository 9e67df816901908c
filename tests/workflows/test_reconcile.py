"""The engine audits itself: what is missing pauses the signer, what is too much never does (money.md section 8)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import select
from temporalio.client import ScheduleActionExecutionStartWorkflow, WorkflowHandle

from chain.client import ChainClient
from chain.contracts.usdc import encode_transfer_from
from chain.scan import move_cursor
from chain.signers import resume_signer
from contracts.deploy import Sender, Transaction
from contracts.funding import mint_usdc
from models import accounts
from models.messages.reconcile import Look, Reconciliation
from models.statuses import EventType, IncidentKind
from models.tables import book
from models.tables.incident_book import open_incident
from models.tables.operations import Event
from models.tables.operators import Incident
from models.tables.transactions import ChainSigner
from sandbox.services import Anvil
from schedules import Recurring, keep_schedules
from tests.chain.world import USD, new_sender
from tests.engine import BuildEngine, Engine, until
from tests.workflows.test_repay_table import seen
from workflows.options import LOANS_QUEUE
from workflows.reconcile import AuditWorkflow, ReconcileWorkflow

STOLEN = 100 * USD
BEFORE_THE_ENGINE = 300
"""Blocks: more than a test's contracts and accounts take, and few enough to be mined in one request on a busy machine."""


async def audit(engine: Engine) -> Reconciliation:
    """One run over everything, on a chain that goes on meanwhile."""
    run = asyncio.ensure_future(
        engine.temporal.execute_workflow(AuditWorkflow.run, id=f"audit-{uuid4().hex}", task_queue=LOANS_QUEUE)
    )
    while not run.done():
        await engine.client.rpc.call("evm_mine")
        await asyncio.wait({run}, timeout=0.2)
    return await run


async def open_incidents(engine: Engine) -> Sequence[Incident]:
    query = select(Incident).where(Incident.closed_at.is_(None)).order_by(Incident.subject)
    async with engine.transaction() as session:
        return (await session.scalars(query)).all()


async def paused_by(engine: Engine) -> str | None:
    async with engine.transaction() as session:
        return await session.scalar(select(ChainSigner.paused_by))


@asynccontextmanager
async def robbed(build_engine: BuildEngine) -> AsyncIterator[tuple[Engine, str]]:
    """The lane is stopped, and then the wallet's key sends USDC past the engine."""
    async with build_engine() as engine, engine.loans():
        async with engine.lane():
            await engine.fund_float()
            await until(engine.float_is_booked)
        thief = Sender(engine.client, engine.signer_file.read_text())
        yield engine, await engine.transfer(thief, engine.partner.settlement.address, STOLEN)


async def test_usdc_that_went_out_by_itself_pauses_the_signer(build_engine: BuildEngine) -> None:
    """A transfer that no leg explains is an incident with an event for operators, and the signer takes no nonce any more."""
    async with robbed(build_engine) as (engine, tx_hash):
        result = await audit(engine)
        assert result.paused
        assert await paused_by(engine) == "reconciliation"
        subjects = [incident.subject for incident in await open_incidents(engine)]
        assert any(tx_hash in subject for subject in subjects)
        assert f"invariant 3: {engine.chain.wallet}" in subjects
        async with engine.transaction() as session:
            told = select(Event.payload).where(Event.type == EventType.INCIDENT_OPENED)
            assert sorted(payload["subject"] for payload in await session.scalars(told)) == subjects


async def test_a_person_who_resumes_the_signer_is_not_overruled(build_engine: BuildEngine) -> None:
    """A breach that was seen before neither opens a second incident nor pauses again what a person has resumed."""
    async with robbed(build_engine) as (engine, _):
        first = await audit(engine)
        async with engine.transaction() as session:
            assert await resume_signer(session, engine.chain.chain_id, engine.chain.wallet)
        again = await audit(engine)
        assert (again.breaches, again.opened, again.paused) == (first.breaches, 0, False)
        assert await paused_by(engine) is None


async def test_nobody_stops_the_engine_by_sending_it_usdc(engine: Engine) -> None:
    """A stranger's base unit, and a transfer of nothing that he has logged in the wallet's name, are no incident at all."""
    stranger = await new_sender(engine.client)
    await mint_usdc(engine.owner, engine.contracts, stranger.address, 1)
    poison = encode_transfer_from(engine.chain.wallet, stranger.address, 0)
    (receipt,) = await stranger.send(Transaction(engine.contracts.usdc, poison))
    assert receipt.succeeded
    assert len(receipt.logs) == 1
    tx_hash = await engine.transfer(stranger, engine.chain.wallet, 1)
    await until(lambda: seen(engine, tx_hash))
    result = await audit(engine)
    assert (result.breaches, result.booked, result.paused) == (0, 0, False)
    assert await open_incidents(engine) == []
    assert await paused_by(engine) is None
    await engine.active_loan(await engine.new_borrower())


async def test_a_surplus_goes_to_suspense_and_alerts(build_engine: BuildEngine, anvil: Anvil) -> None:
    """USDC from before the engine's first block is booked once, an incident while it is news, and pauses nothing."""
    async with ChainClient(anvil.url) as client:
        head = (await client.head()).number
    async with build_engine(inbound_from_block=head + BEFORE_THE_ENGINE) as engine, engine.loans():
        await mint_usdc(engine.owner, engine.contracts, engine.chain.wallet, 7)
        await engine.client.rpc.call("anvil_mine", hex(BEFORE_THE_ENGINE))
        async with engine.lane():
            result = await audit(engine)
            assert (result.booked, result.opened, result.paused) == (7, 1, False)
            assert [incident.kind for incident in await open_incidents(engine)] == [IncidentKind.SURPLUS]
            async with engine.transaction() as session:
                assert await book.balance(session, accounts.SUSPENSE) == 7
            again = await audit(engine)
            assert (again.breaches, again.booked) == (0, 0)
            assert await open_incidents(engine) == []
            await engine.assert_sound()


async def test_a_transfer_that_is_read_late_is_not_booked_twice(build_engine: BuildEngine) -> None:
    """What a node forgot to tell the lane is no surplus: the lane reads those blocks again, and USDC must not be missing then."""
    async with build_engine() as engine, engine.loans():
        stranger = await new_sender(engine.client)
        await mint_usdc(engine.owner, engine.contracts, stranger.address, 7)
        tx_hash = await engine.transfer(stranger, engine.chain.wallet, 7)
        async with engine.transaction() as session:
            head = (await engine.client.head()).number
            await move_cursor(session, engine.chain.chain_id, engine.chain.wallet, head)
        result = await audit(engine)
        assert (result.opened, result.booked, result.paused) == (1, 0, False)
        async with engine.lane():
            await until(lambda: seen(engine, tx_hash))
            result = await audit(engine)
            assert (result.breaches, result.paused) == (0, False)
            assert await open_incidents(engine) == []
            await engine.assert_sound()


async def test_only_what_an_audit_found_is_closed_by_an_audit(engine: Engine) -> None:
    """An event that could not be followed stays an incident, although every invariant holds."""
    async with engine.transaction() as session:
        await open_incident(session, IncidentKind.INVARIANT_BROKEN, "position 7", "an event could not be applied")
    assert (await audit(engine)).breaches == 0
    assert [incident.subject for incident in await open_incidents(engine)] == ["position 7"]


async def test_a_run_goes_on_from_where_the_last_one_found_nothing(engine: Engine) -> None:
    """The schedule's second run begins at the first one's block."""
    await engine.active_loan(await engine.new_borrower())
    await keep_schedules(engine.temporal, [Recurring("reconcile", ReconcileWorkflow, timedelta(hours=1))])
    first, second = [await triggered(engine, run) for run in (1, 2)]
    assert first.sound_up_to == first.block
    assert (second.sound_up_to, second.breaches) == (second.block, 0)
    assert [await looked_since(engine, run) for run in (1, 2)] == [None, first.block]


async def test_only_a_look_at_everything_closes_what_an_audit_found(engine: Engine) -> None:
    """A run that begins later does not see what was wrong before, and so cannot tell that it is over."""
    await keep_schedules(engine.temporal, [Recurring("reconcile", ReconcileWorkflow, timedelta(hours=1))])
    await triggered(engine, 1)
    async with engine.transaction() as session:
        await open_incident(
            session, IncidentKind.INVARIANT_BROKEN, "invariant 3: long ago", "found by an earlier audit"
        )
    await triggered(engine, 2)
    assert [incident.subject for incident in await open_incidents(engine)] == ["invariant 3: long ago"]
    await audit(engine)
    assert await open_incidents(engine) == []


async def looked_since(engine: Engine, run: int) -> int | None:
    """The block from which this run of the schedule read the chain."""
    history = await (await run_of_schedule(engine, run)).fetch_history()
    scheduled = [event.activity_task_scheduled_event_attributes for event in history.events]
    (asked,) = [each.input.payloads[0].data for each in scheduled if each.activity_type.name == "look"]
    return Look.model_validate_json(asked).since


async def triggered(engine: Engine, run: int) -> Reconciliation:
    """What this run of the schedule concluded."""
    schedule = engine.temporal.get_schedule_handle("reconcile")
    await schedule.trigger()

    async def started() -> bool:
        return (await schedule.describe()).info.num_actions == run

    await until(started)
    result: Reconciliation = await (await run_of_schedule(engine, run)).result()
    return result


async def run_of_schedule(engine: Engine, run: int) -> WorkflowHandle[Any, Reconciliation]:
    description = await engine.temporal.get_schedule_handle("reconcile").describe()
    action = description.info.recent_actions[run - 1].action
    assert isinstance(action, ScheduleActionExecutionStartWorkflow)
    return engine.temporal.get_workflow_handle(
        action.workflow_id, run_id=action.first_execution_run_id, result_type=Reconciliation
    )
