"""A new settlement address: asked for by one administrator, approved by another, applied after a delay (ADR 0021).

What is due is applied by the upkeep (activities/settlement_changes.py). Until then the address is kept for the partner, and
registered to nobody: one that is cancelled was never anybody's.
"""

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.administration.addresses import OPEN_CHANGES, demand_free, payable
from api.administration.partners import lock_partner
from models.errors import (
    SecondAdministratorNeeded,
    SettlementAddressUnchanged,
    SettlementChangeNotFound,
    SettlementChangeOpen,
    SettlementChangeOver,
)
from models.ids import new_id
from models.statuses import AdminActionKind, SettlementChangeState
from models.tables.admin_book import Actor, record_action
from models.tables.administration import AdminKey, SettlementChange


async def request_change(
    session: AsyncSession,
    partner_id: str,
    address: str,
    *,
    actor: Actor,
    administrator_id: str,
    reason: str,
    engine_addresses: Collection[str],
) -> SettlementChange:
    """Raises PartnerNotFound, SettlementAddressInvalid, SettlementAddressTaken, SettlementAddressUnchanged or SettlementChangeOpen."""
    form = payable(address, engine_addresses)
    partner = await lock_partner(session, partner_id)
    if partner.settlement_address == form:
        raise SettlementAddressUnchanged(form)
    await _demand_no_other(session, partner_id)
    await demand_free(session, partner_id, form)
    change = SettlementChange(
        id=new_id("change"),
        partner_id=partner_id,
        address=form,
        state=SettlementChangeState.REQUESTED,
        reason=reason,
        requested_by=administrator_id,
    )
    session.add(change)
    kind = AdminActionKind.REQUEST_SETTLEMENT_ADDRESS
    before, after = {"settlement_address": partner.settlement_address}, {"settlement_address": form}
    record_action(session, actor, kind, change.id, partner_id=partner_id, before=before, after=after, reason=reason)
    await session.flush()
    return change


async def approve_change(
    session: AsyncSession, partner_id: str, change_id: str, *, actor: Actor, administrator_id: str, delay: timedelta
) -> SettlementChange:
    """The delay runs from now, by the database's clock.

    Raises PartnerNotFound, SettlementChangeNotFound, SettlementChangeOver or SecondAdministratorNeeded.
    """
    change = await _lock_change(session, partner_id, change_id)
    if change.state is not SettlementChangeState.REQUESTED:
        raise SettlementChangeOver(change_id, change.state)
    if not await _are_two_people(session, change.requested_by, administrator_id):
        raise SecondAdministratorNeeded
    now = (await session.execute(select(func.now()))).scalar_one()
    change.state, change.approved_by, change.approved_at = SettlementChangeState.APPROVED, administrator_id, now
    change.not_before = now + delay
    _record(session, actor, AdminActionKind.APPROVE_SETTLEMENT_ADDRESS, change, SettlementChangeState.REQUESTED)
    await session.flush()
    return change


async def cancel_change(
    session: AsyncSession, partner_id: str, change_id: str, *, actor: Actor, reason: str | None = None
) -> SettlementChange:
    """Its address is free again. Again changes nothing. Raises PartnerNotFound, SettlementChangeNotFound or SettlementChangeOver."""
    change = await _lock_change(session, partner_id, change_id)
    if change.state is SettlementChangeState.CANCELLED:
        return change
    if change.state is SettlementChangeState.APPLIED:
        raise SettlementChangeOver(change_id, change.state)
    was, change.state = change.state, SettlementChangeState.CANCELLED
    change.cancelled_at = (await session.execute(select(func.now()))).scalar_one()
    _record(session, actor, AdminActionKind.CANCEL_SETTLEMENT_ADDRESS, change, was, reason=reason)
    await session.flush()
    return change


async def _demand_no_other(session: AsyncSession, partner_id: str) -> None:
    """No race: the partner's row is locked."""
    found = select(SettlementChange.id).where(
        SettlementChange.partner_id == partner_id, SettlementChange.state.in_(OPEN_CHANGES)
    )
    if (other := await session.scalar(found)) is not None:
        raise SettlementChangeOpen(other)


async def _lock_change(session: AsyncSession, partner_id: str, change_id: str) -> SettlementChange:
    """The partner's row first, as everywhere."""
    await lock_partner(session, partner_id)
    change = await session.get(SettlementChange, change_id, with_for_update=True)
    if change is None or change.partner_id != partner_id:
        raise SettlementChangeNotFound(change_id)
    return change


async def _are_two_people(session: AsyncSession, one: str, other: str) -> bool:
    """Whether nobody could have acted as both: who issues a key has seen it, and so has who issued that one's key.

    Keys that were revoked count as well, or one could ask as another, revoke that key, and approve as oneself.
    """
    hands: dict[str, set[str]] = {}
    for administrator_id, issuer in await session.execute(select(AdminKey.administrator_id, AdminKey.issued_by)):
        if issuer is not None:
            hands.setdefault(administrator_id, set()).add(issuer)
    return _behind(one, hands).isdisjoint(_behind(other, hands))


def _behind(administrator_id: str, hands: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [administrator_id]
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting.extend(hands.get(each, ()))
    return found


def _record(
    session: AsyncSession,
    actor: Actor,
    kind: AdminActionKind,
    change: SettlementChange,
    was: SettlementChangeState,
    *,
    reason: str | None = None,
) -> None:
    after = {"state": str(change.state), "settlement_address": change.address}
    if change.state is SettlementChangeState.APPROVED and change.not_before is not None:
        after["not_before"] = change.not_before.isoformat()
    before = {"state": str(was)}
    record_action(
        session, actor, kind, change.id, partner_id=change.partner_id, before=before, after=after, reason=reason
    )
