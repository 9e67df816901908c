"""``python -m api.partners admin …``: administrators and their keys. The first admin key of a deployment comes from here."""

import argparse
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.administration import (
    IssuedAdminKey,
    create_administrator,
    disable_administrator,
    issue_admin_key,
    revoke_admin_key,
)
from models.tables.administration import Administrator, AdminKey
from settings import Settings


def administrator_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True)
    create = commands.add_parser("create", help="an administrator with a key, shown once")
    create.add_argument("--name", required=True, help="a person's: a second person approves what one alone may not do")
    create.set_defaults(do=_create)
    commands.add_parser("list", help="administrators and their keys").set_defaults(do=_list)
    issue = commands.add_parser("issue-key", help="one more key for an administrator")
    issue.add_argument("--id", required=True)
    issue.set_defaults(do=_issue_key)
    for command in (create, issue):
        command.add_argument("--expires", type=aware_time)
        command.add_argument("--mode", choices=["live", "sandbox"])
    revoke = commands.add_parser("revoke-key", help="refuse a key from now on")
    revoke.add_argument("--key", required=True, help="the key's id, never the key itself")
    revoke.set_defaults(do=_revoke_key)
    disable = commands.add_parser("disable", help="refuse all keys of an administrator from now on")
    disable.add_argument("--id", required=True)
    disable.add_argument("--reason")
    disable.set_defaults(do=_disable)


def aware_time(text: str) -> datetime:
    """Raises ArgumentTypeError where no zone is named; argparse tells of the rest."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"'{text}' names no time zone; write it like 2030-01-01T00:00:00Z")
    return moment


async def _create(session: AsyncSession, settings: Settings, asked: argparse.Namespace) -> str:
    administrator = await create_administrator(session, asked.name)
    return _shown_once(await _issue(session, settings, administrator.id, asked))


async def _issue_key(session: AsyncSession, settings: Settings, asked: argparse.Namespace) -> str:
    return _shown_once(await _issue(session, settings, asked.id, asked))


async def _issue(
    session: AsyncSession, settings: Settings, administrator_id: str, asked: argparse.Namespace
) -> IssuedAdminKey:
    return await issue_admin_key(
        session,
        administrator_id,
        mode=asked.mode or settings.key_mode,
        pepper=settings.key_pepper,
        expires_at=asked.expires,
    )


async def _revoke_key(session: AsyncSession, _: Settings, asked: argparse.Namespace) -> str:
    await revoke_admin_key(session, asked.key)
    return f"revoked {asked.key}"


async def _disable(session: AsyncSession, _: Settings, asked: argparse.Namespace) -> str:
    administrator = await disable_administrator(session, asked.id, reason=asked.reason)
    return f"{administrator.name} is disabled"


async def _list(session: AsyncSession, _: Settings, __: argparse.Namespace) -> str:
    lines = []
    for administrator in await session.scalars(select(Administrator).order_by(Administrator.id)):
        lines.append(f"{administrator.id}  {administrator.name}{'  disabled' if administrator.disabled_at else ''}")
        keys = select(AdminKey).where(AdminKey.administrator_id == administrator.id).order_by(AdminKey.id)
        lines += [f"  {key.id}  {key.prefix}…  {_standing(key)}" for key in await session.scalars(keys)]
    return "\n".join(lines) or "there is no administrator"


def _standing(key: AdminKey) -> str:
    if key.revoked_at is not None:
        return f"revoked at {key.revoked_at:%Y-%m-%dT%H:%M:%SZ}"
    return "does not expire" if key.expires_at is None else f"expires at {key.expires_at:%Y-%m-%dT%H:%M:%SZ}"


def _shown_once(issued: IssuedAdminKey) -> str:
    return f"administrator: {issued.administrator_id}\nkey id: {issued.key_id}\nkey (shown this once): {issued.key}"
