"""A list of partners as a file: read with the line of every part, so that what is malformed is refused by its line.

The words are those of the system that this engine re-founds. Limits are strings of USDC base units, as everywhere in this
API. A number is refused, and so is a limit below 1,000 USDC other than "0": both would be whole USDC taken for base units.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from api.admin_fields import Email, HttpsUrl, Line, Status, Tier
from api.fields import AddressIn
from models.errors import AdministrationRefused
from models.ids import PublicId
from models.money import BASIS_POINTS, USDC_DECIMALS

_LEAST = 1_000 * 10**USDC_DECIMALS
_LIMIT = r"0|[1-9][0-9]{0,17}"
_BLANK = re.compile(r"[ \t\n\r]*")
_DEEPEST = 20


class FileRefused(AdministrationRefused):
    """The file cannot be imported, and nothing of it was: one line for each fault, each with its line in the file."""

    def __init__(self, faults: Sequence[tuple[int, str]]) -> None:
        super().__init__("\n".join(f"line {line}: {problem}" for line, problem in sorted(faults)))


@dataclass(frozen=True, slots=True)
class Node:
    """A part of the file: ``value`` is a scalar, a dict of Nodes or a list of Nodes; ``line`` is where it begins."""

    value: Any
    line: int

    def plain(self) -> Any:
        if isinstance(self.value, dict):
            return {name: each.plain() for name, each in self.value.items()}
        return [each.plain() for each in self.value] if isinstance(self.value, list) else self.value

    def line_of(self, path: Sequence[str | int]) -> int:
        """The line of the part at the path, or of the innermost one around it that is there."""
        node = self
        for step in path:
            inside = node.value
            here = (
                set(inside) if isinstance(inside, dict) else set(range(len(inside))) if isinstance(inside, list) else ()
            )
            if step in here:
                node = inside[step]
        return node.line


def _limit(value: object) -> int:
    if not isinstance(value, str) or not re.fullmatch(_LIMIT, value):
        raise PydanticCustomError("limit", 'must be a string of USDC base units, such as "50000000000" for 50,000 USDC')
    if 0 < int(value) < _LEAST:
        raise PydanticCustomError(
            "limit", 'is below 1,000 USDC in base units: 50,000 USDC are "50000000000", not "50000"'
        )
    return int(value)


Limit = Annotated[int, BeforeValidator(_limit)]


class PartnerEntry(BaseModel):
    """One partner of the file."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, alias_generator=to_camel)

    partner_id: PublicId
    partner_name: Line
    api_key_prefix: Line
    public_key: Line | None = None
    status: Status
    tier: Tier
    daily_borrow_limit: Limit
    total_borrow_limit: Limit
    platform_fee_percentage: int = Field(ge=0, lt=BASIS_POINTS)
    """Basis points, whatever its name says."""
    settlement_address: AddressIn
    webhook_url: HttpsUrl | None = None
    contact_email: Email
    kyc_verified: bool
    contract_signed: bool


