"""Partners, for administrators: created, looked at, changed, suspended; and the changes of their settlement addresses."""

from typing import Annotated

from fastapi import APIRouter, Query, status

from api.admin_answers import (
    AdminPartnerAnswer,
    ChangedAnswer,
    ChangedPartnerAnswer,
    PartnerDetailAnswer,
    PartnersAnswer,
    SettlementChangeAnswer,
    SettlementChangesAnswer,
)
from api.admin_bodies import ChangePartnerBody, PartnerBody, ReasonBody, SettlementChangeBody
from api.admin_deps import (
    ADDRESS,
    ADMIN,
    ADMIN_READS,
    ADMINISTRATORS_ONLY,
    CHANGES,
    JSON_BODY,
    OF_A_PARTNER,
    ActorDep,
    ChangeIdPath,
    PartnerIdPath,
    ReasonQuery,
    Size,
)
from api.admin_reads import (
    partner_answer,
    partner_detail,
    partners_page,
    settlement_change_answer,
    settlement_changes,
)
from api.administration import (
    PartnerChanges,
    add_partner,
    approve_change,
    cancel_change,
    change_partner,
    request_change,
    set_status,
)
from api.auth import AdminDep
from api.deps import ReadSessionDep, ResourcesDep, SessionDep
from api.docs import problems
from api.gate import AdminRoute
from models import errors
from models.ids import PUBLIC_ID_PATTERN
from models.statuses import PartnerStatus, PartnerTier

router = APIRouter(
    prefix="/v1/admin/partners", tags=["admin"], dependencies=ADMINISTRATORS_ONLY, route_class=AdminRoute
)

Cursor = Annotated[str | None, Query(pattern=PUBLIC_ID_PATTERN, description="next_cursor of the page before")]


@router.post(
    "",
    operation_id="createPartner",
    summary="Create a partner, without a key",
    status_code=status.HTTP_201_CREATED,
    dependencies=JSON_BODY,
    responses=problems(*CHANGES, errors.PartnerExists, errors.TermsInvalid, *ADDRESS),
)
async def create_partner(
    body: PartnerBody, actor: ActorDep, resources: ResourcesDep, session: SessionDep
) -> AdminPartnerAnswer:
    """ACTIVE at once. The same again is 409, also with an equal body: it may have been changed since."""
    addresses = resources.settings.engine_addresses
    return partner_answer(await add_partner(session, body.new(), engine_addresses=addresses, actor=actor))


@router.get("", operation_id="listPartners", summary="Partners, by their ids", responses=problems(*ADMIN_READS))
async def list_partners(
    session: ReadSessionDep,
    partner_status: Annotated[PartnerStatus | None, Query(alias="status")] = None,
    tier: PartnerTier | None = None,
    cursor: Cursor = None,
    limit: Size = 50,
) -> PartnersAnswer:
    page, following = await partners_page(session, partner_status, tier, cursor, limit)
    return PartnersAnswer(partners=page, next_cursor=following)


@router.get(
    "/{partner_id}",
    operation_id="getPartner",
    summary="A partner with its usage and lifetime figures",
    responses=problems(*ADMIN_READS, *OF_A_PARTNER),
)
async def get_partner(partner_id: PartnerIdPath, session: ReadSessionDep) -> PartnerDetailAnswer:
    return await partner_detail(session, partner_id)


@router.patch(
    "/{partner_id}",
    operation_id="changePartner",
    summary="Change a partner's terms and flags",
    dependencies=JSON_BODY,
    responses=problems(*CHANGES, *OF_A_PARTNER, errors.TermsInvalid),
)
async def patch_partner(
    partner_id: PartnerIdPath, body: ChangePartnerBody, actor: ActorDep, session: SessionDep
) -> ChangedPartnerAnswer:
    """Loans that are reserved keep their terms. A lower limit takes nothing back: it stops what comes next.

    With another tier come its fee and limits, but for those that are named and those that were not the old tier's.
    """
    return _changed(await change_partner(session, partner_id, body.given(), actor=actor, reason=body.reason))


@router.post(
    "/{partner_id}/suspend",
    operation_id="suspendPartner",
    summary="Suspend a partner",
    dependencies=JSON_BODY,
    responses=problems(*CHANGES, *OF_A_PARTNER),
)
async def suspend_partner(
    partner_id: PartnerIdPath, body: ReasonBody, actor: ActorDep, session: SessionDep
) -> ChangedPartnerAnswer:
    """From the next request on, and for every operation that has sent nothing yet. What was sent is finished."""
    suspended = PartnerStatus.SUSPENDED
    return _changed(await set_status(session, partner_id, suspended, actor=actor, reason=body.reason))


