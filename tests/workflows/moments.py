"""Moments that the tests of this folder bring about, and what they look at."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import httpx
from eth_utils.crypto import keccak
from sqlalchemy import select, text, update
from temporalio.client import WorkflowExecutionStatus

from chain.contracts.solvency_vault import encode_set_operator
from chain.contracts.usdc import encode_transfer
from chain.types import Wei
from contracts.deploy import PRIORITY_FEE, Sender, Transaction
from models import accounts
from models.statuses import TransactionState
from models.tables import book
from models.tables.loans import Loan, Repayment
from models.tables.transactions import ChainTransaction
from tests.engine import Borrower, Engine, until


@asynccontextmanager
async def no_blocks(engine: Engine) -> AsyncIterator[None]:
    """What is sent stays pending until the end of the block, which mines it."""
    await engine.client.rpc.call("evm_setAutomine", False)
    try:
        yield
    finally:
        await engine.client.rpc.call("evm_setAutomine", True)
        await engine.client.rpc.call("evm_mine")


async def sent_transfer(engine: Engine, sender: Sender, amount: int) -> str:
    """A transfer to the platform wallet that is not mined yet; returns its hash."""
    transfer = Transaction(engine.contracts.usdc, encode_transfer(engine.chain.wallet, amount))
    fee = Wei(2 * (await engine.client.head()).base_fee + PRIORITY_FEE)
    (raw,) = await sender.sign([transfer], fee, engine.chain.chain_id)
    await engine.client.send_raw([raw])
    return "0x" + keccak(raw).hex()


async def sent_and_held(engine: Engine, operation_id: str, leg: str) -> None:
    """The leg is on its way when its lane holds it and goes: what became of it on chain, a person must say."""
    async with engine.lane():
        await until(partial(leg_is, engine, operation_id, (leg, 1, "BROADCAST")))
    held = (
        update(ChainTransaction)
        .where(ChainTransaction.operation_id == operation_id, ChainTransaction.leg == leg)
        .values(state=TransactionState.HELD, held_reason="the test says so")
    )
    async with engine.transaction() as session:
        await session.execute(held)


@asynccontextmanager
async def held_borrow(engine: Engine) -> AsyncIterator[tuple[Borrower, httpx.Response]]:
    """A borrow whose leg is HELD while it is on its way; at the end of the block it is mined."""
    borrower = await engine.new_borrower()
    answer = await engine.borrow(borrower)
    async with no_blocks(engine):
        await sent_and_held(engine, answer.json()["operation_id"], "borrow")
        yield borrower, answer


@asynccontextmanager
async def failing(engine: Engine, table: str) -> AsyncIterator[None]:
    """Every change of the table fails, as where a disk is full or a bug was deployed."""
    fail = (
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'as the test says'; END$$"
    )
    async with engine.transaction() as session:
        await session.execute(text(fail))
        await session.execute(text(f"CREATE TRIGGER failing BEFORE UPDATE ON {table} EXECUTE FUNCTION fail()"))
    try:
        yield
    finally:
        async with engine.transaction() as session:
            await session.execute(text("DROP FUNCTION fail() CASCADE"))


async def is_retried(engine: Engine, operation_id: str, step: str) -> bool:
    """Whether Temporal keeps this step as one that has failed and will be tried again."""
    description = await engine.temporal.get_workflow_handle(operation_id).describe()
    pending = description.raw_description.pending_activities
    return any(each.activity_type.name == step and each.attempt > 1 for each in pending)


@dataclass(frozen=True)
class Row:
    """The columns of a row of money.md's tables, in base units; ``usage`` is as of ``Engine.partner_usage``."""

    usage: tuple[int, int, int, int]
    owed: int
    """Principal on chain."""
    in_flight: int
    """USDC in the platform wallet that the ledger earmarks for this operation."""
    status: str | None
    """The loan's, None where it has no row."""
    events: Sequence[str]


async def row_of(engine: Engine, borrower: Borrower, operation_id: str) -> Row:
    (on_chain,) = await engine.client.read(engine.chain.pool.loans(borrower.line.position_id), block="latest")
    async with engine.transaction() as session:
        in_flight = await book.balance(session, accounts.IN_FLIGHT, operation_id)
        status = await session.scalar(select(Loan.status).where(Loan.operation_id == operation_id))
    usage, events = await engine.partner_usage(), await engine.events(operation_id)
    return Row(usage, on_chain.principal, in_flight, status, events)


@dataclass(frozen=True)
class RepayRow:
    """As ``Row``, of a repayment; ``liability`` is USDC in the platform wallet that is owed to the partner."""

    outstanding: int
    owed: int
    liability: int
    status: str | None
    events: Sequence[str]


async def repay_row_of(engine: Engine, borrower: Borrower, operation_id: str) -> RepayRow:
    (on_chain,) = await engine.client.read(engine.chain.pool.loans(borrower.line.position_id), block="latest")
    async with engine.transaction() as session:
        liability = await book.balance(session, accounts.liability(engine.partner.id), operation_id)
        status = await session.scalar(select(Repayment.state).where(Repayment.operation_id == operation_id))
    outstanding, *_ = await engine.partner_usage()
    return RepayRow(outstanding, on_chain.principal, liability, status, await engine.events(operation_id))


async def leg_is(engine: Engine, operation_id: str, leg: tuple[str, int, str]) -> bool:
    return leg in await engine.legs(operation_id)


async def under_review(engine: Engine, operation_id: str) -> bool:
    return (await engine.operation_row(operation_id)).review_reason is not None


async def is_completed(engine: Engine, operation_id: str) -> bool:
    description = await engine.temporal.get_workflow_handle(operation_id).describe()
    return description.status is WorkflowExecutionStatus.COMPLETED


async def is_decided(engine: Engine, operation_id: str) -> bool:
    return (await engine.operation_row(operation_id)).decision is not None


async def cancel_requested(engine: Engine, operation_id: str) -> bool:
    return (await engine.operation_row(operation_id)).cancel_requested_at is not None


async def loan_is(engine: Engine, borrower: Borrower, status: str) -> bool:
    return bool((await engine.loan(borrower))["status"] == status)


async def revoke_operator(engine: Engine, borrower: Borrower) -> None:
    revoke = encode_set_operator(engine.chain.wallet, approved=False)
    await borrower.user.send(Transaction(engine.contracts.vault, revoke))
