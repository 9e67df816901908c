"""Partners: made with the terms of their tier, changed under a lock, suspended and let work again."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr
from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from activities.operation_rows import NO_KEY_UPDATE
from api.administration.addresses import payable, register
from api.administration.fields import change, shown_fields
from api.administration.keys import IssuedKey, issue_key
from api.keys import KeyMode
from models.errors import PartnerExists, PartnerNotFound, TermsInvalid
from models.ids import is_public_id
from models.money import BASIS_POINTS, MAX_AMOUNT
from models.statuses import AdminActionKind, PartnerStatus, PartnerTier
from models.tables.admin_book import COMMAND_LINE, Actor, record_action
from models.tables.base import JsonObject
from models.tables.partners import Partner
from models.tiers import TIERS

FROM_THE_TIER = ("fee_bps", "daily_borrow_limit", "total_borrow_limit")
"""Columns that always hold a value: the tier's own, unless the partner was given another."""
_ACTION_OF = {
    PartnerStatus.ACTIVE: AdminActionKind.REACTIVATE_PARTNER,
    PartnerStatus.SUSPENDED: AdminActionKind.SUSPEND_PARTNER,
    PartnerStatus.INACTIVE: AdminActionKind.DEACTIVATE_PARTNER,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPartner:
    """Limits in base units, the fee in basis points; what is None is the tier's."""

    partner_id: str
    name: str
    tier: PartnerTier
    settlement_address: str
    fee_bps: int | None = None
    daily_borrow_limit: int | None = None
    total_borrow_limit: int | None = None
    requests_per_minute: int | None = None
    contact_email: str | None = None
    webhook_url: str | None = None
    kyc_verified: bool = False
    contract_signed: bool = False
    status: PartnerStatus = PartnerStatus.ACTIVE
    public_key: str | None = None
    external_key_prefix: str | None = None

    def columns(self) -> dict[str, Any]:
        terms = TIERS[self.tier]
        names = [name for name in self.__dataclass_fields__ if name != "partner_id"]
        given = {name: getattr(self, name) for name in names}
        return {
            name: getattr(terms, name) if name in FROM_THE_TIER and value is None else value
            for name, value in given.items()
        }


@dataclass(frozen=True, slots=True)
class PartnerChanges:
    """``before`` and ``after`` hold what changed, and are empty where nothing did."""

    partner: Partner
    before: JsonObject
    after: JsonObject


async def add_partner(
    session: AsyncSession,
    new: NewPartner,
    *,
    engine_addresses: Collection[str] = (),
    actor: Actor = COMMAND_LINE,
    action: AdminActionKind = AdminActionKind.CREATE_PARTNER,
) -> Partner:
    """A partner without a key. Its settlement address is its own from now on, for ever.

    Raises PartnerExists, also where an equal one is there; SettlementAddressInvalid, SettlementAddressTaken or TermsInvalid.
    """
    if not is_public_id(new.partner_id):
        raise TermsInvalid(f"'{new.partner_id}' is no partner id: letters, digits and . _ - only, at most 64.")
    if await session.get(Partner, new.partner_id) is not None:
        raise PartnerExists(new.partner_id)
    address = payable(new.settlement_address, engine_addresses)
    columns = _checked(new.columns()) | {"settlement_address": address}
    await register(session, new.partner_id, address)
    adding = insert(Partner).values(id=new.partner_id, **columns).on_conflict_do_nothing(index_elements=["id"])
    partner: Partner | None = await session.scalar(adding.returning(Partner))
    if partner is None:
        raise PartnerExists(new.partner_id)  # somebody made it since we looked
    after = shown_fields({name: value for name, value in columns.items() if value is not None})
    record_action(session, actor, action, new.partner_id, partner_id=new.partner_id, after=after)
    await session.flush()
    return partner


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
    kyc_verified: bool = False,
    contract_signed: bool = False,
    engine_addresses: Collection[str] = (),
    actor: Actor = COMMAND_LINE,
) -> IssuedKey:
    """An ACTIVE partner with a first key of all scopes. Raises as ``add_partner``."""
    new = NewPartner(
        partner_id=partner_id,
        name=name,
        tier=tier,
        settlement_address=settlement_address,
        fee_bps=fee_bps,
        daily_borrow_limit=daily_limit,
        total_borrow_limit=total_limit,
        requests_per_minute=requests_per_minute,
        kyc_verified=kyc_verified,
        contract_signed=contract_signed,
    )
    await add_partner(session, new, engine_addresses=engine_addresses, actor=actor)
    return await issue_key(session, partner_id=partner_id, mode=mode, pepper=pepper, actor=actor)


async def change_partner(
    session: AsyncSession,
    partner_id: str,
    changes: Mapping[str, Any],
    *,
    actor: Actor = COMMAND_LINE,
    reason: str | None = None,
    action: AdminActionKind = AdminActionKind.CHANGE_PARTNER,
) -> PartnerChanges:
    """Sets columns of a partner, by name. None takes an override back: what then counts is the tier's.

    With another tier come its fee and limits, but for those that are given and those that were the partner's own.
    Raises PartnerNotFound or TermsInvalid.
    """
    partner = await lock_partner(session, partner_id)
    before, after = change(partner, _checked(_resolved(partner, changes)))
    if after:
        partner.changed_at = func.now()
        record_action(
            session, actor, action, partner_id, partner_id=partner_id, before=before, after=after, reason=reason
        )
        await session.flush()
        await session.refresh(partner, ["changed_at"])
    return PartnerChanges(partner, before, after)


async def set_status(
    session: AsyncSession,
    partner_id: str,
    status: PartnerStatus,
    *,
    actor: Actor = COMMAND_LINE,
    reason: str | None = None,
) -> PartnerChanges:
    """Takes effect on the partner's next request, and on each operation that has not sent its first leg."""
    changes = {"status": status}
    return await change_partner(session, partner_id, changes, actor=actor, reason=reason, action=_ACTION_OF[status])


async def lock_partner(session: AsyncSession, partner_id: str) -> Partner:
    """The first lock of whoever changes something of a partner. Raises PartnerNotFound."""
    partner = await session.get(Partner, partner_id, with_for_update=NO_KEY_UPDATE)
    if partner is None:
        raise PartnerNotFound(partner_id)
    return partner


def _resolved(partner: Partner, changes: Mapping[str, Any]) -> dict[str, Any]:
    old, new = TIERS[partner.tier], TIERS[changes.get("tier") or partner.tier]
    resolved = dict(changes)
    for name in FROM_THE_TIER:
        followed = name not in changes and getattr(partner, name) == getattr(old, name)
        if followed or (name in changes and changes[name] is None):
            resolved[name] = getattr(new, name)
    return resolved


def _checked(columns: dict[str, Any]) -> dict[str, Any]:
    """The rules that the table would break off with. Raises TermsInvalid."""
    fee = columns.get("fee_bps", 0)
    if not 0 <= fee < BASIS_POINTS:
        raise TermsInvalid(f"A fee of {fee} basis points leaves no payout; it is from 0 to {BASIS_POINTS - 1}.")
    for name in ("daily_borrow_limit", "total_borrow_limit"):
        if not 0 <= columns.get(name, 0) <= MAX_AMOUNT:
            raise TermsInvalid(f"A {name} of {columns[name]} base units cannot be; it is from 0 to {MAX_AMOUNT}.")
    return columns
