"""Who asks: the key of a request, and whose it is, in one query."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from fastapi import Request
from fastapi.security.utils import get_authorization_scheme_param
from sqlalchemy import select

from api.addresses import address, is_in, networks
from api.errors import (
    AddressNotAllowed,
    ApiKeyMalformed,
    ApiKeyMissing,
    ApiKeyRevoked,
    ApiKeyUnknown,
    ApiKeyWrongMode,
)
from api.keys import Key, parse_key
from api.resources import Resources
from api.signing import check_signature, claims_signature
from api.who import Who
from models.statuses import PartnerStatus
from models.tables.administration import Administrator, AdminKey
from models.tables.partners import ApiKey, Partner
from models.tiers import TIERS

_KEY = (
    ApiKey.id,
    ApiKey.partner_id,
    ApiKey.scopes,
    ApiKey.expires_at,
    ApiKey.revoked_at,
    ApiKey.allowed_networks,
    ApiKey.must_sign,
    ApiKey.signing_secret,
)


@dataclass(frozen=True, slots=True)
class Caller:
    partner_id: str
    api_key_id: str
    scopes: frozenset[str] = field(default_factory=frozenset, repr=False)


@dataclass(frozen=True, slots=True)
class AdminCaller:
    administrator_id: str
    name: str
    admin_key_id: str


@dataclass(frozen=True, slots=True)
class Known:
    """A partner whose key is good. It may be suspended, and its key may lack the scope: that comes after the rate limit."""

    caller: Caller
    status: PartnerStatus
    requests_per_minute: int


def credentials(request: Request) -> str:
    """The key as it was sent; empty where none was."""
    scheme, value = get_authorization_scheme_param(request.headers.get("Authorization"))
    return value if scheme.lower() == "bearer" else ""


async def identify_partner(request: Request, resources: Resources) -> Known:
    """Raises Unauthenticated, or AddressNotAllowed. It holds no connection when it returns."""
    who: Who = request.state.who
    asked = (
        select(*_KEY, Partner.status, Partner.tier, Partner.requests_per_minute)
        .join(Partner, Partner.id == ApiKey.partner_id)
        .where(ApiKey.secret_hash == _read_key(request, resources).hash(resources.settings.key_pepper))
    )
    async with resources.statements() as session:
        found = (await session.execute(asked)).one_or_none()
    if found is None:
        raise ApiKeyUnknown
    who.api_key_id, who.partner_id = found.id, found.partner_id
    if found.revoked_at is not None or _is_over(found.expires_at):
        raise ApiKeyRevoked
    _check_address(who, found.allowed_networks)
    if found.must_sign or claims_signature(request):
        await check_signature(request, _secret(resources, found.id, found.signing_secret))
    own, tiers = found.requests_per_minute, TIERS[found.tier].requests_per_minute
    return Known(
        Caller(found.partner_id, found.id, frozenset(found.scopes)), found.status, tiers if own is None else own
    )


async def identify_administrator(request: Request, resources: Resources) -> AdminCaller:
    """Raises Unauthenticated."""
    who: Who = request.state.who
    key = _read_key(request, resources)
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
    if revoked_at is not None or _is_over(expires_at) or administrator.disabled_at is not None:
        raise ApiKeyRevoked
    return AdminCaller(administrator_id=administrator.id, name=administrator.name, admin_key_id=key_id)


def _read_key(request: Request, resources: Resources) -> Key:
    text = credentials(request)
    if not text:
        raise ApiKeyMissing
    key = parse_key(text)
    if key is None:
        raise ApiKeyMalformed
    request.state.who.key_prefix = key.prefix
    if key.mode != resources.settings.key_mode:
        raise ApiKeyWrongMode(key.mode, resources.settings.key_mode)
    return key


def _is_over(expires_at: datetime | None) -> bool:
    return expires_at is not None and expires_at <= datetime.now(UTC)


def _check_address(who: Who, allowed: list[str]) -> None:
    if allowed and not is_in(None if who.address is None else address(who.address), networks(tuple(allowed))):
        raise AddressNotAllowed(who.address or "an address that is not known")


def _secret(resources: Resources, key_id: str, sealed: bytes | None) -> str | None:
    """The key's signing secret, None where it has none.

    Raises RuntimeError where the deployment has no sealing key any more, SealBroken where it has another one.
    """
    if sealed is None:
        return None
    sealer = resources.settings.sealer
    if sealer is None:
        raise RuntimeError("a key has a signing secret, and ENGINE_SEALING_KEY is not set")
    return sealer.open(sealed, key_id).decode()
