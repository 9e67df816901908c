"""Each authenticated call, and each failed authentication, is in PostgreSQL before the first byte of its answer leaves.

Plain ASGI, between the edge and whatever can answer, so that every answer is seen: of the routes, of a refusal, of a bug.
Where the row cannot be written the answer does not leave: the client is told to ask again, which is always safe (ADR 0020).
"""

import asyncio
from datetime import timedelta
from typing import cast

import structlog
from sqlalchemy import Table, insert, select
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import ApiProblem, DatabaseUnavailable, MethodNotAllowed, RateLimited, RouteNotFound, Unauthenticated
from api.failures import Failures, rate_headers
from api.keys import Key, parse_key
from api.problems import api_problem, problem_response
from api.request_rows import Call, Row, bearer_of, row_of
from api.resources import Resources
from api.windows import Taken
from models.tables.administration import AdminKey
from models.tables.partners import ApiKey
from models.tables.requests import RequestLog

PATIENCE = timedelta(seconds=5)
"""How long an answer waits for its row. No lock of the upkeep lasts as long."""
_ERROR = 400
_INSERT = insert(cast(Table, RequestLog.__table__))  # of the table, since an object's way is longer


class RequestLogging:
    def __init__(self, app: ASGIApp, *, problem_base: str) -> None:
        self._app = app
        self._base = problem_base

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _HeldAnswer(Call(scope, receive), send, self._base)
        await self._app(scope, answer.call.receive, answer.send)


class _HeldAnswer:
    """Keeps an answer back until its row is committed. Answers to nobody, such as of public routes, pass through."""

    def __init__(self, call: Call, send: Send, base: str) -> None:
        self.call = call
        self._send = send
        self._base = base
        self._kept = False
        self._refusal: Taken | None = None
        self._messages: list[Message] = []

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.call.answered(message)
            self._kept = await self._is_somebodys(message["status"])
            if self._refusal is not None:
                self.call.scope["state"]["answer_headers"][:] = rate_headers(self._refusal)
                await self._instead(RateLimited(self._refusal.limit, self._refusal.frees_in_seconds))
        if self._refusal is not None:
            return
        if not self._kept:
            await self._send(message)
            return
        self._messages.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            await self._leave()

    async def _is_somebodys(self, status: int) -> bool:
        """Also where it was refused before anybody asked whose it is, such as for a body that cannot be read."""
        who = self.call.who
        if who.unheard:
            return False
        if status == Unauthenticated.status or who.key_prefix is not None:
            return True
        return status >= _ERROR and await self._may_be_named()

    async def _may_be_named(self) -> bool:
        """Whether the call carries a well-formed key. One that nobody has counts for its address, as it does at the gate.

        Past the limit no key is looked up or kept, and where there is no such route the answer is 429.
        """
        call = self.call
        key = parse_key(bearer_of(call.scope))
        if key is None:
            return False
        failures = Failures.of(_resources(call), call.who, key.text)
        refusal = failures.refused()
        if refusal is None and not await _recognised(call, key):
            refusal = await failures.add()
        if call.who.unheard and _leads_nowhere(call):
            self._refusal = refusal
        return not call.who.unheard

    async def _leave(self) -> None:
        self.call.body_sent = b"".join(message.get("body", b"") for message in self._messages[1:])
        if not await _committed(self.call):
            await self._instead(DatabaseUnavailable())
            return
        for message in self._messages:
            await self._send(message)

    async def _instead(self, error: ApiProblem) -> None:
        problem = api_problem(error, self._base, self.call.trace_id)
        answer = problem_response(problem, error.headers)
        await answer(self.call.scope, self.call.receive, self._send)


async def write_row(statements: async_sessionmaker[AsyncSession], row: Row) -> None:
    """One statement that commits by itself.

    Once more where the row was on its way to the default partition when the upkeep attached the month it belongs to:
    PostgreSQL refuses it at that very moment, and the next attempt finds the month.
    """
    async with statements() as session:
        try:
            await session.execute(_INSERT, row)
        except IntegrityError:
            await session.execute(_INSERT, row)


async def _committed(call: Call) -> bool:
    """False where PostgreSQL is away: then it is not known whether the row is there."""
    resources = _resources(call)
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            await write_row(resources.statements, row_of(call))
    except (OperationalError, InterfaceError, PoolTimeout, TimeoutError) as error:
        structlog.get_logger(__name__).warning(
            "an answer is kept back: its log row cannot be written",
            error=type(error).__name__,
        )
        return False
    return True


def _leads_nowhere(call: Call) -> bool:
    """Whether no route took the call, so that no gate counted it."""
    return call.status == MethodNotAllowed.status or (call.status == RouteNotFound.status and "route" not in call.scope)


async def _recognised(call: Call, key: Key) -> bool:
    """Whether somebody has the key. Whose it is, is said in the row, although nobody was let in by it."""
    resources, who = _resources(call), call.who
    who.key_prefix = key.prefix
    hashed = key.hash(resources.settings.key_pepper)
    partners = select(ApiKey.id, ApiKey.partner_id).where(ApiKey.secret_hash == hashed)
    administrators = select(AdminKey.id, AdminKey.administrator_id).where(AdminKey.secret_hash == hashed)
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()), resources.statements() as session:
            if key.partner_id is not None:
                who.api_key_id, who.partner_id = (await session.execute(partners)).one_or_none() or (None, None)
            else:
                found = (await session.execute(administrators)).one_or_none() or (None, None)
                who.admin_key_id, who.administrator_id = found
    except (OperationalError, InterfaceError, PoolTimeout, TimeoutError):
        return True  # its row cannot be written either, and says so
    return who.api_key_id is not None or who.admin_key_id is not None


def _resources(call: Call) -> Resources:
    resources: Resources = call.scope["app"].state.resources
    return resources
