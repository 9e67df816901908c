"""Who may move money: asked again at the start of a run, since a request may have waited for hours."""

from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from models.errors import (
    GrantRequired,
    InvariantBroken,
    KeyNotValid,
    PartnerNotActive,
    PartnerNotCleared,
    Refused,
    ScopeMissing,
    raise_first,
)
from models.messages.borrow import Authorization, AuthorizeBorrow, BorrowRequest
from models.messages.repay import Authorized, AuthorizeRepayment
from models.statuses import GrantEvidence, PartnerStatus, Scope
from models.tables.operations import Operation
from models.tables.partners import ApiKey, CreditLineGrant, Partner
from models.tables.session import Transaction


class PartnerActivities:
    """Reads only; ``chain_id`` and ``oaid_address`` say for which credit lines a grant counts.

    ``demands_clearance``: only a partner that is verified and has signed its contract may borrow.
    """

    def __init__(self, transaction: Transaction, chain_id: int, oaid_address: str, *, demands_clearance: bool) -> None:
        self._transaction = transaction
        self._chain_id = chain_id
        self._oaid_address = oaid_address
        self._demands_clearance = demands_clearance

    @activity.defn
    async def authorize_partner(self, asked: AuthorizeBorrow) -> Authorization:
        """Raises PartnerNotActive, KeyNotValid, ScopeMissing, PartnerNotCleared or GrantRequired."""
        async with self._transaction() as session:
            partner = await _authorized(
                session, asked.operation_id, Scope.BORROW, demands_clearance=self._demands_clearance
            )
            grant = await live_grant(
                session, partner.id, asked.request, chain_id=self._chain_id, oaid_address=self._oaid_address
            )
            return Authorization(
                partner_id=partner.id,
                fee_bps=partner.fee_bps,
                grant_id=grant.id,
                by_administrator=grant.evidence_kind is GrantEvidence.ADMINISTRATOR,
                position_id=grant.position_id,
            )

    @activity.defn
    async def authorize_repayment(self, asked: AuthorizeRepayment) -> Authorized:
        """Raises PartnerNotActive, KeyNotValid or ScopeMissing."""
        async with self._transaction() as session:
            partner = await _authorized(session, asked.operation_id, Scope.REPAY, demands_clearance=False)
            return Authorized(partner_id=partner.id)


async def live_grant(
    session: AsyncSession, partner_id: str, request: BorrowRequest, *, chain_id: int, oaid_address: str
) -> CreditLineGrant:
    """The grant that lets this partner borrow so much on this line. Raises GrantRequired."""
    query = (
        select(CreditLineGrant)
        .where(
            CreditLineGrant.partner_id == partner_id,
            CreditLineGrant.chain_id == chain_id,
            CreditLineGrant.oaid_address == oaid_address,
            CreditLineGrant.oaid_token_id == request.oaid_token_id,
            CreditLineGrant.user_wallet == request.user_wallet,
            CreditLineGrant.max_amount >= request.amount,
            CreditLineGrant.expires_at > datetime.now(UTC),
            CreditLineGrant.revoked_at.is_(None),
        )
        .order_by(CreditLineGrant.evidence_kind, CreditLineGrant.expires_at.desc())
        .limit(1)
    )
    grant = await session.scalar(query)
    if grant is None:
        raise GrantRequired(request.oaid_token_id, request.user_wallet, request.amount)
    return grant


def standing_refusals(
    partner: Partner, key: ApiKey | None, scope: Scope, *, demands_clearance: bool
) -> Iterator[Refused]:
    """Why this partner may not move money with this key. The first is what a run raises, preflight shows all.

    ``demands_clearance``: only a partner that is verified and has signed its contract may.
    """
    if partner.status is not PartnerStatus.ACTIVE:
        yield PartnerNotActive(partner.status)
    if key is None or not _valid(key):
        yield KeyNotValid()
    if key is not None and scope not in key.scopes:
        yield ScopeMissing(scope)
    if demands_clearance and not partner.cleared:
        yield PartnerNotCleared()


async def _authorized(session: AsyncSession, operation_id: str, scope: Scope, *, demands_clearance: bool) -> Partner:
    query = (
        select(Partner, ApiKey)
        .join(Operation, Operation.partner_id == Partner.id)
        .outerjoin(ApiKey, ApiKey.id == Operation.api_key_id)
        .where(Operation.id == operation_id)
    )
    found = (await session.execute(query)).one_or_none()
    if found is None:
        raise InvariantBroken(f"operation {operation_id} has no partner")
    partner: Partner = found[0]
    key: ApiKey | None = found[1]
    raise_first(standing_refusals(partner, key, scope, demands_clearance=demands_clearance))
    return partner


def _valid(key: ApiKey) -> bool:
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > datetime.now(UTC))
