"""Keys of partners: issued and shown once, changed, rotated with an overlap, revoked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import SecretStr
from sqlalchemy import exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from activities.operation_rows import NO_KEY_UPDATE
from api.administration.fields import change, shown_fields
from api.keys import KeyMode, new_key
from api.signing import new_signing_secret
from models.errors import KeyNotFound, KeyOver, PartnerNotFound, SigningNotConfigured, SigningSecretMissing
from models.ids import new_id
from models.sealing import Sealer
from models.statuses import AdminActionKind, Scope
from models.tables.admin_book import COMMAND_LINE, Actor, record_action
from models.tables.base import JsonObject
from models.tables.partners import ApiKey, Partner

AS_IT_IS: Final = object()
"""The new key of a rotation ends when the old one would have."""


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key. ``key`` and ``signing_secret`` are its plain texts: they exist here only, and are shown once."""

    partner_id: str
    key_id: str
    prefix: str
    key: str = field(repr=False)
    signing_secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """How a key is to be. ``must_sign`` needs a signing secret, and so brings one."""

    scopes: Sequence[str] = tuple(map(str, Scope))
    label: str | None = None
    expires_at: datetime | None = None
    allowed_networks: Sequence[str] = ()
    with_signing_secret: bool = False
    must_sign: bool = False

    def columns(self) -> dict[str, Any]:
        return {
            "scopes": sorted({str(scope) for scope in self.scopes}),
            "label": self.label,
            "expires_at": self.expires_at,
            "allowed_networks": list(self.allowed_networks),
            "must_sign": self.must_sign,
        }


@dataclass(frozen=True, slots=True)
class KeyChanges:
    """``before`` and ``after`` hold what changed, and are empty where nothing did."""

    key: ApiKey
    before: JsonObject
    after: JsonObject


async def issue_key(
    session: AsyncSession,
    *,
    partner_id: str,
    mode: KeyMode,
    pepper: SecretStr | None = None,
    scopes: Sequence[Scope] = tuple(Scope),
    expires_at: datetime | None = None,
    actor: Actor = COMMAND_LINE,
) -> IssuedKey:
    """One more key for a partner. Raises PartnerNotFound."""
    new = NewKey(scopes=scopes, expires_at=expires_at)
    return await make_key(session, partner_id, new, mode=mode, pepper=pepper, sealer=None, actor=actor)


async def make_key(
    session: AsyncSession,
    partner_id: str,
    new: NewKey,
    *,
    mode: KeyMode,
    pepper: SecretStr | None,
    sealer: Sealer | None,
    actor: Actor,
) -> IssuedKey:
    """Raises PartnerNotFound, or SigningNotConfigured where a signing secret is asked for and there is no sealer."""
    if not await session.scalar(select(exists().where(Partner.id == partner_id))):
        raise PartnerNotFound(partner_id)
    issued, after = await _store(session, partner_id, new, mode=mode, pepper=pepper, sealer=sealer)
    record_action(session, actor, AdminActionKind.ISSUE_KEY, issued.key_id, partner_id=partner_id, after=after)
    await session.flush()
    return issued


async def _store(
    session: AsyncSession,
    partner_id: str,
    new: NewKey,
    *,
    mode: KeyMode,
    pepper: SecretStr | None,
    sealer: Sealer | None,
) -> tuple[IssuedKey, JsonObject]:
    key, key_id = new_key(partner_id, mode), new_id("key")
    signing_secret = new_signing_secret() if new.must_sign or new.with_signing_secret else None
    sealed = None if signing_secret is None else _sealed(signing_secret, key_id, sealer)
    columns = new.columns()
    row = ApiKey(
        id=key_id,
        partner_id=partner_id,
        prefix=key.prefix,
        secret_hash=key.hash(pepper),
        signing_secret=sealed,
        **columns,
    )
    session.add(row)
    await session.flush()
    issued = IssuedKey(partner_id, key_id, key.prefix, key.text, signing_secret)
    return issued, shown_fields({"prefix": key.prefix, **columns, "has_signing_secret": sealed is not None})


