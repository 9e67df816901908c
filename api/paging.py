"""Lists in pages, newest first. A cursor names the last thing of a page, so that what is added meanwhile shifts nothing."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError
from sqlalchemy import Select, literal, tuple_
from sqlalchemy.orm import InstrumentedAttribute

SIZE = 50
LARGEST = 200
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a thing stands in its list: the time it is sorted by, to the microsecond, and its id."""

    at: datetime
    id: str


@dataclass(frozen=True, slots=True)
class Order:
    """How a list is sorted, newest first. ``name`` is in its cursors, so that one of another list is told from its own."""

    name: str
    at: InstrumentedAttribute[datetime]
    id: InstrumentedAttribute[str]

    @property
    def pattern(self) -> str:
        """What its cursors look like. Partners send one back as it came, and read nothing from it."""
        return rf"^{self.name}\.[0-9]{{1,16}}\.[A-Za-z0-9:._~-]{{1,200}}$"

    def page(self, query: Select[Any], after: str | None, size: int) -> Select[Any]:
        """The page after a cursor, with one thing more that says whether another page follows."""
        if after is not None:
            place = read_cursor(after)
            query = query.where(tuple_(self.at, self.id) < tuple_(literal(place.at), literal(place.id)))
        return query.order_by(self.at.desc(), self.id.desc()).limit(size + 1)

    def cursor(self, place: Place) -> str:
        return f"{self.name}.{(place.at - _EPOCH) // _MICROSECOND}.{place.id}"


class PageQuery(BaseModel):
    """What every list may be asked. Unknown parameters are refused, so that a misspelt filter never finds everything."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(default=SIZE, ge=1, le=LARGEST, description="how many on a page", examples=[SIZE])


def read_cursor(text: str) -> Place:
    """The text has the pattern of its list's cursors, which the route has checked."""
    _, microseconds, found = text.split(".", 2)
    return Place(_EPOCH + int(microseconds) * _MICROSECOND, found)


def cursor_in(pattern: str) -> tuple[BeforeValidator, WithJsonSchema]:
    """What makes a query parameter a cursor: its check, and what the document says of it."""

    def check(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern[1:-1], value, re.ASCII):
            raise PydanticCustomError("cursor", "Must be the next_cursor of an earlier page of this list, unchanged.")
        return value

    schema = {"type": "string", "pattern": pattern, "description": "next_cursor of the page before"}
    return BeforeValidator(check), WithJsonSchema(schema)


def cut(rows: list[T], size: int, order: Order, place: Callable[[T], Place]) -> tuple[list[T], str | None]:
    """The page of ``size`` out of what ``Order.page`` found, and the cursor of the next one."""
    page = rows[:size]
    return page, order.cursor(place(page[-1])) if len(rows) > size else None
