"""The fields that administrators' requests and the partner file are made of."""

import ipaddress
import re
from typing import Annotated

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from api.fields import NoSecret
from models.money import MAX_AMOUNT
from models.statuses import PartnerStatus, PartnerTier, Scope

LIMIT = r"^(0|[1-9][0-9]{0,17})$"
_LINE = r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"
_MAX_TEXT = 500


def _limit(value: object) -> int:
    if isinstance(value, str) and re.fullmatch(LIMIT, value):
        return int(value)
    raise PydanticCustomError(
        "limit",
        'Must be a string of USDC base units, from "0" to "{most}": no sign, no decimals.',
        {"most": MAX_AMOUNT},
    )


def _network(value: object) -> str:
    problem = PydanticCustomError("network", 'Must be an address block such as "203.0.113.0/24" or "2001:db8::/32".')
    if not isinstance(value, str) or "%" in value:
        raise problem
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        raise problem from error


Line = Annotated[str, StringConstraints(min_length=1, max_length=_MAX_TEXT, pattern=_LINE), NoSecret]
"""A line of text that is not blank."""
Email = Annotated[str, StringConstraints(max_length=320, pattern=r"^[^@\x00-\x20\x7f]{1,64}@[^@\x00-\x20\x7f]{1,255}$")]
HttpsUrl = Annotated[
    str, StringConstraints(max_length=2_000, pattern=r"^https://[^/@\x00-\x20\x7f][^\x00-\x20\x7f]*$"), NoSecret
]
Tier = Annotated[PartnerTier, Field(strict=False)]
Status = Annotated[PartnerStatus, Field(strict=False)]
Scopes = Annotated[list[Annotated[Scope, Field(strict=False)]], Field(min_length=1, max_length=len(Scope))]
LimitIn = Annotated[
    int,
    BeforeValidator(_limit),
    WithJsonSchema(
        {"type": "string", "pattern": LIMIT, "description": "USDC base units (10^-6)", "examples": ["50000000000"]}
    ),
]
Network = Annotated[
    str,
    BeforeValidator(_network),
    WithJsonSchema(
        {"type": "string", "description": "a CIDR block, its host bits zero", "examples": ["203.0.113.0/24"]}
    ),
]
Networks = Annotated[
    list[Network], Field(max_length=100, description="from which alone the key works; empty: from anywhere")
]
