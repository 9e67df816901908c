"""USDC sent to the platform wallet by itself: claimed before or after it comes, by one of two, or given back, and never both."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

import httpx
import pytest
from eth_account import Account
from sqlalchemy import func, select, update

from chain.contracts.usdc import encode_transfer
from chain.signers import pause_signer, resume_signer
from chain.types import TxHash
from contracts.funding import mint_usdc, open_line
from models import accounts
from models.statuses import InboundState, OperationKind, OperationState
from models.tables import book
from models.tables.operations import Operation
from models.tables.transactions import ChainSigner, InboundTransfer
from tests.chain.world import USD, new_sender
from tests.engine import Borrower, BuildEngine, Engine, PartnerAccount, until
from tests.workflows.test_repay_table import PRINCIPAL, rejection, seen, transfer_state

AMOUNT = 1_000 * USD
LONG_AGO = timedelta(days=30)


@pytest.fixture
async def engine(build_engine: BuildEngine) -> AsyncIterator[Engine]:
    """An engine whose lane looks often for what is to be given back."""
    async with build_engine(refund_minimum=USD) as built, built.lane(), built.loans():
        await built.fund_float()
        await until(built.float_is_booked)
        yield built


# Claims


async def test_a_transfer_that_comes_after_its_claim(engine: Engine) -> None:
    """A repayment that names a transfer which is not on chain yet waits for it, and claims it when it is final."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    tx_hash, raw = await signed_transfer(engine, borrower)
    answer = await engine.repay(borrower, {"amount": str(AMOUNT), "transfer_tx_hash": tx_hash})
    assert answer.status_code == httpx.codes.ACCEPTED
    await engine.client.send_raw([raw])
    assert (await engine.finished(answer))["outcome"]["status"] == "APPLIED"
    assert await transfer_state(engine, tx_hash) == "CLAIMED"
    await engine.assert_sound()


async def test_a_transfer_of_the_user_is_claimed_by_one_of_two_partners(engine: Engine) -> None:
    """Two partners lend to one user; both claim the user's one transfer at once: one repays by it, the other is told."""
    other = await engine.new_partner()
    mine = await engine.new_borrower()
    theirs = Borrower(mine.user, mine.key, await open_line(engine.owner, engine.contracts, mine.user, 10_000 * USD))
    (await engine.grant(theirs, partner=other)).raise_for_status()
    await engine.active_loan(mine)
    await engine.finished(await engine.borrow(theirs, partner=other), partner=other)
    tx_hash, raw = await signed_transfer(engine, mine)
    await engine.client.send_raw([raw])
    await until(partial(seen, engine, tx_hash))
    body = {"amount": str(AMOUNT), "transfer_tx_hash": tx_hash}
    answers = await asyncio.gather(engine.repay(mine, body), engine.repay(theirs, body, partner=other))
    ends = await asyncio.gather(ended(engine, answers[0]), ended(engine, answers[1], other))
    assert sorted(ends) == ["APPLIED", "transfer_already_claimed"]
    await engine.assert_sound()


async def test_base_units_of_a_stranger(engine: Engine) -> None:
    """A base unit that anybody sends to the platform wallet is accounted for and stops nothing."""
    borrower, stranger = await engine.new_borrower(), await new_sender(engine.client)
    await mint_usdc(engine.owner, engine.contracts, stranger.address, 1)
    tx_hash = await engine.transfer(stranger, engine.chain.wallet, 1)
    await until(partial(seen, engine, tx_hash))
    await engine.active_loan(borrower)
    async with engine.transaction() as session:
        assert await book.balance(session, accounts.UNCLAIMED_INBOUND) == 1
        assert (await session.scalars(select(ChainSigner.paused_at))).all() == [None]
    await engine.assert_sound()


# Claims and refunds


async def test_a_claim_of_what_is_being_given_back(engine: Engine) -> None:
    """The partner is told that the transfer is on its way back, and then that it was refunded; nothing moves twice."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    before = await engine.balance(engine.partner.settlement.address)
    tx_hash = await engine.transfer(engine.partner.settlement, engine.chain.wallet, AMOUNT)
    await until(partial(seen, engine, tx_hash))
    body = {"amount": str(AMOUNT), "transfer_tx_hash": tx_hash}
    async with signer_paused(engine):
        await grow_old(engine)
        await until(partial(is_in, engine, tx_hash, InboundState.REFUNDING))
        assert await rejection(engine, await engine.repay(borrower, body)) == "transfer_being_refunded"
    await until(partial(is_in, engine, tx_hash, InboundState.REFUNDED))
    assert await rejection(engine, await engine.repay(borrower, body)) == "transfer_already_claimed"
    assert await engine.balance(engine.partner.settlement.address) == before
    await engine.assert_sound()


async def test_what_was_claimed_is_not_given_back(engine: Engine) -> None:
    """A claim that came first keeps its transfer, however old that is: only the unclaimed one beside it is given back."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    claimed, unclaimed = [
        await engine.transfer(engine.partner.settlement, engine.chain.wallet, AMOUNT) for _ in range(2)
    ]
    body = {"amount": str(AMOUNT), "transfer_tx_hash": claimed}
    await engine.finished(await engine.repay(borrower, body))
    await until(partial(seen, engine, unclaimed))
    await grow_old(engine)
    await until(partial(is_in, engine, unclaimed, InboundState.REFUNDED))
    assert await transfer_state(engine, claimed) == "CLAIMED"
    await engine.assert_sound()


