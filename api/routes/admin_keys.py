"""Keys of partners, for administrators: issued, changed, rotated with an overlap, revoked."""

from datetime import timedelta

from fastapi import APIRouter, status

from api.admin_answers import ChangedAnswer, ChangedKeyAnswer, IssuedKeyAnswer, KeysAnswer
from api.admin_bodies import ChangeKeyBody, KeyBody, RotateKeyBody
from api.admin_deps import (
    ADMIN,
    ADMIN_READS,
    ADMINISTRATORS_ONLY,
    CHANGES,
    JSON_BODY,
    OF_A_PARTNER,
    ActorDep,
    KeyIdPath,
    PartnerIdPath,
    ReasonQuery,
)
from api.admin_reads import key_answer, keys_of
from api.administration import AS_IT_IS, IssuedKey, change_key, make_key, revoke_key, rotate_key
from api.deps import ReadSessionDep, ResourcesDep, SessionDep
from api.docs import problems
from api.gate import AdminRoute
from models import errors

router = APIRouter(
    prefix="/v1/admin/partners/{partner_id}/keys",
    tags=["admin"],
    dependencies=ADMINISTRATORS_ONLY,
    route_class=AdminRoute,
)


@router.post(
    "",
    operation_id="issueKey",
    summary="Issue a key; it is shown this once",
    status_code=status.HTTP_201_CREATED,
    dependencies=JSON_BODY,
    responses=problems(*CHANGES, *OF_A_PARTNER, errors.SigningNotConfigured),
)
async def issue_key(
    partner_id: PartnerIdPath,
    body: KeyBody,
    actor: ActorDep,
    resources: ResourcesDep,
    session: SessionDep,
) -> IssuedKeyAnswer:
    """Only its hash is stored. A repeat issues another one: revoke the key whose answer was lost."""
    settings = resources.settings
    issued = await make_key(
        session,
        partner_id,
        body.new(),
        mode=settings.key_mode,
        pepper=settings.key_pepper,
        sealer=settings.sealer,
        actor=actor,
    )
    return _shown_once(issued)


@router.get(
    "",
    operation_id="listKeys",
    summary="A partner's keys, newest first",
    responses=problems(*ADMIN_READS, *OF_A_PARTNER),
)
async def list_keys(partner_id: PartnerIdPath, session: ReadSessionDep) -> KeysAnswer:
    """Revoked and expired ones included; the keys themselves are not known any more."""
    return KeysAnswer(keys=await keys_of(session, partner_id))


@router.patch(
    "/{key_id}",
    operation_id="changeKey",
    summary="Change a key's label, scopes, networks or duty to sign",
    dependencies=JSON_BODY,
    responses=problems(*CHANGES, errors.KeyNotFound, errors.KeyOver, errors.SigningSecretMissing),
)
async def patch_key(
    partner_id: PartnerIdPath,
    key_id: KeyIdPath,
    body: ChangeKeyBody,
    actor: ActorDep,
    session: SessionDep,
) -> ChangedKeyAnswer:
    changes = await change_key(session, partner_id, key_id, body.given(), actor=actor, reason=body.reason)
    changed = ChangedAnswer(before=changes.before, after=changes.after)
    return ChangedKeyAnswer(key=key_answer(changes.key), changed=changed)


@router.post(
    "/{key_id}/rotate",
    operation_id="rotateKey",
    summary="Replace a key by a new one; both work for a while",
    status_code=status.HTTP_201_CREATED,
    dependencies=JSON_BODY,
    responses=problems(*CHANGES, errors.KeyNotFound, errors.KeyOver, errors.SigningNotConfigured),
)
async def post_rotation(
    *,
    partner_id: PartnerIdPath,
    key_id: KeyIdPath,
    body: RotateKeyBody,
    actor: ActorDep,
    resources: ResourcesDep,
    session: SessionDep,
) -> IssuedKeyAnswer:
    """The new key has the old one's settings, and a signing secret of its own where the old one has one."""
    settings = resources.settings
    issued = await rotate_key(
        session,
        partner_id,
        key_id,
        mode=settings.key_mode,
        pepper=settings.key_pepper,
        sealer=settings.sealer,
        overlap=timedelta(seconds=body.overlap_seconds),
        expires_at=body.expires_at if "expires_at" in body.model_fields_set else AS_IT_IS,
        with_signing_secret=body.with_signing_secret,
        actor=actor,
        reason=body.reason,
    )
    return _shown_once(issued)


@router.delete(
    "/{key_id}",
    operation_id="revokeKey",
    summary="Revoke a key",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(*ADMIN, errors.KeyNotFound),
)
async def delete_key(
    partner_id: PartnerIdPath,
    key_id: KeyIdPath,
    actor: ActorDep,
    session: SessionDep,
    reason: ReasonQuery | None = None,
) -> None:
    """From its next request on, and for every operation that has sent nothing yet. Again is 204 again."""
    await revoke_key(session, key_id, partner_id=partner_id, actor=actor, reason=reason)


def _shown_once(issued: IssuedKey) -> IssuedKeyAnswer:
    return IssuedKeyAnswer(
        partner_id=issued.partner_id,
        key_id=issued.key_id,
        prefix=issued.prefix,
        key=issued.key,
        signing_secret=issued.signing_secret,
    )
