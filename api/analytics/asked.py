"""What an administrator may ask figures for: a span of whole buckets, and whose."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from api.errors import FieldFault, InvalidRequest
from models.ids import PUBLIC_ID_PATTERN
from models.statuses import Bucket, OperationKind, PartnerTier

MOST_BUCKETS = 62
"""In one answer, such as two months of days; so it stays small, and so does the part of the sums that is read for it."""
MOST_LATENCY_BUCKETS = 31
"""Each has hundreds of slots."""
DEFAULT_BUCKETS = 30
_DAY = r"^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"
_A_DAY = timedelta(days=1)


def _day(value: object) -> date:
    problem = PydanticCustomError("day", 'Must be a day such as "2026-01-31", from 2000 to 2099.')
    if not isinstance(value, str) or not re.fullmatch(_DAY, value):
        raise problem
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise problem from error


DayIn = Annotated[
    date,
    BeforeValidator(_day),
    WithJsonSchema({"type": "string", "format": "date", "pattern": _DAY, "examples": ["2026-01-31"]}),
]


class GroupBy(StrEnum):
    NONE = "none"
    PARTNER = "partner"
    TIER = "tier"


class RefusalGroup(StrEnum):
    NONE = "none"
    PARTNER = "partner"


MovingKind = Literal[OperationKind.BORROW, OperationKind.REPAY]
"""SYSTEM operations are nobody's: nobody asked for them, and none is refused."""


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SpanAsked(_Asked):
    bucket: Bucket = Field(default=Bucket.DAY, description="what the span is cut into, in UTC; weeks begin on Monday")
    from_: DayIn | None = Field(
        default=None,
        alias="from",
        description=f"a day of the first bucket; left out, {DEFAULT_BUCKETS} buckets are answered. At most {MOST_BUCKETS} are, and "
        f"{MOST_LATENCY_BUCKETS} of latency",
    )
    to: DayIn | None = Field(
        default=None, description="a day of the last bucket, which is answered whole; today if left out"
    )


class Whose(_Asked):
    partner_id: str | None = Field(default=None, pattern=PUBLIC_ID_PATTERN, description="of this partner alone")
    tier: PartnerTier | None = Field(default=None, description="of the partners that have this tier now")


class Paged(_Asked):
    cursor: str | None = Field(default=None, pattern=PUBLIC_ID_PATTERN, description="next_cursor of the page before")
    limit: int = Field(default=20, ge=1, le=100, description="partners on a page")


class VolumeAsked(SpanAsked, Whose, Paged):
    limit: int = Field(
        default=20, ge=1, le=100, description="partners on a page, where they are told apart; long spans have fewer"
    )
    group_by: GroupBy = Field(default=GroupBy.NONE, description="one series for all, for each partner or for each tier")


class UtilisationAsked(Whose, Paged):
    pass


class LatencyAsked(SpanAsked):
    kind: MovingKind | None = Field(default=None, description="of these operations alone")


class RefusalsAsked(SpanAsked, Whose):
    kind: MovingKind | None = Field(default=None, description="of these operations alone")
    group_by: RefusalGroup = Field(default=RefusalGroup.NONE, description="whether partners are told apart")
    limit: int = Field(default=20, ge=1, le=100, description="how many of the most frequent")


@dataclass(frozen=True, slots=True)
class Span:
    """Whole buckets: the first days of each, and ``end``, the first day after the last."""

    bucket: Bucket
    starts: Sequence[date]
    end: date

    @property
    def first(self) -> date:
        return self.starts[0]

    @property
    def last_day(self) -> date:
        return self.end - _A_DAY


def span_of(asked: SpanAsked, today: date) -> Span:
    """Raises InvalidRequest where the span ends before it begins, or has more buckets than one answer may."""
    most = MOST_LATENCY_BUCKETS if isinstance(asked, LatencyAsked) else MOST_BUCKETS
    last = bucket_of(asked.bucket, today if asked.to is None else asked.to)
    first = _back(asked.bucket, last) if asked.from_ is None else bucket_of(asked.bucket, asked.from_)
    if first > last:
        raise _not_valid("from", "Must not be after 'to'.")
    starts, following = [first], _next(asked.bucket, first)
    while following <= last:
        starts.append(following)
        following = _next(asked.bucket, following)
        if len(starts) > most:
            raise _not_valid("from", f"The span has more than {most} buckets. Ask for less, or for larger ones.")
    return Span(asked.bucket, starts, following)


def bucket_of(bucket: Bucket, day: date) -> date:
    """The first day of the bucket that the day is in."""
    match bucket:
        case Bucket.DAY:
            return day
        case Bucket.WEEK:
            return day - timedelta(days=day.weekday())
        case Bucket.MONTH:
            return day.replace(day=1)


def _next(bucket: Bucket, start: date) -> date:
    match bucket:
        case Bucket.DAY:
            return start + _A_DAY
        case Bucket.WEEK:
            return start + timedelta(days=7)
        case Bucket.MONTH:
            return bucket_of(bucket, start + timedelta(days=31))


def _back(bucket: Bucket, last: date) -> date:
    first = last
    for _ in range(DEFAULT_BUCKETS - 1):
        first = bucket_of(bucket, first - _A_DAY)
    return first


def _not_valid(parameter: str, detail: str) -> InvalidRequest:
    faults = (FieldFault(detail, parameter=parameter),)
    return InvalidRequest("1 part(s) of the request are not valid; see errors.", faults=faults)
