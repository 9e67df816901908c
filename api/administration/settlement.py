"""A new settlement address: asked for by one administrator, approved by another, applied after a delay (ADR 0021).

What is due is applied by the upkeep (activities/settlement_changes.py). Until then the address is kept for the partner, and
registered to nobody: one that is cancelled was never anybody's.
"""

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.administration.addresses import OPEN_CHANGES, demand_free, payable
from api.administration.partners import lock_partner
from models.errors import (
    AdministratorDisabled,
    SecondAdministratorNeeded,
    SettlementAddressUnchanged,
    SettlementChangeNotFound,
    SettlementChangeOpen,
    SettlementChangeOver,
)
from models.ids import new_id
from models.statuses import AdminActionKind, SettlementChangeState
from models.tables.admin_book import Actor, record_action
from models.tables.administration import Administrator, AdminKey, SettlementChange


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
    """It waits for another administrator's approval.

    Raises PartnerNotFound, SettlementAddressInvalid, SettlementAddressTaken, SettlementAddressUnchanged, SettlementChangeOpen or
    AdministratorDisabled.
    """
    form = payable(address, engine_addresses)
    _demand_nobody(await _disabled(session, administrator_id))
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

    Raises PartnerNotFound, SettlementChangeNotFound, SettlementChangeOver, AdministratorDisabled or SecondAdministratorNeeded.
    """
    requester = select(SettlementChange.requested_by).where(SettlementChange.id == change_id)
    disabled = await _disabled(session, administrator_id, *await session.scalars(requester))
    change = await _lock_change(session, partner_id, change_id)
    if change.state is not SettlementChangeState.REQUESTED:
        raise SettlementChangeOver(change_id, change.state)
    _demand_nobody(disabled)
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
    await _cancel(session, change, actor, reason)
    return change


async def cancel_changes_of(session: AsyncSession, administrator_id: str, *, actor: Actor) -> None:
    """All open ones that he requested or approved. The caller has locked his row, so that none is added meanwhile."""
    his = or_(SettlementChange.requested_by == administrator_id, SettlementChange.approved_by == administrator_id)
    is_open = SettlementChange.state.in_(OPEN_CHANGES)
    found = select(SettlementChange.partner_id, SettlementChange.id).where(his, is_open)
    for partner_id, change_id in (await session.execute(found.order_by(SettlementChange.partner_id))).all():
        change = await _lock_change(session, partner_id, change_id)
        if change.state in OPEN_CHANGES:  # and was neither applied nor cancelled since it was found
            await _cancel(session, change, actor, f"administrator {administrator_id} was disabled")


async def _cancel(session: AsyncSession, change: SettlementChange, actor: Actor, reason: str | None) -> None:
    was, change.state = change.state, SettlementChangeState.CANCELLED
    change.cancelled_at = (await session.execute(select(func.now()))).scalar_one()
    _record(session, actor, AdminActionKind.CANCEL_SETTLEMENT_ADDRESS, change, was, reason=reason)
    await session.flush()


async def _disabled(session: AsyncSession, *administrator_ids: str) -> list[str]:
    """Which of these are. Their rows are locked, and before the partner's, as by whoever disables one.

    So either he waits and then sees the change, or he is waited for and is seen here.
    """
    rows = select(Administrator.id, Administrator.disabled_at).where(Administrator.id.in_(administrator_ids))
    locked = await session.execute(rows.order_by(Administrator.id).with_for_update(read=True))
    return [each.id for each in locked if each.disabled_at is not None]


def _demand_nobody(disabled: Collection[str]) -> None:
    for administrator_id in disabled:
        raise AdministratorDisabled(administrator_id)


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
