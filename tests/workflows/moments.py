"""Moments that the tests of this folder bring about, and what they look at."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from sqlalchemy import text, update
from temporalio.client import WorkflowExecutionStatus

from models.statuses import TransactionState
from models.tables.transactions import ChainTransaction
from tests.engine import Engine, until


@asynccontextmanager
async def no_blocks(engine: Engine) -> AsyncIterator[None]:
    """What is sent stays pending until the end of the block, which mines it."""
    await engine.client.rpc.call("evm_setAutomine", False)
    try:
        yield
    finally:
        await engine.client.rpc.call("evm_setAutomine", True)
        await engine.client.rpc.call("evm_mine")


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
async def failing(engine: Engine, table: str) -> AsyncIterator[None]:
    """Every change of the table fails, as where a disk is full or a bug was deployed."""
    body = "BEGIN RAISE EXCEPTION 'the test says so'; END"
    async with engine.transaction() as session:
        await session.execute(
            text(
                f"CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS '{body}'".replace(
                    "'the test says so'", "''the test says so''"
                )
            )
        )
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


async def leg_is(engine: Engine, operation_id: str, leg: tuple[str, int, str]) -> bool:
    return leg in await engine.legs(operation_id)


async def under_review(engine: Engine, operation_id: str) -> bool:
    return (await engine.operation_row(operation_id)).review_reason is not None


async def is_completed(engine: Engine, operation_id: str) -> bool:
    description = await engine.temporal.get_workflow_handle(operation_id).describe()
    return description.status is WorkflowExecutionStatus.COMPLETED
