"""What an operator does about partners, keys and grants: the command line, the sandbox and the tests all call this.

Every function works inside the caller's transaction and commits nothing.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import SecretStr
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from api.keys import KeyMode, new_key
from chain.codec import checksum
from models.errors import EngineError
from models.ids import is_public_id, new_id
from models.statuses import GrantEvidence, PartnerStatus, PartnerTier, Scope
from models.tables.partners import ApiKey, CreditLineGrant, Partner, SettlementAddress
from models.tiers import TIERS


class AdministrationRefused(EngineError):
    """What the operator asked for cannot be done; the message says why."""


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key. ``key`` is its plain text: it exists here only, and is shown once."""

    partner_id: str
    key_id: str
    prefix: str
    key: str = field(repr=False)


async def create_partner(
    session: AsyncSession,
    *,
    partner_id: str,
    name: str,
    tier: PartnerTier,
    settlement_address: str,
    mode: KeyMode,
    pepper: SecretStr | None = None,
    fee_bps: int | None = None,
    daily_limit: int | None = None,
    total_limit: int | None = None,
    requests_per_minute: int | None = None,
    engine_addresses: Collection[str] = (),
) -> IssuedKey:
    """An ACTIVE partner with a first key of all scopes. Limits in base units; what is not given is its tier's.

    Raises AdministrationRefused where the id is taken or malformed, or the address belongs to a partner already.
    """
    if not is_public_id(partner_id):
        raise AdministrationRefused(f"'{partner_id}' is no partner id: letters, digits and . _ - only, at most 64")
    if await session.get(Partner, partner_id) is not None:
        raise AdministrationRefused(f"there is a partner '{partner_id}' already")
    terms = TIERS[tier]
    partner = Partner(
        id=partner_id,
        name=name,
        status=PartnerStatus.ACTIVE,
        tier=tier,
        fee_bps=terms.fee_bps if fee_bps is None else fee_bps,
        daily_borrow_limit=terms.daily_borrow_limit if daily_limit is None else daily_limit,
        total_borrow_limit=terms.total_borrow_limit if total_limit is None else total_limit,
        requests_per_minute=requests_per_minute,
        settlement_address=await _register_address(session, partner_id, settlement_address, engine_addresses),
    )
    session.add(partner)
    await session.flush()
    return await issue_key(session, partner_id=partner_id, mode=mode, pepper=pepper)


async def _register_address(
    session: AsyncSession, partner_id: str, settlement_address: str, engine_addresses: Collection[str]
) -> str:
    """Registers the address. A payout to the engine's own addresses, or to nobody, would be a movement that never left."""
    address = checksum(settlement_address)
    if int(address, 16) == 0 or address in engine_addresses:
        raise AdministrationRefused(f"{address} is no settlement address: it is the engine's own, or nobody's")
    owner = await session.get(SettlementAddress, address)
    if owner is not None:
        raise AdministrationRefused(f"{address} belongs to partner '{owner.partner_id}', for ever")
    session.add(SettlementAddress(address=address, partner_id=partner_id))
    await session.flush()
    return address


async def issue_key(
    session: AsyncSession,
    *,
    partner_id: str,
    mode: KeyMode,
    pepper: SecretStr | None = None,
    scopes: Sequence[Scope] = tuple(Scope),
    expires_at: datetime | None = None,
) -> IssuedKey:
    """One more key for a partner. Raises AdministrationRefused where there is no such partner."""
    await _partner(session, partner_id)
    key = new_key(partner_id, mode)
    row = ApiKey(
        id=new_id("key"),
        partner_id=partner_id,
        prefix=key.prefix,
        secret_hash=key.hash(pepper),
        scopes=[str(scope) for scope in scopes],
        expires_at=expires_at,
    )
    session.add(row)
    await session.flush()
    return IssuedKey(partner_id=partner_id, key_id=row.id, prefix=key.prefix, key=key.text)


async def revoke_key(session: AsyncSession, key_id: str) -> None:
    """From now on the key is refused. Revoking it again changes nothing. Raises AdministrationRefused for an unknown id."""
    revoke = update(ApiKey).where(ApiKey.id == key_id).values(revoked_at=func.coalesce(ApiKey.revoked_at, func.now()))
    if await session.scalar(revoke.returning(ApiKey.id)) is None:
        raise AdministrationRefused(f"there is no key '{key_id}'")


async def set_status(session: AsyncSession, partner_id: str, status: PartnerStatus) -> None:
    """Takes effect on the partner's next request, and on each operation that has not sent its first leg."""
    (await _partner(session, partner_id, lock=True)).status = status


async def record_grant(
    session: AsyncSession,
    *,
    partner_id: str,
    chain_id: int,
    oaid_address: str,
    oaid_token_id: int,
    position_id: int,
    user_wallet: str,
    max_amount: int,
    expires_at: datetime,
    reason: str,
    recorded_by: str = "command line",
) -> str:
    """An administrator's record that a user lets a partner borrow (money.md section 3); its id. Amount in base units.

    Where the platform wallet holds the position this record alone says whose the position is, so it needs a reason.
    Raises AdministrationRefused where there is no such partner, or the reason is empty.
    """
    if not reason.strip():
        raise AdministrationRefused("an administrator's record needs a reason")
    await _partner(session, partner_id)
    grant = CreditLineGrant(
        id=new_id("grant"),
        partner_id=partner_id,
        chain_id=chain_id,
        oaid_address=checksum(oaid_address),
        oaid_token_id=oaid_token_id,
        position_id=position_id,
        user_wallet=checksum(user_wallet),
        max_amount=max_amount,
        expires_at=expires_at,
        evidence_kind=GrantEvidence.ADMINISTRATOR,
        evidence={"reason": reason, "recorded_by": recorded_by},
    )
    session.add(grant)
    await session.flush()
    return grant.id


async def _partner(session: AsyncSession, partner_id: str, *, lock: bool = False) -> Partner:
    asked = select(Partner).where(Partner.id == partner_id)
    partner = await session.scalar(asked.with_for_update() if lock else asked)
    if partner is None:
        raise AdministrationRefused(f"there is no partner '{partner_id}'")
    return partner
