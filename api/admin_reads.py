"""What administrators look at: partners with their usage, keys, administrators, changes that wait, and the audit trail."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from api.admin_answers import (
    ActionAnswer,
    AdministratorAnswer,
    AdminKeyAnswer,
    AdminPartnerAnswer,
    KeyAnswer,
    LifetimeAnswer,
    PartnerDetailAnswer,
    PartnerKeysAnswer,
    SettlementChangeAnswer,
    UsageAnswer,
)
from models.errors import PartnerNotFound
from models.statuses import AdminActionKind, LoanStatus, PartnerStatus, PartnerTier, Scope
from models.tables.administration import AdminAction, Administrator, AdminKey, SettlementChange
from models.tables.loans import Loan, Repayment
from models.tables.partners import ApiKey, Partner, PartnerDay
from models.tiers import TIERS

_NEVER_DRAWN = (LoanStatus.PENDING, LoanStatus.FAILED, LoanStatus.REJECTED, LoanStatus.REVERSED)
_TERMS = ("fee_bps", "daily_borrow_limit", "total_borrow_limit", "requests_per_minute")


def partner_answer(partner: Partner) -> AdminPartnerAnswer:
    tier = TIERS[partner.tier]
    own = {name: getattr(partner, name) for name in _TERMS}
    return AdminPartnerAnswer(
        partner_id=partner.id,
        name=partner.name,
        status=partner.status,
        tier=partner.tier,
        fee_bps=partner.fee_bps,
        daily_borrow_limit=str(partner.daily_borrow_limit),
        total_borrow_limit=str(partner.total_borrow_limit),
        requests_per_minute=partner.requests_per_minute or tier.requests_per_minute,
        overrides=[name for name, value in own.items() if value not in (None, getattr(tier, name))],
        settlement_address=partner.settlement_address,
        contact_email=partner.contact_email,
        webhook_url=partner.webhook_url,
        kyc_verified=partner.kyc_verified,
        contract_signed=partner.contract_signed,
        public_key=partner.public_key,
        external_key_prefix=partner.external_key_prefix,
        created_at=partner.created_at,
        changed_at=partner.changed_at,
    )


async def find_partner(session: AsyncSession, partner_id: str) -> Partner:
    """Raises PartnerNotFound."""
    partner = await session.get(Partner, partner_id)
    if partner is None:
        raise PartnerNotFound(partner_id)
    return partner


async def partners_page(
    session: AsyncSession, status: PartnerStatus | None, tier: PartnerTier | None, after: str | None, size: int
) -> tuple[list[AdminPartnerAnswer], str | None]:
    """By their ids, and where the next page begins."""
    asked = select(Partner).order_by(Partner.id).limit(size + 1)
    if status is not None:
        asked = asked.where(Partner.status == status)
    if tier is not None:
        asked = asked.where(Partner.tier == tier)
    if after is not None:
        asked = asked.where(Partner.id > after)
    rows = list(await session.scalars(asked))
    return [partner_answer(row) for row in rows[:size]], rows[size - 1].id if len(rows) > size else None


async def partner_detail(session: AsyncSession, partner_id: str) -> PartnerDetailAnswer:
    """Raises PartnerNotFound."""
    partner = await find_partner(session, partner_id)
    return PartnerDetailAnswer(
        **partner_answer(partner).model_dump(),
        usage=await _usage(session, partner),
        keys=await _keys_in_short(session, partner_id),
        lifetime=await _lifetime(session, partner_id),
    )


async def _usage(session: AsyncSession, partner: Partner) -> UsageAnswer:
    day = await session.get(PartnerDay, (partner.id, datetime.now(UTC).date()))
    borrowed, reserved = (0, 0) if day is None else (day.borrowed, day.reserved)
    return UsageAnswer(
        outstanding=str(partner.outstanding),
        reserved=str(partner.reserved),
        total_remaining=str(max(0, partner.total_borrow_limit - partner.outstanding - partner.reserved)),
        borrowed_today=str(borrowed),
        reserved_today=str(reserved),
        daily_remaining=str(max(0, partner.daily_borrow_limit - borrowed - reserved)),
    )


async def _keys_in_short(session: AsyncSession, partner_id: str) -> PartnerKeysAnswer:
    live = ApiKey.revoked_at.is_(None) & or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now())
    asked = select(func.count().filter(live), func.max(ApiKey.last_used_at)).where(ApiKey.partner_id == partner_id)
    count, last_used_at = (await session.execute(asked)).one()
    return PartnerKeysAnswer(live=count, last_used_at=last_used_at)


async def _lifetime(session: AsyncSession, partner_id: str) -> LifetimeAnswer:
    drawn = select(func.count(), _sum(Loan.principal), _sum(Loan.fee)).where(
        Loan.partner_id == partner_id, Loan.status.not_in(_NEVER_DRAWN)
    )
    repaid = select(_sum(Repayment.principal), _sum(Repayment.interest)).where(Repayment.partner_id == partner_id)
    loans, borrowed, fees = (await session.execute(drawn)).one()
    principal, interest = (await session.execute(repaid)).one()
    return LifetimeAnswer(
        loans=loans,
        borrowed=str(borrowed),
        fees=str(fees),
        principal_repaid=str(principal),
        interest_repaid=str(interest),
    )


def _sum(column: InstrumentedAttribute[int]) -> ColumnElement[int]:
    return func.coalesce(func.sum(column), 0)


def key_answer(key: ApiKey) -> KeyAnswer:
    return KeyAnswer(
        key_id=key.id,
        prefix=key.prefix,
        label=key.label,
        scopes=[Scope(scope) for scope in key.scopes],
        allowed_networks=key.allowed_networks,
        has_signing_secret=key.signing_secret is not None,
        must_sign=key.must_sign,
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        last_used_at=key.last_used_at,
    )


async def keys_of(session: AsyncSession, partner_id: str) -> list[KeyAnswer]:
    """All of them, newest first. Raises PartnerNotFound."""
    await find_partner(session, partner_id)
    asked = select(ApiKey).where(ApiKey.partner_id == partner_id).order_by(ApiKey.id.desc())
    return [key_answer(key) for key in await session.scalars(asked)]


async def administrators(session: AsyncSession) -> list[AdministratorAnswer]:
    keys: dict[str, list[AdminKey]] = defaultdict(list)
    for key in await session.scalars(select(AdminKey).order_by(AdminKey.id.desc())):
        keys[key.administrator_id].append(key)
    found = await session.scalars(select(Administrator).order_by(Administrator.id))
    return [administrator_answer(each, keys[each.id]) for each in found]


def administrator_answer(administrator: Administrator, keys: Sequence[AdminKey] = ()) -> AdministratorAnswer:
    return AdministratorAnswer(
        administrator_id=administrator.id,
        name=administrator.name,
        created_at=administrator.created_at,
        disabled_at=administrator.disabled_at,
        keys=[
            AdminKeyAnswer(
                key_id=key.id,
                prefix=key.prefix,
                issued_by=key.issued_by,
                created_at=key.created_at,
                expires_at=key.expires_at,
                revoked_at=key.revoked_at,
                last_used_at=key.last_used_at,
            )
            for key in keys
        ],
    )


def settlement_change_answer(change: SettlementChange) -> SettlementChangeAnswer:
    return SettlementChangeAnswer(
        change_id=change.id,
        partner_id=change.partner_id,
        address=change.address,
        state=change.state,
        reason=change.reason,
        requested_by=change.requested_by,
        requested_at=change.requested_at,
        approved_by=change.approved_by,
        approved_at=change.approved_at,
        not_before=change.not_before,
        applied_at=change.applied_at,
        cancelled_at=change.cancelled_at,
    )


async def settlement_changes(session: AsyncSession, partner_id: str) -> list[SettlementChangeAnswer]:
    """Newest first. Raises PartnerNotFound."""
    await find_partner(session, partner_id)
    asked = select(SettlementChange).where(SettlementChange.partner_id == partner_id)
    return [settlement_change_answer(row) for row in await session.scalars(asked.order_by(SettlementChange.id.desc()))]


async def actions_page(
    session: AsyncSession,
    *,
    partner_id: str | None,
    subject: str | None,
    action: AdminActionKind | None,
    after: str | None,
    size: int,
) -> tuple[list[ActionAnswer], str | None]:
    """Newest first, and where the next page begins."""
    asked = select(AdminAction).order_by(AdminAction.id.desc()).limit(size + 1)
    if partner_id is not None:
        asked = asked.where(AdminAction.partner_id == partner_id)
    if subject is not None:
        asked = asked.where(AdminAction.subject == subject)
    if action is not None:
        asked = asked.where(AdminAction.action == action)
    if after is not None:
        asked = asked.where(AdminAction.id < after)
    rows = list(await session.scalars(asked))
    return [_action_answer(row) for row in rows[:size]], rows[size - 1].id if len(rows) > size else None


def _action_answer(row: AdminAction) -> ActionAnswer:
    return ActionAnswer(
        action_id=row.id,
        at=row.at,
        action=row.action,
        actor=row.actor,
        administrator_id=row.administrator_id,
        partner_id=row.partner_id,
        subject=row.subject,
        reason=row.reason,
        before=row.before,
        after=row.after,
        trace_id=row.trace_id,
    )
