"""Each kind of incident, on an engine that has it: what the runbook's entry prints is typed, its cause mended, and it closes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

from sqlalchemy import select, text, update

from chain.client import ChainClient
from chain.contracts.usdc import encode_transfer
from chain.types import CallRequest
from contracts.deploy import Sender, Transaction
from contracts.funding import fund_gas, mint_usdc
from models.errors import InvariantBroken
from models.statuses import InboundState
from models.tables.transactions import InboundTransfer
from sandbox.services import Anvil
from schedules import keep_schedules, recurring
from startup import describe_chain
from tests.chain.lane.nodes import RefusesApprovals, Refusing
from tests.chain.world import USD
from tests.engine import BuildEngine, Engine, until
from tests.operating import Say
from tests.runbook.entries import Tried, trying
from tests.runbook.states import at_work, environment, figure, is_over, stands, told, waits_for_allowance
from tests.workflows.moments import leg_is
from tests.workflows.outside import PRINCIPAL, followed
from tests.workflows.test_reconcile import BEFORE_THE_ENGINE, audit, paused_by, robbed
from tests.workflows.test_repay_table import seen, transfer_state, user_repays
from tests.workflows.test_unapplied import contradict
from wiring import Parts

OPEN = "loan_engine_incidents_open"


async def shown(tried: Tried, say: Say, engine: Engine, kind: str) -> str:
    """The line of the list about the only incident of this kind."""
    (line,) = [line for line in (await tried.types(say, engine, "review"))[1].splitlines() if f" {kind} " in line]
    return line


async def test_usdc_that_is_missing(build_engine: BuildEngine, say: Say) -> None:
    """The audit names the transfer that no leg explains; the signer is paused already, and pausing it again does no harm."""
    tried = trying("`INVARIANT_BROKEN` `invariant n", "InvariantBroken")
    async with robbed(build_engine) as (engine, tx_hash):
        assert (await audit(engine)).paused
        assert await figure(engine, "loan_engine_audit_breaches") > 0
        assert await paused_by(engine) == "reconciliation"
        status, said = await tried.runs("python audit.py", environment(engine))
        assert (status, tx_hash in said) == (1, True), said
        assert (await tried.types(say, engine, "pause-signer"))[0] == 0
        assert "INVARIANT_BROKEN invariant 3" in (await tried.types(say, engine, "review"))[1]


async def test_rows_that_are_wrong(shared: Engine, say: Say) -> None:
    """A sum that was changed by hand: the audit names it, and the audit that no longer finds it closes the incident."""
    tried = trying("`INVARIANT_BROKEN` `invariant n", "InvariantBroken")
    async with at_work(shared) as engine:
        await engine.active_loan(await engine.new_borrower())
        await contradict(engine, 0)
        assert (await audit(engine)).opened > 0
        assert "INVARIANT_BROKEN" in (await tried.types(say, engine, "review"))[1]
        status, said = await tried.runs("python audit.py", environment(engine))
        assert (status, engine.partner.id in said) == (1, True), said
        await contradict(engine, PRINCIPAL)
        await audit(engine)
        assert await figure(engine, "loan_engine_audit_breaches") == 0
        await engine.assert_sound()


async def test_a_step_that_meets_what_must_never_be(shared: Engine, say: Say) -> None:
    """Once the cause is gone the borrow goes on; its incident stays until `close-incident` closes it."""
    tried = trying("`INVARIANT_BROKEN` `step … of …`")

    async def break_it(_: CallRequest) -> None:
        raise InvariantBroken("the test says so")

    async with at_work(shared) as engine:
        engine.client.before_simulation = break_it
        answer = await engine.borrow(await engine.new_borrower())
        await stands(engine, "INVARIANT_BROKEN")
        engine.release_submissions()
        assert (await engine.finished(answer))["outcome"]["status"] == "ACTIVE"
        line = await shown(tried, say, engine, "INVARIANT_BROKEN")
        assert "step submit_transaction" in line
        assert (await tried.types(say, engine, "close-incident", INCIDENT=line.split()[0]))[0] == 0
        await is_over(engine, "INVARIANT_BROKEN")


async def test_an_event_that_the_rows_refuse(shared: Engine, say: Say) -> None:
    """It waits, and is listed; once the rows allow it, it is applied and the incident closes by itself."""
    tried = trying("could not be applied and is tried again")
    async with at_work(shared) as engine:
        borrower = await engine.new_borrower()
        await engine.active_loan(borrower)
        await contradict(engine, 0)
        await user_repays(engine, borrower, 1_000 * USD)
        await followed(engine)
        assert f"position {borrower.line.position_id}" in await shown(tried, say, engine, "INVARIANT_BROKEN")
        await contradict(engine, PRINCIPAL)
        await followed(engine)
        await is_over(engine, "INVARIANT_BROKEN")
        await engine.assert_sound()


async def test_a_surplus(build_engine: BuildEngine, anvil: Anvil, say: Say) -> None:
    """USDC from before the engine's first block is listed, and the next audit closes what is booked."""
    tried = trying("`SURPLUS`", "IncidentOpen")
    async with ChainClient(anvil.url) as client:
        head = (await client.head()).number
    async with build_engine(inbound_from_block=head + BEFORE_THE_ENGINE) as engine, engine.loans():
        await mint_usdc(engine.owner, engine.contracts, engine.chain.wallet, 7)
        await engine.client.rpc.call("anvil_mine", hex(BEFORE_THE_ENGINE))
        async with engine.lane():
            assert (await audit(engine)).booked == 7
            assert await figure(engine, OPEN, kind="SURPLUS") == 1
            assert "SURPLUS" in (await tried.types(say, engine, "review"))[1]
            await audit(engine)
            await is_over(engine, "SURPLUS")


