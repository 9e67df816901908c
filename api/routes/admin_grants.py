"""Grants, for administrators: what is on record, with a reason, that a user lets a partner borrow."""

from typing import Annotated

from fastapi import APIRouter, Query, status

from api.admin_bodies import RecordGrantBody
from api.admin_deps import (
    ADMIN,
    ADMIN_READS,
    ADMINISTRATORS_ONLY,
    CHANGES,
    JSON_BODY,
    OF_A_PARTNER,
    ActorDep,
    GrantIdPath,
    PartnerIdPath,
    ReasonQuery,
    Size,
)
from api.admin_reads import find_partner
from api.administration import record_grant, revoke_grant
from api.answers import GrantAnswer, GrantsAnswer
from api.deps import ReadSessionDep, ResourcesDep, SessionDep
from api.docs import LINE, ON_CHAIN, problems
from api.gate import AdminRoute
from api.grants import grant_answer, grants_page, line_on_record
from models.errors import GrantExpired, GrantNotFound, TermsInvalid
from models.tables.partners import CreditLineGrant

router = APIRouter(
    prefix="/v1/admin/partners/{partner_id}/grants",
    tags=["admin"],
    dependencies=ADMINISTRATORS_ONLY,
    route_class=AdminRoute,
)

Cursor = Annotated[str | None, Query(pattern=r"^grant_[0-9A-Z]{26}$", description="next_cursor of the page before")]


@router.post(
    "",
    operation_id="recordGrant",
    summary="Record that a user lets a partner borrow",
    status_code=status.HTTP_201_CREATED,
    dependencies=JSON_BODY,
    responses=problems(*CHANGES, *OF_A_PARTNER, *LINE, *ON_CHAIN, GrantExpired, TermsInvalid),
)
async def post_grant(
    partner_id: PartnerIdPath, body: RecordGrantBody, actor: ActorDep, resources: ResourcesDep
) -> GrantAnswer:
    """The line must be the user's now, or held by the platform wallet: then this record alone says whose it is."""
    line = await line_on_record(resources, body.oaid_token_id, body.user_wallet, body.expires_at)
    settings = resources.settings
    async with resources.transaction() as session:
        grant_id = await record_grant(
            session,
            partner_id=partner_id,
            chain_id=settings.chain_id,
            oaid_address=settings.oaid_address,
            oaid_token_id=body.oaid_token_id,
            position_id=line.solvency_position_id,
            user_wallet=body.user_wallet,
            max_amount=body.max_amount,
            expires_at=body.expires_at,
            reason=body.reason,
            actor=actor,
        )
        return grant_answer(await session.get_one(CreditLineGrant, grant_id))


@router.get(
    "",
    operation_id="listPartnerGrants",
    summary="A partner's grants, newest first",
    responses=problems(*ADMIN_READS, *OF_A_PARTNER),
)
async def list_grants(
    partner_id: PartnerIdPath, session: ReadSessionDep, cursor: Cursor = None, limit: Size = 50
) -> GrantsAnswer:
    """The users' own and the recorded ones, revoked and expired ones included."""
    await find_partner(session, partner_id)
    page, following = await grants_page(session, partner_id, cursor, limit)
    return GrantsAnswer(grants=page, next_cursor=following)


@router.delete(
    "/{grant_id}",
    operation_id="revokePartnerGrant",
    summary="Revoke a grant, whoever gave it",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(*ADMIN, GrantNotFound),
)
async def delete_grant(
    partner_id: PartnerIdPath, grant_id: GrantIdPath, actor: ActorDep, session: SessionDep, reason: ReasonQuery
) -> None:
    """It stops every borrow on it whose contract call was not prepared yet. Again is 204 again."""
    await revoke_grant(session, partner_id, grant_id, actor=actor, reason=reason)
