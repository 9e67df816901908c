"""The points at which a process can die, attached to it from outside: production code knows nothing of them.

A point is the moment before or after something that another part sees: a commit that wrote, a statement that wrote and
committed by itself, an HTTP request to the node, the body of an activity, a call of Temporal. Its name is stable:
``who | what | before``, where *who* is the activity with its leg, or the function that asked. Commits and requests are heard
and named as the benchmark counts them (bench/counting.py), so that the two can be compared.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import FrameType
from typing import Any
from unittest.mock import patch

from greenlet import getcurrent  # type: ignore[import-untyped]
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql.psycopg import PGDialectAsync_psycopg
from sqlalchemy.util import await_only
from temporalio import activity
from temporalio.client import Client
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor, Worker

from bench.counting import WRITES, OpenTransaction, SqlEars, Transacted, calling_frame, driver_of, overheard
from chain.rpc import Answer, JsonRpc, RpcRequest
from tests.faults.results import ROOT

BEFORE, AFTER = "before", "after"
COMMIT, ACTIVITY, UPDATE = "commit", "activity", "update-with-start"
_PASSES_ON = (str(ROOT / "chain/election.py"), str(ROOT / "tests"), str(ROOT / "bench"), str(ROOT / ".venv"))
_MIDDLEWARE = ".__call__"
_LEGS = "chain_transactions"
_OF_A_LEG = ("eth_sendRawTransaction", "eth_getTransactionReceipt")
_leg: ContextVar[str] = ContextVar("leg", default="")


@dataclass(frozen=True, slots=True)
class Arrival:
    """``operation`` tells arrivals of different operations apart; ``weight`` is how many legs it carries, or one."""

    point: str
    operation: str
    weight: int = 1


Reached = Callable[[Arrival], Awaitable[None]]
"""Told of each arrival, which goes on when this returns."""


@contextmanager
def attached(reached: Reached) -> Iterator[None]:
    """Every point of this process is heard while the block lasts; what was built before the block keeps its interceptors."""
    ears = _SqlPoints(reached)
    with (
        overheard(ears),
        patch.object(PGDialectAsync_psycopg, "do_commit", ears.commit_of(PGDialectAsync_psycopg.do_commit)),
        patch.object(JsonRpc, "_batch_once", _requests(reached, JsonRpc._batch_once)),
        patch.object(Client, "execute_update_with_start_workflow", _updates(reached)),
        patch.object(Worker, "__init__", _with_activities(reached, Worker.__init__)),
    ):
        yield


def _operation() -> str:
    if activity.in_activity():
        return activity.info().workflow_id or ""
    return f"task {id(asyncio.current_task())}"


def _speaker(function: str) -> str:
    """The activity and its leg; elsewhere the function that asked."""
    return f"{activity.info().activity_type} {_leg.get()}".strip() if activity.in_activity() else function


class _SqlPoints(SqlEars):
    """A commit is told from inside SQLAlchemy, where a coroutine is awaited through the greenlet that runs it."""

    def __init__(self, reached: Reached) -> None:
        super().__init__()
        self._reached = reached
        self._functions: dict[int, str] = {}
        self._committing: dict[int, Arrival] = {}

    def executes(self, connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        super().executes(connection, _cursor, statement)
        driver = driver_of(connection)
        if len(self.open[id(driver)].statements) == 1:
            self._functions[id(driver)] = _function_in_transaction()
        if driver.autocommit and statement.lstrip().startswith(WRITES):
            self._tell(self._arrival(driver, self.open[id(driver)]), BEFORE)

    def ends(self, connection: Connection, transaction: OpenTransaction, kind: Transacted) -> None:
        if not (kind.committed and kind.writes):
            return
        driver = driver_of(connection)
        arrival = self._arrival(driver, transaction)
        if kind.own:
            self._committing[id(driver)] = arrival
            self._tell(arrival, BEFORE)
        else:
            self._tell(arrival, AFTER)

    def commit_of(self, commit: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
        def committed(dialect: Any, connection: Any) -> None:
            arrival = self._committing.pop(id(connection.driver_connection), None)
            commit(dialect, connection)
            if arrival is not None:
                self._tell(arrival, AFTER)

        return committed

    def _arrival(self, driver: Any, transaction: OpenTransaction) -> Arrival:
        point = f"{_speaker(self._functions[id(driver)])} | {COMMIT}"
        legs = [rows for statement, rows in transaction.rows.items() if _LEGS in statement]
        return Arrival(point, _operation(), max([1, *legs]))

    def _tell(self, arrival: Arrival, when: str) -> None:
        await_only(self._reached(_at(arrival, when)))


def _at(arrival: Arrival, when: str) -> Arrival:
    return Arrival(f"{arrival.point} | {when}", arrival.operation, arrival.weight)


def _function_in_transaction() -> str:
    """SQLAlchemy runs in a greenlet of its own; whoever awaits it is in the frames of that greenlet's parent."""
    parent = getcurrent().parent
    return "" if parent is None else _function(parent.gr_frame)


