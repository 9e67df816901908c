"""The fields that requests are made of: what each may hold, said in one sentence where it does not."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from eth_utils.address import is_checksum_address
from pydantic import AfterValidator, BeforeValidator, GetJsonSchemaHandler, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from chain.codec import checksum
from models.money import MAX_AMOUNT
from models.redaction import holds_secret

AMOUNT = r"^[1-9][0-9]{0,17}$"
UINT256 = r"^(0|[1-9][0-9]{0,77})$"
ADDRESS = r"^0x[0-9a-fA-F]{40}$"
TX_HASH = r"^0x[0-9a-fA-F]{64}$"
RFC_3339 = r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)"
SIGNATURE = r"^0x([0-9a-fA-F]{2}){1,4096}$"
MAX_UINT256 = 2**256 - 1
_MAX_JSON_INTEGER = 2**53 - 1
_LATEST = datetime(9999, 1, 1, tzinfo=UTC)


def _amount(value: object) -> int:
    if isinstance(value, str) and re.fullmatch(AMOUNT, value):
        return int(value)
    raise PydanticCustomError(
        "amount",
        'Must be a string of USDC base units, from "1" to "{most}", such as "5000000000" for 5,000 USDC: no sign, no '
        "decimals, no leading zero.",
        {"most": MAX_AMOUNT},
    )


def _uint256(value: object) -> int:
    number: int | None = None
    if isinstance(value, str) and re.fullmatch(UINT256, value):
        number = int(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value if 0 <= value <= _MAX_JSON_INTEGER else None
    if number is None or number > MAX_UINT256:
        raise PydanticCustomError("uint256", 'Must be a string of digits, such as "1", at most 2^256 - 1.')
    return number


def _address(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(ADDRESS, value):
        raise PydanticCustomError("address", "Must be 0x and 40 hex digits.")
    digits = value[2:]
    if digits not in (digits.lower(), digits.upper()) and not is_checksum_address(value):
        raise PydanticCustomError("address", "The address's EIP-55 checksum does not hold, so it was mistyped.")
    return checksum(value.lower())


def _hex(pattern: str, detail: str) -> BeforeValidator:
    def lower(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise PydanticCustomError("hex", "{detail}", {"detail": detail})
        return value.lower()

    return BeforeValidator(lower)


def _moment(value: object) -> datetime:
    """RFC 3339; what is below a second is cut off, since the chain counts seconds."""
    problem = PydanticCustomError("moment", 'Must be an RFC 3339 time with its zone, such as "2030-01-01T00:00:00Z".')
    if not isinstance(value, str) or not re.fullmatch(RFC_3339, value):
        raise problem
    try:
        moment = datetime.fromisoformat(value.upper()).astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError) as error:
        raise problem from error
    if not datetime.fromtimestamp(0, UTC) <= moment < _LATEST:
        raise problem
    return moment


def _no_secret(value: str) -> str:
    if holds_secret(value):
        raise PydanticCustomError(
            "secret", "Holds an API key or another secret, which would be stored: send another text."
        )
    return value


def _schema(pattern: str, example: str, description: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "description": description, "examples": [example]})


def _uint256_schema(description: str) -> WithJsonSchema:
    forms: list[dict[str, Any]] = [
        {"type": "string", "pattern": UINT256},
        {"type": "integer", "minimum": 0, "maximum": _MAX_JSON_INTEGER},
    ]
    return WithJsonSchema({"anyOf": forms, "description": description, "examples": ["1"]})


class _MayBeAbsent:
    """For the document: a query parameter can be left out, and cannot be null, which a URL has no word for."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        (only,) = [form for form in schema.pop("anyOf") if form != {"type": "null"}]
        return {**only, **schema}


MAY_BE_ABSENT = _MayBeAbsent()
NoSecret = AfterValidator(_no_secret)
"""For every text that a partner chooses and that is stored: its own key, sent by mistake, would be in tables and histories."""
ChainIdIn = Annotated[int, BeforeValidator(_uint256), _schema(UINT256, "1", "a decimal id of the chain")]
"""For a path: there it always comes as text."""
AmountIn = Annotated[int, BeforeValidator(_amount), _schema(AMOUNT, "5000000000", "USDC base units (10^-6)")]
CreditLineIdIn = Annotated[int, BeforeValidator(_uint256), _uint256_schema("the OAID credit line")]
NonceIn = Annotated[int, BeforeValidator(_uint256), _uint256_schema("used once by this wallet")]
AddressIn = Annotated[
    str,
    BeforeValidator(_address),
    _schema(
        ADDRESS, "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "an address; mixed case must be its EIP-55 checksum"
    ),
]
TxHashIn = Annotated[
    str, _hex(TX_HASH, "Must be 0x and 64 hex digits."), _schema(TX_HASH, "0x" + "ab" * 32, "a transaction hash")
]
SignatureIn = Annotated[
    str,
    _hex(SIGNATURE, "Must be 0x and at most 4096 bytes in hex."),
    _schema(SIGNATURE, "0x" + "ab" * 65, "a signature in hex"),
]
MomentIn = Annotated[
    datetime,
    BeforeValidator(_moment),
    WithJsonSchema(
        {
            "type": "string",
            "format": "date-time",
            "description": "RFC 3339; fractions of a second are cut off",
            "examples": ["2030-01-01T00:00:00Z"],
        }
    ),
]
