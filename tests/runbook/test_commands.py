"""Each command of the runbook, typed as its page prints it, against an engine that is in that state."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

from sqlalchemy import select

from chain.contracts.usdc import encode_transfer
from contracts.deploy import Sender, Transaction
from models.statuses import IncidentKind, LegName
from models.tables.incident_book import open_incident
from models.tables.operators import Incident
from models.tables.transactions import ChainAttempt
from tests.engine import BuildEngine, Engine, until
from tests.operating import Say
from tests.runbook.entries import trying
from tests.runbook.page import typed
from tests.runbook.states import figure
from tests.workflows.moments import held_borrow, leg_is, no_blocks, sent_and_held, under_review
from tests.workflows.test_operators import stuck_payout, waits_for
from tests.workflows.test_runs_again import hold_after
from tests.workflows.test_sweep import swept

SOON = timedelta(seconds=2)


async def test_review(build_engine: BuildEngine, say: Say) -> None:
    """What waits for a person is listed with its reason and what is possible."""
    async with waiting_payout(build_engine) as (engine, operation_id):
        status, said = await say(engine, *typed("review"))
        assert status == 0
        assert f"{operation_id} (" in said
        assert "settlement is not possible" in said
        assert "possible: retry, cancel" in said


async def test_retry(build_engine: BuildEngine, say: Say) -> None:
    """A payout that passed its deadline, and whose run was lost: the sweep opens it again, and a retry makes it ACTIVE."""
    tried = trying("settlement is not possible", "has no running workflow")
    async with waiting_payout(build_engine) as (engine, operation_id):
        await engine.temporal.get_workflow_handle(operation_id).terminate("the test says so")
        status, said = await tried.types(say, engine, "retry", OPERATION=operation_id)
        assert (status, "has no running workflow" in said) == (1, True)
        assert (await swept(engine)).reopened == (operation_id,)
        await until(partial(waits_for, engine, operation_id, "retry"))
        await engine.owner_calls(engine.contracts.usdc, "unpause()")
        assert await tried.types(say, engine, "retry", OPERATION=operation_id) == (0, "settle is tried again\n")
        assert (await engine.operation(operation_id))["outcome"]["status"] == "ACTIVE"
        await engine.assert_sound()


async def test_cancel(build_engine: BuildEngine, say: Say) -> None:
    """The same payout undone: the vault has its USDC back and nobody owes anything."""
    tried = trying("settlement is not possible")
    async with waiting_payout(build_engine) as (engine, operation_id):
        await engine.owner_calls(engine.contracts.usdc, "unpause()")
        assert await tried.types(say, engine, "cancel", OPERATION=operation_id) == (0, "the borrow is undone\n")
        assert (await engine.operation(operation_id))["outcome"]["status"] == "REVERSED"
        assert await engine.partner_usage() == (0, 0, 0, 0)
        await engine.assert_sound()


@asynccontextmanager
async def waiting_payout(build_engine: BuildEngine) -> AsyncIterator[tuple[Engine, str]]:
    async with build_engine(settle_deadline=SOON) as engine, engine.loans(), engine.lane():
        await engine.fund_float()
        await until(engine.float_is_booked)
        operation_id = await stuck_payout(engine, await engine.new_borrower())
        await until(partial(waits_for, engine, operation_id, "retry"))
        yield engine, operation_id


async def test_resolve_hold_resume(build_engine: BuildEngine, say: Say) -> None:
    """A leg that is on its way is watched again, and the borrow goes on."""
    tried = trying("is held: …", "it is not mined", "LegHeld")
    async with build_engine() as engine, engine.loans():
        async with held_borrow(engine) as (_, answer):
            operation_id = answer.json()["operation_id"]
            await until(partial(under_review, engine, operation_id))
        assert await figure(engine, "loan_engine_legs", state="HELD") == 1
        assert "borrow is held" in (await tried.types(say, engine, "review"))[1]
        held = {"OPERATION": operation_id, "LEG": "borrow"}
        said = await tried.types(say, engine, "resolve-hold --resolution resume", **held)
        assert said == (0, "borrow is BROADCAST\n")
        assert await figure(engine, "loan_engine_legs", state="HELD") == 0
        async with engine.lane():
            assert (await engine.finished(answer))["outcome"]["status"] == "ACTIVE"
        await engine.assert_sound()


async def test_resolve_hold_accept(build_engine: BuildEngine, say: Say) -> None:
    """A payout that was mined counts by its receipt; the incident about it closes."""
    tried = trying("an attempt of it is final", "`LEG_HELD`", "LegHeld")
    async with held_payout(build_engine) as (engine, operation_id):
        async with engine.transaction() as session:
            await open_incident(session, IncidentKind.LEG_HELD, f"{operation_id}/settle/1", "it is held")
        assert "LEG_HELD" in (await tried.types(say, engine, "review"))[1]
        held = {"OPERATION": operation_id, "LEG": "settle"}
        said = await tried.types(say, engine, "resolve-hold --resolution accept", **held)
        assert said == (0, "settle is FINAL_OK\n")
        assert (await engine.operation(operation_id))["outcome"]["status"] == "ACTIVE"
        assert await incidents(engine) == []
        await engine.assert_sound()


@asynccontextmanager
async def held_payout(build_engine: BuildEngine, *, stolen: bool = False) -> AsyncIterator[tuple[Engine, str]]:
    """A payout that is HELD on its way, and is mined; or another transaction of the wallet at its nonce is."""
    async with build_engine() as engine, engine.loans():
        await engine.new_borrower()
        hold_after(engine, LegName.BORROW)
        operation_id = (await engine.borrow(await engine.new_borrower())).json()["operation_id"]
        async with engine.lane():
            await until(partial(leg_is, engine, operation_id, ("borrow", 1, "FINAL_OK")))
        engine.release_submissions()
        await until(partial(leg_is, engine, operation_id, ("settle", 1, "QUEUED")))
        async with no_blocks(engine):
            await sent_and_held(engine, operation_id, "settle")
            await until(partial(under_review, engine, operation_id))
            if stolen:
                await drop_what_is_sent(engine)
        yield engine, operation_id


async def drop_what_is_sent(engine: Engine) -> None:
    async with engine.transaction() as session:
        hashes = await session.scalars(select(ChainAttempt.hash))
    for tx_hash in hashes:
        await engine.client.rpc.call("anvil_dropTransaction", tx_hash)


async def test_resolve_hold_with_evidence(build_engine: BuildEngine, say: Say) -> None:
    """A payout whose nonce another transaction used has no effect, and is made anew at another nonce."""
    tried = trying("another transaction used its nonce")
    async with held_payout(build_engine, stolen=True) as (engine, operation_id):
        wallet = Sender(engine.client, engine.signer_file.read_text())
        nothing = Transaction(engine.contracts.usdc, encode_transfer(engine.chain.wallet, 0))
        (receipt,) = await wallet.send(nothing)
        held = {"OPERATION": operation_id, "LEG": "settle", "HASH": receipt.tx_hash}
        status, said = await tried.types(say, engine, "resolve-hold --resolution accept --evidence", **held)
        assert (status, said) == (0, "settle is FINAL_CANCELLED\n")
        async with engine.lane():
            assert (await engine.operation(operation_id))["outcome"]["status"] == "ACTIVE"
        assert ("settle", 2, "FINAL_OK") in await engine.legs(operation_id)
        await engine.assert_sound()


async def test_pause_and_resume(build_engine: BuildEngine, say: Say) -> None:
    """A paused signer takes no nonce until it is resumed."""
    tried = trying("SignerPaused")
    async with build_engine() as engine, engine.loans(), engine.lane():
        assert await say(engine, *typed("pause-signer")) == (0, f"{engine.chain.wallet} is paused\n")
        answer = await engine.borrow(await engine.new_borrower())
        assert await engine.legs(answer.json()["operation_id"]) == [("borrow", 1, "QUEUED")]
        assert await figure(engine, "loan_engine_signer_paused", signer=engine.chain.wallet) == 1
        assert f"{engine.chain.wallet} (chain" in (await tried.types(say, engine, "review"))[1]
        assert await tried.types(say, engine, "resume-signer") == (0, f"{engine.chain.wallet} goes on\n")
        assert (await engine.finished(answer))["outcome"]["status"] == "ACTIVE"
        await engine.assert_sound()


async def test_close_incident(build_engine: BuildEngine, say: Say) -> None:
    """An incident that nothing closes is closed by the id that the list shows."""
    async with build_engine() as engine, engine.loans():
        async with engine.transaction() as session:
            await open_incident(session, IncidentKind.FINAL_TRANSFER_MOVED, "0xabc", "a block that was final is gone")
        (shown,) = [line for line in (await say(engine, *typed("review")))[1].splitlines() if "0xabc" in line]
        status, said = await say(engine, *typed("close-incident", INCIDENT=shown.split()[0]))
        assert (status, "is closed" in said) == (0, True)
        assert await incidents(engine) == []


async def incidents(engine: Engine) -> list[str]:
    async with engine.transaction() as session:
        return [str(kind) for kind in await session.scalars(select(Incident.kind).where(Incident.closed_at.is_(None)))]