class _List(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    partners: list[PartnerEntry]


@dataclass(frozen=True, slots=True)
class Placed:
    """An entry, the line at which it begins, and that of its settlement address."""

    entry: PartnerEntry
    line: int
    address_line: int


def read_partners(text: str) -> list[Placed]:
    """The entries, in the file's order. Raises FileRefused, which names every fault."""
    tree = _read(text)
    try:
        entries = _List.model_validate(tree.plain()).partners
    except ValidationError as error:
        raise FileRefused([_fault(tree, each) for each in error.errors(include_url=False)]) from None
    placed = [
        Placed(entry, tree.line_of(["partners", place]), tree.line_of(["partners", place, "settlementAddress"]))
        for place, entry in enumerate(entries)
    ]
    _demand_no_twins(placed)
    return placed


def _fault(tree: Node, error: Any) -> tuple[int, str]:
    path = error["loc"]
    said = {"missing": "must be given", "extra_forbidden": "there is no such field"}.get(error["type"], error["msg"])
    name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
    return tree.line_of(path), f"{name or 'the file'}: {said}"


def _demand_no_twins(placed: Sequence[Placed]) -> None:
    faults: list[tuple[int, str]] = []
    ids: dict[str, int] = {}
    addresses: dict[str, int] = {}
    for each in placed:
        entry = each.entry
        if ids.setdefault(entry.partner_id, each.line) != each.line:
            faults.append((each.line, f"partner '{entry.partner_id}' is on line {ids[entry.partner_id]} already"))
        first = addresses.setdefault(entry.settlement_address, each.address_line)
        if first != each.address_line:
            faults.append((each.address_line, f"settlementAddress: is another partner's, on line {first}"))
    if faults:
        raise FileRefused(faults)


def _read(text: str) -> Node:
    try:
        return _Reader(text).whole()
    except json.JSONDecodeError as error:
        raise FileRefused([(error.lineno, f"is not JSON: {error.msg}")]) from None


class _Reader:
    """Python's own reader tells where a file breaks off, but not where its parts are; strings and scalars are left to it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._scalars = json.JSONDecoder(parse_float=Decimal, parse_constant=self._no_constant)

    def whole(self) -> Node:
        node, end = self._value(0, 0)
        if (rest := self._skip(end)) != len(self._text):
            raise json.JSONDecodeError("Extra data", self._text, rest)
        return node

    def _value(self, at: int, depth: int) -> tuple[Node, int]:
        start = self._skip(at)
        opening = self._text[start : start + 1]
        if depth > _DEEPEST:
            raise json.JSONDecodeError("Nested too deeply", self._text, start)
        if opening == "{":
            return self._object(start, depth)
        if opening == "[":
            return self._list(start, depth)
        try:
            value, end = self._scalars.raw_decode(self._text, start)
        except json.JSONDecodeError:
            raise
        except ValueError as error:  # no number, or one of thousands of digits
            raise json.JSONDecodeError(str(error), self._text, start) from None
        return Node(value, self._line(start)), end

    def _object(self, start: int, depth: int) -> tuple[Node, int]:
        found: dict[str, Node] = {}
        at = self._skip(start + 1)
        while self._text[at : at + 1] != "}":
            if self._text[at : at + 1] != '"':
                raise json.JSONDecodeError("Expecting property name enclosed in double quotes", self._text, at)
            name, after = self._scalars.raw_decode(self._text, at)
            if name in found:
                raise json.JSONDecodeError(f"'{name}' is there twice", self._text, at)
            node, end = self._value(self._expect(":", after), depth + 1)
            found[name] = Node(node.value, self._line(at))
            at = self._next("}", end)
        return Node(found, self._line(start)), at + 1

    def _list(self, start: int, depth: int) -> tuple[Node, int]:
        found: list[Node] = []
        at = self._skip(start + 1)
        while self._text[at : at + 1] != "]":
            node, end = self._value(at, depth + 1)
            found.append(node)
            at = self._next("]", end)
        return Node(found, self._line(start)), at + 1

    def _next(self, closing: str, end: int) -> int:
        """Where the next part begins, after a comma, or the closing bracket is."""
        at = self._skip(end)
        if self._text[at : at + 1] == closing:
            return at
        at = self._skip(self._expect(",", at))
        if self._text[at : at + 1] == closing:
            raise json.JSONDecodeError("Expecting a value after the comma", self._text, at)
        return at

    def _expect(self, mark: str, at: int) -> int:
        at = self._skip(at)
        if self._text[at : at + 1] != mark:
            raise json.JSONDecodeError(f"Expecting '{mark}'", self._text, at)
        return at + 1

    def _skip(self, at: int) -> int:
        blank = _BLANK.match(self._text, at)
        return at if blank is None else blank.end()

    def _line(self, at: int) -> int:
        return self._text.count("\n", 0, at) + 1

    @staticmethod
    def _no_constant(name: str) -> None:
        raise ValueError(f"{name} is no number")
