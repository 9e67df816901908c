"""``python -m api.partners``: partners, keys, grants and administrators from the command line, and the import of a list."""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from api.administration import AdministrationRefused, IssuedKey, create_partner, issue_key, record_grant
from api.administration import revoke_key as revoke
from api.administration import set_status as change_status
from api.administrators_command import administrator_commands, aware_time
from api.import_command import import_command
from models.statuses import PartnerStatus, PartnerTier, Scope
from models.tables.session import open_database, transactions
from settings import Settings
from startup import SettingAtFault, read_settings


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    try:
        said = asyncio.run(_run(read_settings(Settings), asked))
    except (AdministrationRefused, SettingAtFault) as refused:
        sys.stderr.write(f"{refused}\n")
        return 1
    sys.stdout.write(f"{said}\n")
    return 0


async def _run(settings: Settings, asked: argparse.Namespace) -> str:
    engine = open_database(settings.database_url.get_secret_value(), pool_size=1, application_name="api.partners")
    try:
        async with transactions(engine)() as session:
            said: str = await asked.do(session, settings, asked)
            return said
    finally:
        await engine.dispose()


async def _create(session: AsyncSession, settings: Settings, asked: argparse.Namespace) -> str:
    issued = await create_partner(
        session,
        partner_id=asked.id,
        name=asked.name,
        tier=PartnerTier(asked.tier),
        settlement_address=asked.settlement_address,
        mode=asked.mode or settings.key_mode,
        pepper=settings.key_pepper,
        fee_bps=asked.fee_bps,
        daily_limit=asked.daily_limit,
        total_limit=asked.total_limit,
        kyc_verified=asked.kyc_verified,
        contract_signed=asked.contract_signed,
        engine_addresses=settings.engine_addresses,
    )
    return _shown_once(issued)


async def _issue_key(session: AsyncSession, settings: Settings, asked: argparse.Namespace) -> str:
    issued = await issue_key(
        session,
        partner_id=asked.partner,
        mode=asked.mode or settings.key_mode,
        pepper=settings.key_pepper,
        scopes=[Scope(word) for word in asked.scopes.split(",")],
        expires_at=asked.expires,
    )
    return _shown_once(issued)


async def _revoke_key(session: AsyncSession, _: Settings, asked: argparse.Namespace) -> str:
    await revoke(session, asked.key)
    return f"revoked {asked.key}"


async def _set_status(session: AsyncSession, _: Settings, asked: argparse.Namespace) -> str:
    await change_status(session, asked.partner, PartnerStatus(asked.status), reason=asked.reason)
    return f"{asked.partner} is {asked.status}"


async def _grant(session: AsyncSession, settings: Settings, asked: argparse.Namespace) -> str:
    return await record_grant(
        session,
        partner_id=asked.partner,
        chain_id=settings.chain_id,
        oaid_address=settings.oaid_address,
        oaid_token_id=asked.oaid_token_id,
        position_id=asked.position_id,
        user_wallet=asked.user_wallet,
        max_amount=asked.max_amount,
        expires_at=asked.expires,
        reason=asked.reason,
    )


def _shown_once(issued: IssuedKey) -> str:
    return f"key id: {issued.key_id}\nkey (shown this once): {issued.key}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m api.partners", description="Partners, their keys and grants, and who administers them."
    )
    commands = parser.add_subparsers(required=True)
    _create_command(commands.add_parser("create", help="a partner, its settlement address and its first key"))
    _issue_key_command(commands.add_parser("issue-key", help="one more key for a partner"))
    _grant_command(commands.add_parser("grant", help="record that a user lets a partner borrow on a line"))
    status = commands.add_parser("set-status", help="suspend a partner, or let it work again")
    status.add_argument("--partner", required=True)
    status.add_argument("--status", required=True, choices=[str(word) for word in PartnerStatus])
    status.add_argument("--reason")
    status.set_defaults(do=_set_status)
    revoked = commands.add_parser("revoke-key", help="refuse a key from now on")
    revoked.add_argument("--key", required=True, help="the key's id, never the key itself")
    revoked.set_defaults(do=_revoke_key)
    administrator_commands(commands.add_parser("admin", help="administrators and their keys, the first one included"))
    import_command(commands.add_parser("import", help="partners as a file lists them, all or none"))
    return parser


def _create_command(command: argparse.ArgumentParser) -> None:
    command.add_argument("--id", required=True)
    command.add_argument("--name", required=True)
    command.add_argument("--tier", required=True, choices=[str(word) for word in PartnerTier])
    command.add_argument("--settlement-address", required=True)
    command.add_argument("--fee-bps", type=int)
    command.add_argument("--daily-limit", type=int, help="in base units of USDC")
    command.add_argument("--total-limit", type=int, help="in base units of USDC")
    command.add_argument("--kyc-verified", action="store_true", help="needed to borrow live")
    command.add_argument("--contract-signed", action="store_true", help="needed to borrow live")
    command.add_argument("--mode", choices=["live", "sandbox"])
    command.set_defaults(do=_create)


def _issue_key_command(command: argparse.ArgumentParser) -> None:
    command.add_argument("--partner", required=True)
    command.add_argument("--scopes", default=",".join(Scope), help="comma-separated")
    command.add_argument("--expires", type=aware_time)
    command.add_argument("--mode", choices=["live", "sandbox"])
    command.set_defaults(do=_issue_key)


def _grant_command(command: argparse.ArgumentParser) -> None:
    command.add_argument("--partner", required=True)
    command.add_argument("--oaid-token-id", required=True, type=int)
    command.add_argument("--position-id", required=True, type=int)
    command.add_argument("--user-wallet", required=True)
    command.add_argument("--max-amount", required=True, type=int, help="in base units of USDC")
    command.add_argument("--expires", required=True, type=aware_time)
    command.add_argument("--reason", required=True)
    command.set_defaults(do=_grant)


if __name__ == "__main__":
    sys.exit(main())
