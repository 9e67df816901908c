"""Administrators and their keys, and the trail of everything that administrators and commands changed."""

from typing import Annotated

from fastapi import APIRouter, Query, status

from api.admin_answers import ActionsAnswer, AdministratorAnswer, AdministratorsAnswer, IssuedAdminKeyAnswer
from api.admin_bodies import AdministratorBody, AdminKeyBody, ReasonBody
from api.admin_deps import (
    ADMIN,
    ADMIN_READS,
    ADMINISTRATORS_ONLY,
    CHANGES,
    JSON_BODY,
    ActorDep,
    AdministratorIdPath,
    AdminKeyIdPath,
    Size,
)
from api.admin_reads import actions_page, administrator_answer, administrators
from api.administration import (
    create_administrator,
    disable_administrator,
    issue_admin_key,
    revoke_admin_key,
)
from api.deps import ReadSessionDep, ResourcesDep, SessionDep
from api.docs import problems
from api.gate import AdminRoute
from models import errors
from models.ids import PUBLIC_ID_PATTERN
from models.statuses import AdminActionKind

router = APIRouter(prefix="/v1/admin", tags=["admin"], dependencies=ADMINISTRATORS_ONLY, route_class=AdminRoute)

PartnerQuery = Annotated[str | None, Query(pattern=PUBLIC_ID_PATTERN)]
SubjectQuery = Annotated[str | None, Query(pattern=PUBLIC_ID_PATTERN, description="the id of what was changed")]
Cursor = Annotated[str | None, Query(pattern=r"^act_[0-9A-Z]{26}$", description="next_cursor of the page before")]


@router.post(
    "/administrators",
    operation_id="createAdministrator",
    summary="Create an administrator, without a key",
    status_code=status.HTTP_201_CREATED,
    dependencies=JSON_BODY,
    responses=problems(*CHANGES, errors.AdministratorExists, errors.TermsInvalid),
)
async def post_administrator(body: AdministratorBody, actor: ActorDep, session: SessionDep) -> AdministratorAnswer:
    return administrator_answer(await create_administrator(session, body.name, actor=actor))


@router.get(
    "/administrators",
    operation_id="listAdministrators",
    summary="Administrators and their keys",
    responses=problems(*ADMIN_READS),
)
async def list_administrators(session: ReadSessionDep) -> AdministratorsAnswer:
    return AdministratorsAnswer(administrators=await administrators(session))


@router.post(
    "/administrators/{administrator_id}/disable",
    operation_id="disableAdministrator",
    summary="Refuse all keys of an administrator from now on",
    dependencies=JSON_BODY,
    responses=problems(*CHANGES, errors.AdministratorNotFound, errors.LastAdministrator),
)
async def post_disabling(
    administrator_id: AdministratorIdPath,
    body: ReasonBody,
    actor: ActorDep,
    session: SessionDep,
) -> AdministratorAnswer:
    """For ever, and with every open change of a settlement address that it requested or approved, which is cancelled.

    The last one who is not disabled stays. Again changes nothing.
    """
    disabled = await disable_administrator(session, administrator_id, actor=actor, reason=body.reason)
    return administrator_answer(disabled)


@router.post(
    "/administrators/{administrator_id}/keys",
    operation_id="issueAdminKey",
    summary="Issue an administrator's key; it is shown this once",
    status_code=status.HTTP_201_CREATED,
    dependencies=JSON_BODY,
    responses=problems(*CHANGES, errors.AdministratorNotFound, errors.AdministratorDisabled),
)
async def post_admin_key(
    administrator_id: AdministratorIdPath,
    body: AdminKeyBody,
    actor: ActorDep,
    resources: ResourcesDep,
    session: SessionDep,
) -> IssuedAdminKeyAnswer:
    """Whoever issues a key has seen it, so the two never count as two people again: neither approves what the other requests."""
    settings = resources.settings
    issued = await issue_admin_key(
        session,
        administrator_id,
        mode=settings.key_mode,
        pepper=settings.key_pepper,
        expires_at=body.expires_at,
        actor=actor,
    )
    return IssuedAdminKeyAnswer(
        administrator_id=administrator_id, key_id=issued.key_id, prefix=issued.prefix, key=issued.key
    )


@router.delete(
    "/administrators/{administrator_id}/keys/{key_id}",
    operation_id="revokeAdminKey",
    summary="Revoke an administrator's key",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(*ADMIN, errors.KeyNotFound),
)
async def delete_admin_key(
    administrator_id: AdministratorIdPath, key_id: AdminKeyIdPath, actor: ActorDep, session: SessionDep
) -> None:
    """From its next request on. Again is 204 again."""
    await revoke_admin_key(session, key_id, administrator_id=administrator_id, actor=actor)


@router.get(
    "/actions",
    operation_id="listAdminActions",
    summary="The audit trail: who changed what, newest first",
    responses=problems(*ADMIN_READS),
)
async def list_actions(
    *,
    session: ReadSessionDep,
    partner_id: PartnerQuery = None,
    subject: SubjectQuery = None,
    action: AdminActionKind | None = None,
    cursor: Cursor = None,
    limit: Size = 50,
) -> ActionsAnswer:
    page, following = await actions_page(
        session, partner_id=partner_id, subject=subject, action=action, after=cursor, size=limit
    )
    return ActionsAnswer(actions=page, next_cursor=following)