@router.post(
    "/{partner_id}/reactivate",
    operation_id="reactivatePartner",
    summary="Let a partner work again",
    dependencies=JSON_BODY,
    responses=problems(*CHANGES, *OF_A_PARTNER),
)
async def reactivate_partner(
    partner_id: PartnerIdPath, body: ReasonBody, actor: ActorDep, session: SessionDep
) -> ChangedPartnerAnswer:
    return _changed(await set_status(session, partner_id, PartnerStatus.ACTIVE, actor=actor, reason=body.reason))


@router.post(
    "/{partner_id}/deactivate",
    operation_id="deactivatePartner",
    summary="End a partnership",
    dependencies=JSON_BODY,
    responses=problems(*CHANGES, *OF_A_PARTNER),
)
async def deactivate_partner(
    partner_id: PartnerIdPath, body: ReasonBody, actor: ActorDep, session: SessionDep
) -> ChangedPartnerAnswer:
    """INACTIVE: as suspended, and meant to stay so. Nothing of the partner is deleted, and it can be reactivated."""
    return _changed(await set_status(session, partner_id, PartnerStatus.INACTIVE, actor=actor, reason=body.reason))


@router.post(
    "/{partner_id}/settlement-changes",
    operation_id="requestSettlementChange",
    summary="Ask for another settlement address",
    status_code=status.HTTP_201_CREATED,
    dependencies=JSON_BODY,
    responses=problems(
        *CHANGES,
        *OF_A_PARTNER,
        *ADDRESS,
        errors.TermsInvalid,
        errors.SettlementAddressUnchanged,
        errors.SettlementChangeOpen,
        errors.AdministratorDisabled,
    ),
)
async def post_settlement_change(
    *,
    partner_id: PartnerIdPath,
    body: SettlementChangeBody,
    admin: AdminDep,
    actor: ActorDep,
    resources: ResourcesDep,
    session: SessionDep,
) -> SettlementChangeAnswer:
    """Nothing changes until another administrator approves it and the delay is over. Reserved loans keep their address."""
    change = await request_change(
        session,
        partner_id,
        body.address,
        actor=actor,
        administrator_id=admin.administrator_id,
        reason=body.reason,
        engine_addresses=resources.settings.engine_addresses,
    )
    return settlement_change_answer(change)


@router.get(
    "/{partner_id}/settlement-changes",
    operation_id="listSettlementChanges",
    summary="Changes of the settlement address, newest first",
    responses=problems(*ADMIN_READS, *OF_A_PARTNER),
)
async def list_settlement_changes(partner_id: PartnerIdPath, session: ReadSessionDep) -> SettlementChangesAnswer:
    return SettlementChangesAnswer(changes=await settlement_changes(session, partner_id))


@router.post(
    "/{partner_id}/settlement-changes/{change_id}/approve",
    operation_id="approveSettlementChange",
    summary="Approve another administrator's request",
    responses=problems(
        *ADMIN,
        *OF_A_PARTNER,
        errors.SettlementChangeNotFound,
        errors.SettlementChangeOver,
        errors.AdministratorDisabled,
        errors.SecondAdministratorNeeded,
    ),
)
async def approve_settlement_change(
    *,
    partner_id: PartnerIdPath,
    change_id: ChangeIdPath,
    admin: AdminDep,
    actor: ActorDep,
    resources: ResourcesDep,
    session: SessionDep,
) -> SettlementChangeAnswer:
    """It takes no body. The delay runs from now; until it is over the change can be cancelled."""
    administrator_id, delay = admin.administrator_id, resources.settings.settlement_change_delay
    change = await approve_change(
        session, partner_id, change_id, actor=actor, administrator_id=administrator_id, delay=delay
    )
    return settlement_change_answer(change)


@router.delete(
    "/{partner_id}/settlement-changes/{change_id}",
    operation_id="cancelSettlementChange",
    summary="Cancel a change that has not been applied",
    responses=problems(*ADMIN, *OF_A_PARTNER, errors.SettlementChangeNotFound, errors.SettlementChangeOver),
)
async def cancel_settlement_change(
    partner_id: PartnerIdPath,
    change_id: ChangeIdPath,
    actor: ActorDep,
    session: SessionDep,
    reason: ReasonQuery | None = None,
) -> SettlementChangeAnswer:
    """Any administrator may, alone. The address is free again. Again changes nothing."""
    return settlement_change_answer(await cancel_change(session, partner_id, change_id, actor=actor, reason=reason))


def _changed(changes: PartnerChanges) -> ChangedPartnerAnswer:
    changed = ChangedAnswer(before=changes.before, after=changes.after)
    return ChangedPartnerAnswer(partner=partner_answer(changes.partner), changed=changed)
