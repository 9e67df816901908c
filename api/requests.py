"""Reading the request log: a partner its own, administrators everybody's, newest first, by what each filter has an index for."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError
from sqlalchemy import ColumnElement, Select, and_, literal_column, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from api.answers import Answer
from api.fields import MomentIn
from models.ids import PublicId
from models.tables.requests import RequestLog

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_CURSOR = r"^[0-9]{1,17}\.req_[0-9A-Z]{26}$"
_ERRORS = 400
_EXAMPLE_TIME = "2030-01-01T00:00:00Z"


def _place(cursor: str) -> str:
    if not re.fullmatch(_CURSOR, cursor):
        raise PydanticCustomError("cursor", "Must be next_cursor of the page before.")
    return cursor


Cursor = Annotated[
    str,
    AfterValidator(_place),
    WithJsonSchema({"type": "string", "pattern": _CURSOR, "description": "next_cursor of the page before"}),
]
Text = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=r"^[^\x00]*$")]


WINDOW = timedelta(days=31)
"""How far back a question goes that names neither ``since`` nor one operation or trace, which an index finds at any time."""


class RequestFilters(BaseModel):
    """What a partner may ask of its own log. All that is given must hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: int | None = Field(default=None, ge=100, le=599)
    min_status: int | None = Field(default=None, ge=100, le=599, description="400 for all that was refused or failed")
    method: Text | None = Field(default=None, examples=["POST"])
    route: Text | None = Field(default=None, description="the template", examples=["/v1/loans/{partner_loan_id}"])
    operation_id: Text | None = Field(default=None, examples=["borrow:acme:loan~loan-2026-000042"])
    trace_id: Text | None = Field(default=None, description="as a problem named it", examples=["0123456789abcdef" * 2])
    since: MomentIn | None = Field(
        default=None,
        description="from this moment on. Left out: the last 31 days, or those before `until`; without a bound where "
        "`operation_id` or `trace_id` is given",
        examples=[_EXAMPLE_TIME],
    )
    until: MomentIn | None = Field(default=None, description="this moment excluded", examples=[_EXAMPLE_TIME])
    cursor: Cursor | None = None
    limit: int = Field(default=50, ge=1, le=200, description="requests on a page")


class AdminRequestFilters(RequestFilters):
    partner_id: PublicId | None = None
    key_prefix: Text | None = Field(default=None, examples=["pk_acme_sandbox_Ab3x"])
    failed_authentication: bool = Field(default=False, description="only what was answered 401")


class RequestAnswer(Answer):
    """One call. Bodies are as they were received and sent, without secrets, and cut where they are long."""

    request_id: str
    at: datetime
    key_prefix: str | None
    method: str
    route: str
    path: str
    query: str | None
    status: int
    code: str | None = Field(description="of the problem that it was answered with")
    duration_us: int = Field(description="microseconds")
    address: str | None
    user_agent: str | None
    request_body: str | None
    response_body: str | None
    idempotency_key: str | None
    operation_id: str | None
    loan_id: str | None
    partner_loan_id: str | None
    user_wallet: str | None
    oaid_token_id: str | None
    trace_id: str


class AdminRequestAnswer(RequestAnswer):
    partner_id: str | None = Field(description="absent where nobody was recognised, or it was an administrator")
    administrator_id: str | None
    api_key_id: str | None


class RequestsAnswer(Answer):
    requests: list[RequestAnswer]
    next_cursor: str | None


class AdminRequestsAnswer(Answer):
    requests: list[AdminRequestAnswer]
    next_cursor: str | None


async def partners_requests(session: AsyncSession, partner_id: str, asked: RequestFilters) -> RequestsAnswer:
    rows, following = await _page(session, partners_query(partner_id, asked), asked.limit)
    return RequestsAnswer(requests=[RequestAnswer(**_fields(row)) for row in rows], next_cursor=following)


async def all_requests(session: AsyncSession, asked: AdminRequestFilters) -> AdminRequestsAnswer:
    rows, following = await _page(session, admins_query(asked), asked.limit)
    return AdminRequestsAnswer(requests=[_admin_answer(row) for row in rows], next_cursor=following)


def partners_query(partner_id: str, asked: RequestFilters) -> Select[RequestLog]:
    return _query([RequestLog.partner_id == partner_id, *_conditions(asked)], asked.limit)


def admins_query(asked: AdminRequestFilters) -> Select[RequestLog]:
    conditions = _conditions(asked)
    if asked.partner_id is not None:
        conditions.append(RequestLog.partner_id == asked.partner_id)
    if asked.key_prefix is not None:
        conditions.append(RequestLog.key_prefix == asked.key_prefix)
    if asked.failed_authentication:
        conditions.append(RequestLog.status == literal_column("401"))
    return _query(conditions, asked.limit)


def _query(conditions: list[ColumnElement[bool]], size: int) -> Select[RequestLog]:
    newest_first = (RequestLog.at.desc(), RequestLog.id.desc())
    return select(RequestLog).where(*conditions).order_by(*newest_first).limit(size + 1)


def _conditions(asked: RequestFilters) -> list[ColumnElement[bool]]:
    named = {
        RequestLog.status: asked.status,
        RequestLog.method: asked.method,
        RequestLog.route: asked.route,
        RequestLog.operation_id: asked.operation_id,
        RequestLog.trace_id: asked.trace_id,
    }
    conditions: list[ColumnElement[bool]] = [column == value for column, value in named.items() if value is not None]
    if asked.min_status is not None:
        conditions.append(RequestLog.status >= asked.min_status)
    if max(asked.min_status or 0, asked.status or 0) >= _ERRORS:
        conditions.append(RequestLog.status >= literal_column(str(_ERRORS)))  # in these words an index knows it
    if (since := _since(asked)) is not None:
        conditions.append(RequestLog.at >= since)
    if asked.until is not None:
        conditions.append(RequestLog.at < asked.until)
    if asked.cursor is not None:
        conditions.append(_after(asked.cursor))
    return conditions


def _since(asked: RequestFilters) -> datetime | None:
    if asked.since is not None or asked.operation_id is not None or asked.trace_id is not None:
        return asked.since
    return max(asked.until or datetime.now(UTC), _EPOCH + WINDOW) - WINDOW


def _after(cursor: str) -> ColumnElement[bool]:
    """The time stands by itself as well, since PostgreSQL leaves out no month for the sake of a pair."""
    microseconds, _, request_id = cursor.partition(".")
    at = _EPOCH + int(microseconds) * _MICROSECOND
    return and_(RequestLog.at <= at, tuple_(RequestLog.at, RequestLog.id) < tuple_(at, request_id))


async def _page(session: AsyncSession, query: Select[RequestLog], size: int) -> tuple[list[RequestLog], str | None]:
    rows = list(await session.scalars(query))
    page = rows[:size]
    if len(rows) <= size:
        return page, None
    return page, f"{(page[-1].at - _EPOCH) // _MICROSECOND}.{page[-1].id}"


def _admin_answer(row: RequestLog) -> AdminRequestAnswer:
    return AdminRequestAnswer(
        partner_id=row.partner_id,
        administrator_id=row.administrator_id,
        api_key_id=row.api_key_id,
        **_fields(row),
    )


def _fields(row: RequestLog) -> dict[str, Any]:
    same = {name: getattr(row, name) for name in RequestAnswer.model_fields if name != "request_id"}
    oaid_token_id = None if row.oaid_token_id is None else str(row.oaid_token_id)
    return {**same, "request_id": row.id, "oaid_token_id": oaid_token_id}
