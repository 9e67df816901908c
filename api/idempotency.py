"""Money is asked for once: a request is recorded under its key before anything starts (money.md section 1).

The row decides, for ever: the same key with the same body is the same operation, with another body a conflict. What is
compared is the body as it was received, keys sorted and defaults unfilled, so that a default that changes one day changes
no request of the past.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import Request
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from api.auth import Caller
from api.errors import MalformedJson, OperationRefused, UnsupportedMediaType
from models.errors import IdempotencyKeyReused, RefusalPayload
from models.ids import operation_id
from models.messages.borrow import BorrowDecision, BorrowTerms
from models.messages.repay import RepayDecision, RepayTerms
from models.statuses import DecisionKind, OperationKind, OperationState
from models.tables.operations import Operation

FRESH = timedelta(minutes=1)
"""A recorded request that is younger needs no new time of receipt: the sweep gives up after ten minutes only."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class MoneyRequest:
    """A valid request that moves money. ``body`` is as it was received, ``request`` as workflows read it."""

    kind: OperationKind
    caller: Caller
    key: str
    partner_loan_id: str
    path: dict[str, str]
    body: Json
    request: Json
    loan_id: str | None
    trace_id: str
    traceparent: str | None

    @property
    def operation_id(self) -> str:
        return operation_id(self.kind, self.caller.partner_id, self.key)

    @property
    def fingerprint(self) -> str:
        return fingerprint("POST", self.path, self.body)


@dataclass(frozen=True, slots=True)
class Recorded:
    """The operation that a request names. ``replayed``: an earlier request made it. ``decision``: None while there is none."""

    operation_id: str
    loan_id: str | None
    trace_id: str | None
    replayed: bool
    decision: BorrowDecision | RepayDecision | None


def fingerprint(method: str, path: dict[str, str], body: Json) -> str:
    """SHA-256, in hex, over method, path parameters and received body."""
    return hashlib.sha256(_canonical([method, path, body]).encode()).hexdigest()


async def received_body(request: Request) -> Json:
    """The body as it came, for the fingerprint. Raises 415 or 400 where it cannot be one that PostgreSQL can keep."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType
    raw = await request.body()
    if not raw:
        raise MalformedJson("The body is empty. Send a JSON object.")
    try:
        body = json.loads(raw, object_pairs_hook=_no_twins, parse_constant=_refuse_constant)
        _canonical(body).encode()
    except UnicodeError as error:
        raise MalformedJson("The body holds text that is not valid Unicode.") from error
    except (ValueError, RecursionError) as error:
        raise MalformedJson(f"The body is not valid JSON: {error}.") from error
    return body if isinstance(body, dict) else {}  # the route's own validation says that it must be an object


async def record(statements: async_sessionmaker[AsyncSession], asked: MoneyRequest) -> Recorded:
    """Records a request, or finds what an earlier one with its key recorded.

    Raises OperationRefused where the key was used for another request. Nothing has started when this returns.
    """
    async with statements() as session:
        if await session.scalar(_insertion(asked)) is not None:
            return Recorded(asked.operation_id, asked.loan_id, asked.trace_id, replayed=False, decision=None)
        row = await _row(session, asked.operation_id)
        if row.fingerprint != asked.fingerprint:
            raise _conflict(row, asked)
        if _must_be_restored(row, asked):
            await session.execute(_restoration(asked))
        return recorded(row, replayed=True)


async def look_again(statements: async_sessionmaker[AsyncSession], known: Recorded) -> Recorded:
    """The operation as its row is now: the decision may have come by another way than ours."""
    async with statements() as session:
        return recorded(await _row(session, known.operation_id), replayed=known.replayed)


def recorded(row: Operation, *, replayed: bool) -> Recorded:
    return Recorded(row.id, row.loan_id, row.trace_id, replayed, decision_of(row))


def decision_of(row: Operation) -> BorrowDecision | RepayDecision | None:
    if row.decision is None:
        return None
    refusal = None if row.refusal is None else RefusalPayload.model_validate(row.refusal)
    accepted = row.decision is DecisionKind.ACCEPTED
    if row.kind is OperationKind.BORROW:
        borrow_terms = BorrowTerms.model_validate(row.terms) if accepted else None
        return BorrowDecision(kind=row.decision, loan_id=row.loan_id, refusal=refusal, terms=borrow_terms)
    repay_terms = RepayTerms.model_validate(row.terms) if accepted else None
    return RepayDecision(kind=row.decision, loan_id=row.loan_id, refusal=refusal, terms=repay_terms)


def _insertion(asked: MoneyRequest) -> Any:
    """Without a conflict target, so that a twin that is being written by another transaction is waited for on any index."""
    return (
        insert(Operation)
        .values(
            id=asked.operation_id,
            kind=asked.kind,
            partner_id=asked.caller.partner_id,
            api_key_id=asked.caller.api_key_id,
            idempotency_key=asked.key,
            fingerprint=asked.fingerprint,
            received_body=asked.body,
            request=asked.request,
            loan_id=asked.loan_id,
            partner_loan_id=asked.partner_loan_id,
            state=OperationState.RECEIVED,
            trace_id=asked.trace_id,
            traceparent=asked.traceparent,
        )
        .on_conflict_do_nothing()
        .returning(Operation.id)
    )


async def _row(session: AsyncSession, found_id: str) -> Operation:
    return (await session.scalars(select(Operation).where(Operation.id == found_id))).one()


def _must_be_restored(row: Operation, asked: MoneyRequest) -> bool:
    """A request that nothing came of is made new by its repeat, under the key that the repeat came with."""
    if row.state is OperationState.NOT_STARTED:
        return True
    stale = datetime.now(UTC) - row.received_at > FRESH or row.api_key_id != asked.caller.api_key_id
    return row.state is OperationState.RECEIVED and stale


def _restoration(asked: MoneyRequest) -> Any:
    return (
        update(Operation)
        .where(
            Operation.id == asked.operation_id,
            Operation.state.in_([OperationState.NOT_STARTED, OperationState.RECEIVED]),
            Operation.decision.is_(None),
        )
        .values(state=OperationState.RECEIVED, received_at=func.now(), api_key_id=asked.caller.api_key_id)
        .execution_options(synchronize_session=False)
    )


def _conflict(row: Operation, asked: MoneyRequest) -> OperationRefused:
    return OperationRefused(key_reused(row, asked).payload(), row.id, asked.trace_id, replayed=False)


def key_reused(row: Operation, asked: MoneyRequest) -> IdempotencyKeyReused:
    """The refusal of a request whose key has named ``row``, which is another request."""
    return IdempotencyKeyReused(_differing(row, asked))


def _differing(row: Operation, asked: MoneyRequest) -> list[str]:
    """The names of what differs: fields of the body's top level, and path parameters."""
    before, now = row.received_body or {}, asked.body
    names = sorted(
        name
        for name in before.keys() | now.keys()
        if (name in before) != (name in now) or _canonical(before.get(name)) != _canonical(now.get(name))
    )
    if asked.path and row.partner_loan_id != asked.partner_loan_id:
        names.append("partner_loan_id (path)")
    return names or ["the request"]


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _no_twins(pairs: list[tuple[str, Any]]) -> Json:
    """Two members of one name mean different things to different parsers; and PostgreSQL keeps no NUL."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object names a member twice")
    if any("\x00" in text for pair in pairs for text in pair if isinstance(text, str)):
        raise ValueError("text holds a NUL character")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