async def test_claims_and_refunds_at_once(engine: Engine) -> None:
    """Transfers that become old while they are claimed are each used once: repaid by, or given back, and all adds up."""
    borrowers = [await engine.new_borrower() for _ in range(4)]
    for borrower in borrowers:
        await engine.active_loan(borrower)
    before = await engine.balance(engine.partner.settlement.address)
    hashes = [await engine.transfer(engine.partner.settlement, engine.chain.wallet, AMOUNT) for _ in borrowers]
    for tx_hash in hashes:
        await until(partial(seen, engine, tx_hash))
    claims = [
        engine.repay(borrower, {"amount": str(AMOUNT), "transfer_tx_hash": tx_hash})
        for borrower, tx_hash in zip(borrowers, hashes, strict=True)
    ]
    growing = asyncio.create_task(grow_old(engine))
    answers = await asyncio.gather(*claims)
    await growing
    ends = await asyncio.gather(*(ended(engine, answer) for answer in answers))
    await until(partial(all_used, engine, hashes))
    applied = ends.count("APPLIED")
    assert set(ends) <= {"APPLIED", "transfer_being_refunded", "transfer_already_claimed"}
    assert await engine.balance(engine.partner.settlement.address) == before - applied * AMOUNT
    assert (await engine.partner_usage())[0] >= 4 * PRINCIPAL - applied * AMOUNT
    await until(partial(no_refund_is_open, engine))
    await engine.assert_sound()


async def ended(engine: Engine, answer: httpx.Response, partner: PartnerAccount | None = None) -> str:
    """How a repayment ended: the code of its problem, or the status it reached."""
    if answer.is_error:
        return str(answer.json()["code"])
    done = await engine.finished(answer, partner=partner)
    return str((done["problem"] or {}).get("code") or done["outcome"]["status"])


async def signed_transfer(engine: Engine, borrower: Borrower) -> tuple[TxHash, bytes]:
    """A transfer of the borrower's to the platform wallet that has not been sent yet."""
    await mint_usdc(engine.owner, engine.contracts, borrower.user.address, AMOUNT)
    signed = Account.sign_transaction(
        {
            "to": engine.contracts.usdc,
            "data": encode_transfer(engine.chain.wallet, AMOUNT),
            "value": 0,
            "nonce": await engine.client.nonce(borrower.user.address, "latest"),
            "gas": 200_000,
            "gasPrice": 10**11,
            "chainId": engine.chain.chain_id,
        },
        borrower.key,
    )
    return TxHash(signed.hash.to_0x_hex()), bytes(signed.raw_transaction)


@asynccontextmanager
async def signer_paused(engine: Engine) -> AsyncIterator[None]:
    """No leg gets a nonce meanwhile."""
    signer = (engine.chain.chain_id, engine.chain.wallet)
    async with engine.transaction() as session:
        await pause_signer(session, *signer, reason="the test says so", by="tests")
    yield
    async with engine.transaction() as session:
        await resume_signer(session, *signer)


async def grow_old(engine: Engine) -> None:
    """Every transfer that is known was sent long ago."""
    async with engine.transaction() as session:
        await session.execute(update(InboundTransfer).values(seen_at=func.now() - LONG_AGO))


async def is_in(engine: Engine, tx_hash: str, state: InboundState) -> bool:
    return await transfer_state(engine, tx_hash) == state


async def all_used(engine: Engine, hashes: Sequence[str]) -> bool:
    return {await transfer_state(engine, tx_hash) for tx_hash in hashes} <= {"CLAIMED", "REFUNDED"}


async def no_refund_is_open(engine: Engine) -> bool:
    query = select(Operation.id).where(Operation.kind == OperationKind.SYSTEM, Operation.state == OperationState.OPEN)
    async with engine.transaction() as session:
        return not (await session.scalars(query.where(Operation.id.startswith("system:refund:")))).all()
