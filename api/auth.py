"""Who asks: an API key becomes a caller, in one query, or a 401 or 403."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import select

from api.errors import ApiKeyMalformed, ApiKeyMissing, ApiKeyRevoked, ApiKeyUnknown, ApiKeyWrongMode
from api.keys import Key, parse_key
from api.resources import Resources
from api.who import Who
from models.errors import PartnerNotActive, ScopeMissing
from models.statuses import PartnerStatus, Scope
from models.tables.administration import Administrator, AdminKey
from models.tables.partners import ApiKey, Partner

BEARER = HTTPBearer(
    auto_error=False,
    scheme_name="partnerKey",
    description="A partner's API key: `pk_{partner}_{live|sandbox}_{secret}`",
)


ADMIN_BEARER = HTTPBearer(
    auto_error=False,
    scheme_name="administratorKey",
    description="An administrator's API key: `ak_{live|sandbox}_{secret}`",
)


@dataclass(frozen=True, slots=True)
class Caller:
    partner_id: str
    api_key_id: str


@dataclass(frozen=True, slots=True)
class AdminCaller:
    administrator_id: str
    name: str
    admin_key_id: str


def caller_with(scope: Scope) -> Callable[..., Awaitable[Caller]]:
    """A dependency: the caller, whose key has the scope. It holds no connection when it returns."""

    async def authenticate(
        request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)]
    ) -> Caller:
        resources: Resources = request.app.state.resources
        key = _read_key(credentials, resources, request.state.who)
        return await _look_up(resources, key, scope, request.state.who)

    return authenticate


async def _administrator(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(ADMIN_BEARER)]
) -> AdminCaller:
    resources: Resources = request.app.state.resources
    key = _read_key(credentials, resources, request.state.who)
    return await _look_up_administrator(resources, key, request.state.who)


Borrower = Annotated[Caller, Depends(caller_with(Scope.BORROW))]
Repayer = Annotated[Caller, Depends(caller_with(Scope.REPAY))]
Reader = Annotated[Caller, Depends(caller_with(Scope.READ))]
AdminDep = Annotated[AdminCaller, Depends(_administrator)]


def _read_key(credentials: HTTPAuthorizationCredentials | None, resources: Resources, who: Who) -> Key:
    if credentials is None or not credentials.credentials:
        raise ApiKeyMissing
    key = parse_key(credentials.credentials)
    if key is None:
        raise ApiKeyMalformed
    who.key_prefix = key.prefix
    if key.mode != resources.settings.key_mode:
        raise ApiKeyWrongMode(key.mode, resources.settings.key_mode)
    return key


async def _look_up(resources: Resources, key: Key, scope: Scope, who: Who) -> Caller:
    asked = (
        select(ApiKey.id, ApiKey.scopes, ApiKey.expires_at, ApiKey.revoked_at, Partner.id, Partner.status)
        .join(Partner, Partner.id == ApiKey.partner_id)
        .where(ApiKey.secret_hash == key.hash(resources.settings.key_pepper))
    )
    async with resources.statements() as session:
        found = (await session.execute(asked)).one_or_none()
    if found is None:
        raise ApiKeyUnknown
    key_id, scopes, expires_at, revoked_at, partner_id, status = found
    who.api_key_id, who.partner_id = key_id, partner_id
    if revoked_at is not None or (expires_at is not None and expires_at <= datetime.now(UTC)):
        raise ApiKeyRevoked
    if status is not PartnerStatus.ACTIVE:
        raise PartnerNotActive(status)
    if scope not in scopes:
        raise ScopeMissing(scope)
    return Caller(partner_id=partner_id, api_key_id=key_id)


async def _look_up_administrator(resources: Resources, key: Key, who: Who) -> AdminCaller:
    asked = (
        select(AdminKey.id, AdminKey.expires_at, AdminKey.revoked_at, Administrator)
        .join(Administrator, Administrator.id == AdminKey.administrator_id)
        .where(AdminKey.secret_hash == key.hash(resources.settings.key_pepper))
    )
    async with resources.statements() as session:
        found = (await session.execute(asked)).one_or_none()
    if found is None:
        raise ApiKeyUnknown
    key_id, expires_at, revoked_at, administrator = found
    who.admin_key_id, who.administrator_id = key_id, administrator.id
    over = revoked_at is not None or (expires_at is not None and expires_at <= datetime.now(UTC))
    if over or administrator.disabled_at is not None:
        raise ApiKeyRevoked
    return AdminCaller(administrator_id=administrator.id, name=administrator.name, admin_key_id=key_id)
