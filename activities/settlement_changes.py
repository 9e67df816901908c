"""Applying the changes of settlement addresses that two administrators agreed on and whose delay is over (ADR 0021)."""

import structlog
from sqlalchemy import ColumnElement, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from activities.limit_book import lock_partner
from activities.upkeep import why
from models.errors import InvariantBroken
from models.statuses import AdminActionKind, SettlementChangeState
from models.tables.admin_book import UPKEEP, record_action
from models.tables.administration import SettlementChange
from models.tables.partners import SettlementAddress
from models.tables.session import Transaction

_PATIENCE = text("SET LOCAL lock_timeout = '3s'")
"""A partner whose row is locked for longer waits for the next upkeep, so that it holds up nobody else."""


class NotApplied(Exception):
    """Some changes that are due could not be applied; the others were."""


class SettlementChanges:
    """A part of the upkeep."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def apply_due(self) -> str:
        """Raises NotApplied, which names what was not."""
        return f"{await apply_due_changes(self._transaction)} applied"


async def apply_due_changes(transaction: Transaction) -> int:
    """How many were applied, the oldest first, each in a transaction of its own. What is due is due by the database's clock.

    One that fails stops no other. Raises NotApplied afterwards, which names all that failed and says of the first one why.
    """
    due = select(SettlementChange.id, SettlementChange.partner_id).where(*_due()).order_by(SettlementChange.id)
    async with transaction() as session:
        found = (await session.execute(due)).all()
    applied, failed = 0, dict[str, str]()
    for change_id, partner_id in found:
        try:
            async with transaction() as session:
                applied += await _apply(session, change_id, partner_id)
        except Exception as error:  # noqa: BLE001 - whatever one fails of, the others are applied and a person is told
            failed[change_id] = why(error)
            structlog.get_logger().error("settlement change not applied", change_id=change_id, error=failed[change_id])
    if failed:
        first, *_ = failed.values()
        raise NotApplied(f"{applied} applied, but not {', '.join(failed)}: {first}")
    return applied


async def _apply(session: AsyncSession, change_id: str, partner_id: str) -> bool:
    """Takes the partner's lock first, as a reservation does: a loan is reserved with the old address or the new one, and keeps it.

    Raises InvariantBroken where the address has become another partner's.
    """
    await session.execute(_PATIENCE)
    partner = await lock_partner(session, partner_id)
    again = select(SettlementChange).where(SettlementChange.id == change_id, *_due()).with_for_update()
    change = await session.scalar(again)
    if change is None:
        return False  # cancelled, or applied by another, since it was found
    await _register(session, partner_id, change.address)
    before = {"settlement_address": partner.settlement_address, "state": str(change.state)}
    partner.settlement_address, change.state = change.address, SettlementChangeState.APPLIED
    partner.changed_at = change.applied_at = func.now()
    after = {"settlement_address": change.address, "state": str(change.state)}
    kind = AdminActionKind.APPLY_SETTLEMENT_ADDRESS
    record_action(session, UPKEEP, kind, change_id, partner_id=partner_id, before=before, after=after)
    await session.flush()
    return True


async def _register(session: AsyncSession, partner_id: str, address: str) -> None:
    """From now on it is this partner's for ever. It was kept free for it, or was its own before."""
    adding = insert(SettlementAddress).values(address=address, partner_id=partner_id)
    await session.execute(adding.on_conflict_do_nothing())
    owner = await session.scalar(select(SettlementAddress.partner_id).where(SettlementAddress.address == address))
    if owner != partner_id:
        raise InvariantBroken(f"{address} was kept for partner {partner_id}, and is {owner}'s")


def _due() -> tuple[ColumnElement[bool], ...]:
    return (SettlementChange.state == SettlementChangeState.APPROVED, SettlementChange.not_before <= func.now())
