"""The declarative base, the column types and the constraint helpers that every table uses."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Dialect, MetaData, Numeric, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column
from sqlalchemy.types import TypeDecorator

NAMING = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Uint256(TypeDecorator[int]):
    """A 256-bit unsigned integer of the chain: ``NUMERIC(78, 0)`` in PostgreSQL, ``int`` in Python."""

    impl = Numeric(78, 0)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> Decimal | None:  # noqa: ARG002 - SQLAlchemy's signature
        return None if value is None else Decimal(value)

    def process_result_value(self, value: Decimal | None, dialect: Dialect) -> int | None:  # noqa: ARG002 - SQLAlchemy's signature
        return None if value is None else int(value)


E = TypeVar("E", bound=StrEnum)


class Words(TypeDecorator[E]):
    """A StrEnum stored as text; the table's CHECK names the words that it admits."""

    impl = Text
    cache_ok = True

    def __init__(self, words: type[E]) -> None:
        super().__init__()
        self.words = words

    def process_bind_param(self, value: E | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> E | None:  # noqa: ARG002 - SQLAlchemy's signature
        return None if value is None else self.words(value)


def in_words(column: str, words: type[StrEnum]) -> CheckConstraint:
    """A CHECK that a text column holds one of the words of an enumeration."""
    return CheckConstraint(f"{column} IN ({sql_words(*words)})", name=f"{column}_is_known")


def sql_words(*words: StrEnum) -> str:
    """Words as a list of SQL literals, sorted so that a migration can be compared with the models."""
    return ", ".join(f"'{word}'" for word in sorted(words))


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own class attribute
        int: BigInteger,
        str: Text,
        datetime: DateTime(timezone=True),
    }


CreatedAt = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=func.now())]
JsonObject = dict[str, Any]
NULLABLE_JSON = JSONB(none_as_null=True)
"""Stores ``None`` as NULL and not as JSON's ``null``, which every ``IS NOT NULL`` of a CHECK would take for a value."""
