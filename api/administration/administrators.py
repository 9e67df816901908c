"""Administrators and their keys. The first one comes from a command, since nobody is there to ask for him."""

from dataclasses import dataclass, field
from datetime import datetime

from pydantic import SecretStr
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from activities.operation_rows import NO_KEY_UPDATE
from api.administration.settlement import cancel_changes_of
from api.keys import KeyMode, new_admin_key
from models.errors import (
    AdministratorDisabled,
    AdministratorExists,
    AdministratorNotFound,
    KeyNotFound,
    LastAdministrator,
    TermsInvalid,
)
from models.ids import new_id
from models.statuses import AdminActionKind
from models.tables.admin_book import COMMAND_LINE, Actor, record_action
from models.tables.administration import Administrator, AdminKey


@dataclass(frozen=True, slots=True)
class IssuedAdminKey:
    """A new key of an administrator. ``key`` is its plain text: it exists here only, and is shown once."""

    administrator_id: str
    key_id: str
    prefix: str
    key: str = field(repr=False)


async def create_administrator(session: AsyncSession, name: str, *, actor: Actor = COMMAND_LINE) -> Administrator:
    """An administrator without a key. Raises AdministratorExists or TermsInvalid."""
    if not name.strip():
        raise TermsInvalid("An administrator needs a name.")
    adding = insert(Administrator).values(id=new_id("adm"), name=name).on_conflict_do_nothing(index_elements=["name"])
    administrator: Administrator | None = await session.scalar(adding.returning(Administrator))
    if administrator is None:
        raise AdministratorExists(name)
    record_action(session, actor, AdminActionKind.CREATE_ADMINISTRATOR, administrator.id, after={"name": name})
    await session.flush()
    return administrator


async def disable_administrator(
    session: AsyncSession, administrator_id: str, *, actor: Actor = COMMAND_LINE, reason: str | None = None
) -> Administrator:
    """None of his keys works from now on, and changes of settlement addresses that he requested or approved are cancelled.

    Again changes nothing. Raises AdministratorNotFound or LastAdministrator. All rows are locked, in one order: two who disable each other at once would leave nobody.
    """
    locked = select(Administrator).order_by(Administrator.id).with_for_update(key_share=True)
    everyone = {each.id: each for each in await session.scalars(locked)}
    administrator = everyone.get(administrator_id)
    if administrator is None:
        raise AdministratorNotFound(administrator_id)
    if administrator.disabled_at is not None:
        return administrator
    if all(each.disabled_at is not None for each in everyone.values() if each is not administrator):
        raise LastAdministrator(administrator_id)
    administrator.disabled_at = (await session.execute(select(func.now()))).scalar_one()
    record_action(
        session,
        actor,
        AdminActionKind.DISABLE_ADMINISTRATOR,
        administrator_id,
        before={"disabled_at": None},
        after={"disabled_at": administrator.disabled_at.isoformat()},
        reason=reason,
    )
    await cancel_changes_of(session, administrator_id, actor=actor)
    await session.flush()
    return administrator


async def issue_admin_key(
    session: AsyncSession,
    administrator_id: str,
    *,
    mode: KeyMode,
    pepper: SecretStr | None = None,
    expires_at: datetime | None = None,
    actor: Actor = COMMAND_LINE,
) -> IssuedAdminKey:
    """One more key. Who issued it is kept: he has seen it (ADR 0021). Raises AdministratorNotFound or AdministratorDisabled."""
    administrator = await session.get(Administrator, administrator_id)
    if administrator is None:
        raise AdministratorNotFound(administrator_id)
    if administrator.disabled_at is not None:
        raise AdministratorDisabled(administrator_id)
    key = new_admin_key(mode)
    row = AdminKey(
        id=new_id("adminkey"),
        administrator_id=administrator_id,
        prefix=key.prefix,
        secret_hash=key.hash(pepper),
        issued_by=actor.administrator_id,
        expires_at=expires_at,
    )
    session.add(row)
    after = {"administrator_id": administrator_id, "prefix": key.prefix}
    if expires_at is not None:
        after["expires_at"] = expires_at.isoformat()
    record_action(session, actor, AdminActionKind.ISSUE_ADMIN_KEY, row.id, after=after)
    await session.flush()
    return IssuedAdminKey(administrator_id, row.id, key.prefix, key.text)


async def revoke_admin_key(
    session: AsyncSession, key_id: str, *, administrator_id: str | None = None, actor: Actor = COMMAND_LINE
) -> None:
    """From now on the key is refused. Revoking it again changes nothing. Raises KeyNotFound."""
    key = await session.get(AdminKey, key_id, with_for_update=NO_KEY_UPDATE)
    if key is None or administrator_id not in (None, key.administrator_id):
        raise KeyNotFound(key_id)
    if key.revoked_at is not None:
        return
    key.revoked_at = (await session.execute(select(func.now()))).scalar_one()
    before, after = {"revoked_at": None}, {"revoked_at": key.revoked_at.isoformat()}
    record_action(session, actor, AdminActionKind.REVOKE_ADMIN_KEY, key_id, before=before, after=after)
    await session.flush()
