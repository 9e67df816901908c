"""What changed in a row, as the audit trail has it: the fields that differ, before and after, in JSON's own types."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy.orm import DeclarativeBase

from models.tables.base import JsonObject

AMOUNTS = frozenset({"daily_borrow_limit", "total_borrow_limit", "max_amount"})
"""Base units, which are strings in JSON."""


def shown(name: str, value: object) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, StrEnum):
        return str(value)
    return str(value) if name in AMOUNTS and value is not None else value


def shown_fields(values: Mapping[str, object]) -> JsonObject:
    return {name: shown(name, value) for name, value in values.items()}


def change(row: DeclarativeBase, values: Mapping[str, object]) -> tuple[JsonObject, JsonObject]:
    """Sets the fields that differ; what they were and what they are now, both empty where nothing differs."""
    before: JsonObject = {}
    after: JsonObject = {}
    for name, value in values.items():
        if (was := getattr(row, name)) != value:
            before[name], after[name] = shown(name, was), shown(name, value)
            setattr(row, name, value)
    return before, after