def _sealed(secret: str, key_id: str, sealer: Sealer | None) -> bytes:
    if sealer is None:
        raise SigningNotConfigured
    return sealer.seal(secret.encode(), key_id)


async def change_key(
    session: AsyncSession,
    partner_id: str,
    key_id: str,
    changes: Mapping[str, Any],
    *,
    actor: Actor = COMMAND_LINE,
    reason: str | None = None,
) -> KeyChanges:
    """Sets label, networks, scopes or must_sign. Raises KeyNotFound, KeyOver or SigningSecretMissing."""
    key = await _live_key(session, partner_id, key_id)
    if changes.get("must_sign") and key.signing_secret is None:
        raise SigningSecretMissing(key_id)
    before, after = change(key, changes)
    if after:
        kind = AdminActionKind.CHANGE_KEY
        record_action(session, actor, kind, key_id, partner_id=partner_id, before=before, after=after, reason=reason)
        await session.flush()
    return KeyChanges(key, before, after)


async def rotate_key(
    session: AsyncSession,
    partner_id: str,
    key_id: str,
    *,
    mode: KeyMode,
    pepper: SecretStr | None,
    sealer: Sealer | None,
    overlap: timedelta,
    expires_at: datetime | object | None = AS_IT_IS,
    with_signing_secret: bool = False,
    actor: Actor = COMMAND_LINE,
    reason: str | None = None,
) -> IssuedKey:
    """A new key with the old one's settings, and a signing secret of its own where the old one has one.

    The old key ends after the overlap, at once where it is zero, and never later than it would have.
    Raises KeyNotFound, KeyOver or SigningNotConfigured.
    """
    old = await _live_key(session, partner_id, key_id)
    new = NewKey(
        scopes=old.scopes,
        label=old.label,
        expires_at=old.expires_at if expires_at is AS_IT_IS else expires_at,  # type: ignore[arg-type]  # AS_IT_IS is the only object
        allowed_networks=old.allowed_networks,
        with_signing_secret=with_signing_secret or old.signing_secret is not None,
        must_sign=old.must_sign,
    )
    issued, after = await _store(session, partner_id, new, mode=mode, pepper=pepper, sealer=sealer)
    now = (await session.execute(select(func.now()))).scalar_one()
    ends: datetime = now + overlap
    before, ended = change(old, {"expires_at": ends if old.expires_at is None else min(ends, old.expires_at)})
    if not overlap:
        before, ended = {**before, "revoked_at": None}, {**ended, "revoked_at": now.isoformat()}
        old.revoked_at = now
    record_action(
        session,
        actor,
        AdminActionKind.ROTATE_KEY,
        key_id,
        partner_id=partner_id,
        before=before,
        after={**ended, "new_key": {"key_id": issued.key_id, **after}},
        reason=reason,
    )
    await session.flush()
    return issued


async def revoke_key(
    session: AsyncSession,
    key_id: str,
    *,
    partner_id: str | None = None,
    actor: Actor = COMMAND_LINE,
    reason: str | None = None,
) -> None:
    """From now on the key is refused. Revoking it again changes nothing. Raises KeyNotFound."""
    key = await _lock_key(session, partner_id, key_id)
    if key.revoked_at is not None:
        return
    key.revoked_at = (await session.execute(select(func.now()))).scalar_one()
    record_action(
        session,
        actor,
        AdminActionKind.REVOKE_KEY,
        key_id,
        partner_id=key.partner_id,
        before={"revoked_at": None},
        after={"revoked_at": key.revoked_at.isoformat()},
        reason=reason,
    )
    await session.flush()


async def _live_key(session: AsyncSession, partner_id: str, key_id: str) -> ApiKey:
    key = await _lock_key(session, partner_id, key_id)
    if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= datetime.now(UTC)):
        raise KeyOver(key_id)
    return key


async def _lock_key(session: AsyncSession, partner_id: str | None, key_id: str) -> ApiKey:
    key = await session.get(ApiKey, key_id, with_for_update=NO_KEY_UPDATE)
    if key is None or partner_id not in (None, key.partner_id):
        raise KeyNotFound(key_id)
    return key