async def test_a_market_above_the_cap(shared: Engine, say: Say) -> None:
    """A lane with a cap of one wei sends nothing; a lane that is started with the usual one sends what waited."""
    tried = trying("`FEE_CAP_REACHED`", "FeeCapReached")
    shared.partner = await shared.new_partner()
    capped = told(shared, max_fee_cap=1)
    async with shared.loans():
        answer = await shared.borrow(await shared.new_borrower())
        async with capped.lane():
            await stands(capped, "FEE_CAP_REACHED")
            assert await figure(capped, OPEN, kind="FEE_CAP_REACHED") == 1
            assert "the cap is 1" in await shown(tried, say, shared, "FEE_CAP_REACHED")
        async with tried.starts("python worker.py --role lane", environment(shared)):
            assert (await shared.finished(answer, wait=30))["outcome"]["status"] == "ACTIVE"
            await is_over(shared, "FEE_CAP_REACHED")
    await shared.assert_sound()


async def test_a_wallet_without_gas(shared: Engine, say: Say) -> None:
    """The incident says how much is missing; with gas in the wallet the lane goes on by itself."""
    tried = trying("`GAS_LOW`", "GasLow")
    async with at_work(shared) as engine:
        await engine.client.rpc.call("anvil_setBalance", engine.chain.wallet, hex(1))
        answer = await engine.borrow(await engine.new_borrower())
        await stands(engine, "GAS_LOW")
        assert await figure(engine, OPEN, kind="GAS_LOW") == 1
        assert "the wallet has 1 wei" in (await tried.types(say, engine, "review"))[1]
        await fund_gas(engine.client, engine.chain.wallet)
        assert (await engine.finished(answer, wait=30))["outcome"]["status"] == "ACTIVE"
        await is_over(engine, "GAS_LOW")
        await engine.assert_sound()