def _function(frame: FrameType | None) -> str:
    """The innermost method of the engine, since functions help several; the innermost function where there is none."""
    functions = []
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(str(ROOT)) and not code.co_filename.startswith(_PASSES_ON):
            functions.append(code.co_qualname.replace(".<locals>", ""))
        frame = frame.f_back
    methods = (name for name in functions if "." in name and not name.endswith(_MIDDLEWARE))
    return next(methods, [*functions, "elsewhere"][0])


def _requests(reached: Reached, send: Callable[..., Awaitable[list[Answer]]]) -> Callable[..., Awaitable[list[Answer]]]:
    async def sent(rpc: JsonRpc, requests: Sequence[RpcRequest]) -> list[Answer]:
        methods = ", ".join(dict.fromkeys(method for method, _ in requests))
        caller = _speaker(_function(calling_frame(__file__)))
        legs = sum(method in _OF_A_LEG for method, _ in requests)
        arrival = Arrival(f"{caller} | {methods}", _operation(), max(1, legs))
        await reached(_at(arrival, BEFORE))
        answers = await send(rpc, requests)
        await reached(_at(arrival, AFTER))
        return answers

    return sent


def _updates(reached: Reached) -> Callable[..., Awaitable[Any]]:
    call = Client.execute_update_with_start_workflow

    async def called(client: Client, *arguments: Any, **named: Any) -> Any:
        arrival = Arrival(f"{_speaker(_function(calling_frame(__file__)))} | {UPDATE}", _operation())
        await reached(_at(arrival, BEFORE))
        answer = await call(client, *arguments, **named)
        await reached(_at(arrival, AFTER))
        return answer

    return called


def _with_activities(reached: Reached, build: Callable[..., None]) -> Callable[..., None]:
    def built(worker: Worker, *arguments: Any, interceptors: Sequence[Interceptor] = (), **named: Any) -> None:
        build(worker, *arguments, interceptors=[_Activities(reached), *interceptors], **named)

    return built


@dataclass
class _Activities(Interceptor):
    reached: Reached

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        return _Activity(next, self.reached)


class _Activity(ActivityInboundInterceptor):
    def __init__(self, inner: ActivityInboundInterceptor, reached: Reached) -> None:
        super().__init__(inner)
        self._reached = reached

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        """``after`` is told when the body has returned and Temporal does not know it yet."""
        _leg.set(re.sub(r"-\d+$", "", str(getattr(next(iter(input.args), None), "leg", ""))))
        arrival = Arrival(f"{_speaker('')} | {ACTIVITY}", _operation())
        await self._reached(_at(arrival, BEFORE))
        answer = await super().execute_activity(input)
        await self._reached(_at(arrival, AFTER))
        return answer
