"""What admin routes ask for, and the problems that they all can answer."""

from typing import Annotated

from fastapi import Depends, Path, Query

from api.administration import Actor
from api.auth import AdminDep
from api.deps import TraceDep
from api.docs import ALWAYS, BODY, Kind
from api.errors import (
    ApiKeyMalformed,
    ApiKeyMissing,
    ApiKeyRevoked,
    ApiKeyUnknown,
    ApiKeyWrongMode,
    InvalidRequest,
    RateLimited,
    ReadTooSlow,
)
from api.fields import NoSecret
from api.idempotency import received_body
from models import errors
from models.ids import PUBLIC_ID_PATTERN

ADMIN: tuple[Kind, ...] = (
    ApiKeyMissing,
    ApiKeyMalformed,
    ApiKeyWrongMode,
    ApiKeyUnknown,
    ApiKeyRevoked,
    RateLimited,
    InvalidRequest,
    *ALWAYS,
)
ADMIN_READS: tuple[Kind, ...] = (*ADMIN, ReadTooSlow)
CHANGES: tuple[Kind, ...] = (*ADMIN, *BODY)
OF_A_PARTNER: tuple[Kind, ...] = (errors.PartnerNotFound,)
ADDRESS: tuple[Kind, ...] = (errors.SettlementAddressInvalid, errors.SettlementAddressTaken)


async def _actor(caller: AdminDep, trace: TraceDep) -> Actor:
    return Actor(caller.name, caller.administrator_id, trace.id)


def _id_path(prefix: str) -> str:
    return rf"^{prefix}_[0-9A-Z]{{26}}$"


_ULID = "01JV9Y6E0SVH1Q5C3M2N8P4R7T"

ADMINISTRATORS_ONLY = [Depends(_actor)]
"""Of every admin router, so that no route can forget to ask who asks."""
JSON_BODY = [Depends(received_body)]
"""Of a route that takes a body, so that its form is checked."""
ActorDep = Annotated[Actor, Depends(_actor)]
PartnerIdPath = Annotated[str, Path(pattern=PUBLIC_ID_PATTERN, examples=["acme"])]
KeyIdPath = Annotated[str, Path(pattern=_id_path("key"), examples=[f"key_{_ULID}"])]
GrantIdPath = Annotated[str, Path(pattern=_id_path("grant"), examples=[f"grant_{_ULID}"])]
ChangeIdPath = Annotated[str, Path(pattern=_id_path("change"), examples=[f"change_{_ULID}"])]
AdministratorIdPath = Annotated[str, Path(pattern=_id_path("adm"), examples=[f"adm_{_ULID}"])]
AdminKeyIdPath = Annotated[str, Path(pattern=_id_path("adminkey"), examples=[f"adminkey_{_ULID}"])]
ReasonQuery = Annotated[
    str,
    NoSecret,
    Query(
        min_length=1,
        max_length=500,
        pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$",
        description="kept in the audit trail",
    ),
]
Size = Annotated[int, Query(ge=1, le=200, description="rows on a page")]
