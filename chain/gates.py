"""What must still be allowed in the transaction that gives a leg its nonce (money.md sections 2 and 5).

A partner that is suspended, a key or grant that is revoked, a key whose scope for the leg was taken and a cancel request stop
a borrow or a collection until then, and not after; a clearance that is withdrawn stops a borrow. The rows are locked FOR SHARE, so a suspension that was answered is seen by every later nonce. They are
locked class by class in the order that holds everywhere: operation, partner, key, grant; then signer and transaction.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from models.statuses import LegName, PartnerStatus, Scope
from models.tables.loans import Loan
from models.tables.operations import Operation
from models.tables.partners import ApiKey, CreditLineGrant, Partner

_GATED = {LegName.BORROW: Scope.BORROW, LegName.COLLECT: Scope.REPAY}
"""The legs that can still be stopped, with the scope that each one's key must have."""


@dataclass(frozen=True, slots=True)
class _Standing:
    partner_id: str | None
    api_key_id: str | None
    cancelled: bool


async def lock_and_judge(
    session: AsyncSession, legs: Sequence[tuple[str, str]], *, demands_clearance: bool
) -> dict[tuple[str, str], str]:
    """Locks the operations of these (operation, leg) pairs; says which may not be sent any more, and why."""
    standings = await _operations(session, {operation_id for operation_id, _ in legs})
    gated = [(operation_id, LegName(leg)) for operation_id, leg in legs if leg in _GATED]
    if not gated:
        return {}
    concerned = [standings[operation_id] for operation_id, _ in gated]
    partners = await _partners(session, {each.partner_id for each in concerned if each.partner_id is not None})
    inactive, uncleared = _inactive(partners), _uncleared(partners, demanded=demands_clearance)
    keys = await _keys(session, {each.api_key_id for each in concerned if each.api_key_id is not None})
    ungranted = await _revoked_grants(session, [operation_id for operation_id, leg in gated if leg == LegName.BORROW])
    reasons: dict[tuple[str, str], str] = {}
    for operation_id, leg in gated:
        standing = standings[operation_id]
        reason = (
            ("a cancellation was asked for" if standing.cancelled else None)
            or inactive.get(standing.partner_id or "")
            or (uncleared.get(standing.partner_id or "") if leg == LegName.BORROW else None)
            or _invalid(keys.get(standing.api_key_id or ""), _GATED[leg])
            or (ungranted.get(operation_id) if leg == LegName.BORROW else None)
        )
        if reason is not None:
            reasons[operation_id, leg] = reason
    return reasons


async def _operations(session: AsyncSession, ids: Collection[str]) -> Mapping[str, _Standing]:
    query = select(Operation.id, Operation.partner_id, Operation.api_key_id, Operation.cancel_requested_at)
    rows = await _shared(session, query.where(Operation.id.in_(ids)).order_by(Operation.id))
    return {row.id: _Standing(row.partner_id, row.api_key_id, row.cancel_requested_at is not None) for row in rows}


async def _partners(session: AsyncSession, ids: Collection[str]) -> Sequence[Row[*tuple[Any, ...]]]:
    query = select(Partner.id, Partner.status, Partner.kyc_verified, Partner.contract_signed)
    return await _shared(session, query.where(Partner.id.in_(ids)).order_by(Partner.id))


def _inactive(partners: Sequence[Row[*tuple[Any, ...]]]) -> Mapping[str, str]:
    return {row.id: f"the partner is {row.status}" for row in partners if row.status is not PartnerStatus.ACTIVE}


def _uncleared(partners: Sequence[Row[*tuple[Any, ...]]], *, demanded: bool) -> Mapping[str, str]:
    return {
        row.id: "the partner is no longer cleared to borrow"
        for row in partners
        if demanded and not (row.kyc_verified and row.contract_signed)
    }


async def _keys(session: AsyncSession, ids: Collection[str]) -> Mapping[str, Row[*tuple[Any, ...]]]:
    query = select(ApiKey.id, ApiKey.revoked_at, ApiKey.expires_at, ApiKey.scopes)
    return {row.id: row for row in await _shared(session, query.where(ApiKey.id.in_(ids)).order_by(ApiKey.id))}


def _invalid(key: Row[*tuple[Any, ...]] | None, scope: Scope) -> str | None:
    if key is None:
        return None
    if key.revoked_at is not None:
        return "the API key was revoked"
    if key.expires_at is not None and key.expires_at <= datetime.now(UTC):
        return "the API key has expired"
    return None if scope in key.scopes else f"the API key may not {scope} any more"


async def _revoked_grants(session: AsyncSession, operation_ids: Collection[str]) -> Mapping[str, str]:
    """A grant that expired after the reservation still holds; one that was revoked does not (money.md section 3)."""
    query = select(Loan.operation_id, Loan.grant_id).where(Loan.operation_id.in_(operation_ids))
    grant_of = {row.operation_id: row.grant_id for row in (await session.execute(query)).all()}
    grants = select(CreditLineGrant.id, CreditLineGrant.revoked_at)
    locked = await _shared(
        session, grants.where(CreditLineGrant.id.in_(grant_of.values())).order_by(CreditLineGrant.id)
    )
    revoked = {row.id for row in locked if row.revoked_at is not None}
    return {
        operation_id: "the grant for the credit line was revoked"
        for operation_id, grant_id in grant_of.items()
        if grant_id in revoked
    }


async def _shared(session: AsyncSession, query: Select[*tuple[Any, ...]]) -> Sequence[Row[*tuple[Any, ...]]]:
    return (await session.execute(query.with_for_update(read=True))).all()
