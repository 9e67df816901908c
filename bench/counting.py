"""Counting what the engine says to PostgreSQL and to the node, and who says it. Nothing here changes what is said.

A transaction is counted as one thing: its statements and whether it committed. It costs a round trip for BEGIN, one for each
statement, and one for COMMIT or ROLLBACK; a statement that commits by itself costs one. Notifications are heard for nothing.
"""

import re
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, event
from temporalio import activity

from chain.rpc import Answer, JsonRpc, RpcRequest

_speaker: ContextVar[str] = ContextVar("speaker", default="elsewhere")
_TABLES = re.compile(r"\b(?:FROM|INTO|UPDATE|JOIN)\s+([a-z_]+)")
_REMARKS = {
    " LIMIT ": "limit",
    " FOR UPDATE": "for update",
    " FOR NO KEY UPDATE": "for update",
    " FOR SHARE": "for share",
}
WRITES = ("INSERT", "UPDATE", "DELETE")
_BELOW_CALLERS = ("chain/rpc.py", "chain/client.py", "chain/reads.py", "bench/counting.py")


@contextmanager
def speaking(name: str) -> Iterator[None]:
    """What this task does, and the tasks that it starts, is counted under this name, unless an activity does it."""
    token = _speaker.set(name)
    try:
        yield
    finally:
        _speaker.reset(token)


def who() -> str:
    """The activity that this task does, or the name under which it speaks."""
    return activity.info().activity_type if activity.in_activity() else _speaker.get()


@dataclass(frozen=True, slots=True)
class Transacted:
    """One kind of transaction. ``own`` is False where a statement committed by itself.

    ``found`` says whether its last statement returned or changed a row.
    """

    who: str
    statements: tuple[str, ...]
    committed: bool
    own: bool
    found: bool

    @property
    def round_trips(self) -> int:
        return len(self.statements) + (2 if self.own else 0)

    @property
    def writes(self) -> bool:
        return any(statement.startswith(WRITES) for statement in self.statements)

    @property
    def commits(self) -> int:
        """A transaction that only read commits as well; a single statement that reads does not."""
        return int(self.committed and (self.own or self.writes))


@dataclass(frozen=True, slots=True)
class Requested:
    """One kind of HTTP request to the node: from which function, with which methods."""

    who: str
    caller: str
    methods: tuple[str, ...]


@dataclass
class Tally:
    sql: Counter[Transacted] = field(default_factory=Counter)
    rpc: Counter[Requested] = field(default_factory=Counter)

    def copy(self) -> "Tally":
        return Tally(self.sql.copy(), self.rpc.copy())

    def since(self, earlier: "Tally") -> "Tally":
        return Tally(self.sql - earlier.sql, self.rpc - earlier.rpc)


class Counted(JsonRpc):
    """A node connection that counts. A batch that the node's limit splits is counted as the requests that it becomes."""

    def __init__(self, url: str, tally: Tally) -> None:
        super().__init__(url)
        self._tally = tally

    async def batch(self, requests: Sequence[RpcRequest]) -> list[Answer]:
        caller = calling_frame().f_code.co_name
        for start in range(0, len(requests), self.max_batch):
            methods = [method for method, _ in requests[start : start + self.max_batch]]
            self._tally.rpc[Requested(who(), caller, folded(methods))] += 1
        return await super().batch(requests)


def folded(methods: Sequence[str]) -> tuple[str, ...]:
    """eth_call x 8, in the order in which they first came."""
    return tuple(method if number == 1 else f"{method} x {number}" for method, number in Counter(methods).items())


def calling_frame(*below: str) -> FrameType:
    """Of whoever asks the node something. ``below`` are further modules that only pass on what they are asked."""
    frame: FrameType = sys._getframe(1)  # noqa: SLF001 - nothing else knows who called
    while frame.f_back is not None and frame.f_code.co_filename.endswith((*_BELOW_CALLERS, *below)):
        frame = frame.f_back
    return frame


def sql_counted(tally: Tally) -> AbstractContextManager[None]:
    """Counts the transactions of every engine of this process while the block lasts."""
    return overheard(_SqlCounter(tally))


@contextmanager
def overheard(ears: "SqlEars") -> Iterator[None]:
    """Every engine of this process is listened to while the block lasts."""
    hooks = (
        ("before_cursor_execute", ears.executes),
        ("after_cursor_execute", ears.executed),
        ("commit", ears.commits),
        ("rollback", ears.rolls_back),
    )
    for name, hook in hooks:
        event.listen(Engine, name, hook)
    try:
        yield
    finally:
        for name, hook in hooks:
            event.remove(Engine, name, hook)


@dataclass
class OpenTransaction:
    """A transaction that has not ended yet. ``rows`` counts what it changed, by the statement that did."""

    statements: list[str] = field(default_factory=list)
    found: bool = False
    rows: Counter[str] = field(default_factory=Counter)

    def ended(self, *, committed: bool, own: bool) -> Transacted:
        return Transacted(who(), tuple(self.statements), committed, own, self.found)


class SqlEars(ABC):
    """Follows each connection's transaction, and tells its end to whoever inherits from this."""

    def __init__(self) -> None:
        self.open: dict[int, OpenTransaction] = {}

    @abstractmethod
    def ends(self, connection: Connection, transaction: OpenTransaction, kind: Transacted) -> None:
        """A statement that committed by itself has; any other transaction is about to end."""

    def executes(self, connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        driver = driver_of(connection)
        if driver.autocommit or driver.info.transaction_status is TransactionStatus.IDLE:
            self.open[id(driver)] = OpenTransaction()
        self.open[id(driver)].statements.append(_gist(statement))

    def executed(self, connection: Connection, cursor: Any, *_: Any) -> None:
        driver = driver_of(connection)
        transaction = self.open[id(driver)]
        transaction.found = cursor.rowcount != 0
        if transaction.statements[-1].startswith(WRITES):
            transaction.rows[transaction.statements[-1]] += cursor.rowcount
        if driver.autocommit:
            self._end(connection, committed=True, own=False)

    def commits(self, connection: Connection) -> None:
        self._end(connection, committed=True, own=True)

    def rolls_back(self, connection: Connection) -> None:
        self._end(connection, committed=False, own=True)

    def _end(self, connection: Connection, *, committed: bool, own: bool) -> None:
        transaction = self.open.pop(id(driver_of(connection)), None)
        if transaction is not None:
            self.ends(connection, transaction, transaction.ended(committed=committed, own=own))


class _SqlCounter(SqlEars):
    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self._tally = tally

    def ends(self, connection: Connection, transaction: OpenTransaction, kind: Transacted) -> None:  # noqa: ARG002
        self._tally.sql[kind] += 1


def driver_of(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _gist(statement: str) -> str:
    """The verb, the tables, and what else tells statements apart: ``SELECT loans, partners for update``."""
    words = " ".join(statement.split())
    verb = "SELECT DISTINCT" if words.startswith("SELECT DISTINCT") else words.split(" ", 1)[0]
    tables = ", ".join(dict.fromkeys(_TABLES.findall(words)))
    remarks = [remark for text, remark in _REMARKS.items() if text in f"{words} "]
    return " ".join([verb, tables, *remarks])
