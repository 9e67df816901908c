"""State machines on a real database: every rule is a savepoint in the one transaction of its example, which is undone.

A rule runs the engine's own code and says by a plain model what must come of it. What the code refuses must have changed
nothing, which the machine's invariant sees by comparing the rows with the model after every rule.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from anyio.from_thread import BlockingPortal
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from models.tables.base import Base
from models.tables.session import Transaction
from tests.machines.effort import effort

Answered = TypeVar("Answered")
Row = TypeVar("Row", bound=Base)
Act = Callable[[AsyncSession], Awaitable[Answered]]


@dataclass(frozen=True)
class Stage:
    """A migrated database, and the event loop that its connections live on."""

    portal: BlockingPortal
    engine: AsyncEngine


class Machine(RuleBasedStateMachine):
    """One example: ``transaction`` commits into its savepoints."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._portal = stage.portal
        self._undone = stage.portal.wrap_async_context_manager(_undone(stage.engine))
        self.transaction = self._undone.__enter__()

    def teardown(self) -> None:
        self._undone.__exit__(None, None, None)

    def wait(self, asked: Callable[[], Awaitable[Answered]]) -> Answered:
        """What an asynchronous function answers."""
        return self._portal.call(asked)

    def commit(self, act: Act[Answered]) -> Answered:
        """The act in a transaction of its own: committed, or raised and undone."""

        async def committed() -> Answered:
            async with self.transaction() as session:
                return await act(session)

        return self.wait(committed)


def play(machine: type[Machine], stage: Stage, *, examples: int, steps: int) -> None:
    """Raises where an example shows that rows and model differ, or that the code does not raise what it must."""

    class OnStage(machine):  # type: ignore[valid-type,misc]  # hypothesis makes each example by calling a class
        def __init__(self) -> None:
            super().__init__(stage)

    run_state_machine_as_test(OnStage, settings=effort(examples, steps))


def all_rows(table: type[Row]) -> Act[Sequence[Row]]:
    """Every row of a table: a machine has its database to itself."""

    async def read(session: AsyncSession) -> Sequence[Row]:
        return (await session.scalars(select(table))).all()

    return read


@asynccontextmanager
async def _undone(engine: AsyncEngine) -> AsyncIterator[Transaction]:
    async with engine.connect() as connection:
        sessions = async_sessionmaker(connection, join_transaction_mode="create_savepoint", expire_on_commit=False)
        async with connection.begin() as whole:
            yield sessions.begin
            await whole.rollback()