async def test_a_key_that_is_used_elsewhere(build_engine: BuildEngine, say: Say) -> None:
    """Resumed, the signer meets the foreign nonce with a leg: its hold is resolved by the evidence named, and all goes on."""
    tried = trying("`NONCE_STOLEN`", "NonceGap")
    async with build_engine() as engine, engine.loans():
        thief = Sender(engine.client, engine.signer_file.read_text())
        (foreign,) = await thief.send(Transaction(engine.contracts.usdc, encode_transfer(engine.owner.address, 0)))
        answer = await engine.borrow(await engine.new_borrower())
        operation_id = answer.json()["operation_id"]
        async with engine.lane():
            await stands(engine, "NONCE_STOLEN")
            assert await figure(engine, "loan_engine_nonces_missing", signer=engine.chain.wallet) == 1
            assert "NONCE_STOLEN" in (await tried.types(say, engine, "review"))[1]
            assert (await tried.types(say, engine, "pause-signer"))[0] == 0
            assert (await tried.types(say, engine, "resume-signer"))[0] == 0
            await until(partial(leg_is, engine, operation_id, ("borrow", 1, "HELD")))
            await until(partial(is_listed_as_held, tried, say, engine, foreign.tx_hash))
            held = {"OPERATION": operation_id, "LEG": "borrow", "HASH": foreign.tx_hash}
            resolved = await tried.types(say, engine, "resolve-hold --resolution accept --evidence", **held)
            assert resolved == (0, "borrow is FINAL_CANCELLED\n")
            assert (await tried.types(say, engine, "resume-signer"))[0] == 0
            await is_over(engine, "NONCE_STOLEN")
            assert (await engine.finished(answer))["outcome"]["status"] == "FAILED"
            assert await figure(engine, "loan_engine_nonces_missing", signer=engine.chain.wallet) == 0
            again = await engine.borrow(await engine.new_borrower())
            assert (await engine.finished(again))["outcome"]["status"] == "ACTIVE"
        await engine.assert_sound()


async def is_listed_as_held(tried: Tried, say: Say, engine: Engine, evidence: str) -> bool:
    said = (await tried.types(say, engine, "review"))[1]
    return "borrow is held" in said and evidence in said


@asynccontextmanager
async def lane_at(engine: Engine, node: ChainClient) -> AsyncIterator[None]:
    """A lane that is told of another node."""
    parts = Parts(engine.settings, engine.parts.database, await describe_chain(engine.settings, node))
    async with Engine(**{**vars(engine), "parts": parts}).lane():
        yield


async def test_a_node_that_refuses_the_key(shared: Engine, say: Say) -> None:
    """The signer is paused; with a lane at the right node and the signer resumed the same leg is sent at its nonce."""
    tried = trying("`SENDS_REFUSED`", "IncidentOpen")
    engine = shared
    engine.partner = await engine.new_partner()
    url = engine.settings.rpc_url.get_secret_value()
    async with engine.loans():
        answer = await engine.borrow(await engine.new_borrower())
        async with Refusing(url, "invalid sender", refusals=99) as node, lane_at(engine, node):
            await stands(engine, "SENDS_REFUSED")
        assert await figure(engine, OPEN, kind="SENDS_REFUSED") == 1
        assert "SENDS_REFUSED" in (await tried.types(say, engine, "review"))[1]
        async with engine.lane():
            assert (await tried.types(say, engine, "resume-signer"))[0] == 0
            assert (await engine.finished(answer, wait=30))["outcome"]["status"] == "ACTIVE"
        await is_over(engine, "SENDS_REFUSED")
    await engine.assert_sound()


async def test_an_allowance_that_is_refused(build_engine: BuildEngine, say: Say) -> None:
    """A repayment waits while the token refuses it, and ends by itself when it does not any more."""
    tried = trying("`APPROVAL_REFUSED`", "IncidentOpen")
    async with build_engine() as engine, engine.loans():
        answer = await waits_for_allowance(engine)
        url = engine.settings.rpc_url.get_secret_value()
        async with RefusesApprovals(url) as node, lane_at(engine, node):
            await stands(engine, "APPROVAL_REFUSED")
            assert await figure(engine, OPEN, kind="APPROVAL_REFUSED") == 1
            assert "APPROVAL_REFUSED" in (await tried.types(say, engine, "review"))[1]
        async with engine.lane():
            assert (await engine.finished(answer))["outcome"]["status"] == "APPLIED"
            await is_over(engine, "APPROVAL_REFUSED")
        await engine.assert_sound()


