"""Grants that an administrator records or revokes, with a reason (money.md section 3)."""

from datetime import datetime

from sqlalchemy import exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from activities.operation_rows import NO_KEY_UPDATE
from api.administration.fields import shown_fields
from chain.codec import checksum
from models.errors import GrantNotFound, PartnerNotFound, TermsInvalid
from models.ids import new_id
from models.statuses import AdminActionKind, GrantEvidence
from models.tables.admin_book import COMMAND_LINE, Actor, record_action
from models.tables.partners import CreditLineGrant, Partner


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
    actor: Actor = COMMAND_LINE,
) -> str:
    """An administrator's record that a user lets a partner borrow (money.md section 3); its id. Amount in base units.

    Where the platform wallet holds the position this record alone says whose the position is, so it needs a reason.
    Raises PartnerNotFound, or TermsInvalid where the reason is empty.
    """
    if not reason.strip():
        raise TermsInvalid("An administrator's record needs a reason.")
    if not await session.scalar(select(exists().where(Partner.id == partner_id))):
        raise PartnerNotFound(partner_id)
    terms = {
        "oaid_token_id": oaid_token_id,
        "position_id": position_id,
        "user_wallet": checksum(user_wallet),
        "max_amount": max_amount,
        "expires_at": expires_at,
    }
    grant = CreditLineGrant(
        id=new_id("grant"),
        partner_id=partner_id,
        chain_id=chain_id,
        oaid_address=checksum(oaid_address),
        evidence_kind=GrantEvidence.ADMINISTRATOR,
        evidence={"reason": reason, "recorded_by": actor.name},
        **terms,
    )
    session.add(grant)
    after = shown_fields({**terms, "oaid_token_id": str(oaid_token_id), "position_id": str(position_id)})
    record_action(
        session, actor, AdminActionKind.RECORD_GRANT, grant.id, partner_id=partner_id, after=after, reason=reason
    )
    await session.flush()
    return grant.id


async def revoke_grant(
    session: AsyncSession, partner_id: str, grant_id: str, *, actor: Actor = COMMAND_LINE, reason: str
) -> None:
    """Whoever gave it: it stops every borrow that has not sent its first leg. Again changes nothing. Raises GrantNotFound."""
    grant = await session.get(CreditLineGrant, grant_id, with_for_update=NO_KEY_UPDATE)
    if grant is None or grant.partner_id != partner_id:
        raise GrantNotFound(grant_id)
    if grant.revoked_at is not None:
        return
    grant.revoked_at = (await session.execute(select(func.now()))).scalar_one()
    record_action(
        session,
        actor,
        AdminActionKind.REVOKE_GRANT,
        grant_id,
        partner_id=partner_id,
        before={"revoked_at": None},
        after={"revoked_at": grant.revoked_at.isoformat()},
        reason=reason,
    )
    await session.flush()