async def test_a_final_transfer_that_moved(shared: Engine, say: Say) -> None:
    """The row says another block than the chain: the signer is paused, the audit names the transfer, it is mended and closed."""
    tried = trying("`FINAL_TRANSFER_MOVED`", "IncidentOpen")
    async with at_work(shared) as engine:
        tx_hash = await engine.transfer(engine.partner.settlement, engine.chain.wallet, 3 * USD)
        await until(partial(seen, engine, tx_hash))
        moved = update(InboundTransfer).where(InboundTransfer.tx_hash == tx_hash)
        async with engine.transaction() as session:
            place = select(InboundTransfer.block_hash, InboundTransfer.log_index)
            was = (await session.execute(place.where(InboundTransfer.tx_hash == tx_hash))).one()
            await session.execute(moved.values(block_hash="0x" + "00" * 32, log_index=77))
        await engine.client.rpc.call("evm_mine")
        await stands(engine, "FINAL_TRANSFER_MOVED")
        assert await figure(engine, OPEN, kind="FINAL_TRANSFER_MOVED") == 1
        line = await shown(tried, say, engine, "FINAL_TRANSFER_MOVED")
        assert (await tried.types(say, engine, "pause-signer"))[0] == 0
        status, said = await tried.runs("python audit.py", environment(engine))
        assert (status, f"{tx_hash}/77 is booked, and the chain has no such transfer" in said) == (1, True), said
        async with engine.transaction() as session:
            await session.execute(moved.values(block_hash=was.block_hash, log_index=was.log_index))
        assert (await tried.types(say, engine, "close-incident", INCIDENT=line.split()[0]))[0] == 0
        assert (await tried.types(say, engine, "resume-signer"))[0] == 0
        await is_over(engine, "FINAL_TRANSFER_MOVED")
        await engine.assert_sound()


async def test_a_refund_that_nobody_can_be_given(shared: Engine, say: Say) -> None:
    """Its sender is taken off the blacklist, and a day later it is given back and the incident closes."""
    tried = trying("`REFUND_REFUSED`", "IncidentOpen")
    engine = told(shared, refund_after=timedelta(), block_poll=timedelta(milliseconds=5))
    engine.partner = await engine.new_partner()
    sender = engine.partner.settlement
    tx_hash = await engine.transfer(sender, engine.chain.wallet, 3 * USD)
    await engine.owner_calls(engine.contracts.usdc, "blacklist(address)", sender.address)
    async with engine.lane(), engine.loans():
        await stands(engine, "REFUND_REFUSED")
        assert await figure(engine, OPEN, kind="REFUND_REFUSED") == 1
        assert "REFUND_REFUSED" in (await tried.types(say, engine, "review"))[1]
        assert await transfer_state(engine, tx_hash) == InboundState.UNCLAIMED
        await engine.owner_calls(engine.contracts.usdc, "unBlacklist(address)", sender.address)
        a_day_later = update(InboundTransfer).where(InboundTransfer.tx_hash == tx_hash).values(refund_not_before=None)
        async with engine.transaction() as session:
            await session.execute(a_day_later)
        await is_over(engine, "REFUND_REFUSED")


async def test_an_upkeep_that_fails(shared: Engine, say: Say) -> None:
    """The text says why; the cause mended, the schedule is triggered and the incident closes."""
    tried = trying("`UPKEEP_FAILED`", "UpkeepFailed")
    trigger = "temporal schedule trigger --schedule-id upkeep"
    engine = shared
    rows = [row for row in recurring(engine.settings) if row.id == "upkeep"]
    await keep_schedules(engine.temporal, rows)
    rename = "ALTER FUNCTION request_log_month{} RENAME TO request_log_month{}"
    async with engine.loans():
        async with engine.transaction() as session:
            await session.execute(text(rename.format("", "_away")))
        assert (await tried.runs(trigger, environment(engine)))[0] == 0
        await stands(engine, "UPKEEP_FAILED")
        assert await figure(engine, OPEN, kind="UPKEEP_FAILED") == 1
        assert "request_log_month" in (await tried.types(say, engine, "review"))[1]
        async with engine.transaction() as session:
            await session.execute(text(rename.format("_away", "")))
        assert (await tried.runs(trigger, environment(engine)))[0] == 0
        await is_over(engine, "UPKEEP_FAILED")
