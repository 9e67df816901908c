"""``python -m api.partners import FILE [--dry-run]``: partners become what a file says of them, all of them or none.

Some things a file never does to a partner that exists. It changes no settlement address: that takes two administrators. And
it lets no partner work again that is not ACTIVE here: a list may be older than the suspension. Both are said, and not done.
"""

import argparse
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.administration import NewPartner, add_partner, change_partner
from api.partner_file import FileRefused, PartnerEntry, Placed, read_partners
from models.errors import AdministrationRefused, TermsInvalid
from models.statuses import AdminActionKind, PartnerStatus
from models.tables.base import JsonObject
from models.tables.partners import Partner
from settings import Settings

_WORDS = {
    "partner_name": "name",
    "api_key_prefix": "external_key_prefix",
    "platform_fee_percentage": "fee_bps",
}
"""What the file calls otherwise than the table."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did to one partner. ``left`` says what the file asks for and an import does not do."""

    partner_id: str
    created: bool = False
    before: JsonObject = field(default_factory=dict)
    after: JsonObject = field(default_factory=dict)
    left: Sequence[str] = ()

    def lines(self, *, dry: bool) -> list[str]:
        would = "would be " if dry else ""
        if self.created:
            return [f"{self.partner_id}: {would}created, without a key"]
        changes = "; ".join(f"{name} {self.before[name]} → {value}" for name, value in self.after.items())
        said = f"{self.partner_id}: {would}changed: {changes}" if changes else f"{self.partner_id}: unchanged"
        return [said, *(f"{self.partner_id}: {each}" for each in self.left)]


def import_command(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="a list under 'partners', such as configs/partner_platforms.json")
    parser.add_argument("--dry-run", action="store_true", help="say what would change, and change nothing")
    parser.set_defaults(do=_import)


async def _import(session: AsyncSession, settings: Settings, asked: argparse.Namespace) -> str:
    done = await import_partners(session, _text(asked.file), engine_addresses=settings.engine_addresses)
    if asked.dry_run:
        await session.rollback()
    lines = [line for each in done for line in each.lines(dry=asked.dry_run)]
    changed = sum(each.created or bool(each.after) for each in done)
    verb = "would change" if asked.dry_run else "changed"
    return "\n".join([*lines, f"{changed} of {len(done)} partners {verb}" if changed else "nothing to change"])


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TermsInvalid(f"{file} cannot be read: {error}.") from error


async def import_partners(session: AsyncSession, text: str, *, engine_addresses: Collection[str]) -> list[Imported]:
    """In the file's order. Raises FileRefused, with every fault that was found; then the transaction must not be committed."""
    placed = read_partners(text)
    known = await _known(session, placed)
    faults: list[tuple[int, str]] = []
    done: dict[str, Imported] = {}
    # Partners that exist come first, in the order of their ids: whoever locks partners and addresses does it in this order.
    for each in sorted(placed, key=lambda one: (one.entry.partner_id not in known, one.entry.partner_id)):
        partner_id = each.entry.partner_id
        try:
            if partner_id in known:
                done[partner_id] = await _change(session, each.entry)
            else:
                done[partner_id] = await _create(session, each.entry, engine_addresses)
        except AdministrationRefused as refused:
            faults.append((each.address_line, f"partner '{partner_id}': {refused}"))
    if faults:
        raise FileRefused(faults)
    return [done[each.entry.partner_id] for each in placed]


async def _known(session: AsyncSession, placed: Sequence[Placed]) -> set[str]:
    ids = [each.entry.partner_id for each in placed]
    return set(await session.scalars(select(Partner.id).where(Partner.id.in_(ids))))


async def _create(session: AsyncSession, entry: PartnerEntry, engine_addresses: Collection[str]) -> Imported:
    kind = AdminActionKind.IMPORT_PARTNER
    new = NewPartner(partner_id=entry.partner_id, settlement_address=entry.settlement_address, **_columns(entry))
    await add_partner(session, new, engine_addresses=engine_addresses, action=kind)
    return Imported(entry.partner_id, created=True)


async def _change(session: AsyncSession, entry: PartnerEntry) -> Imported:
    columns, left = _columns(entry), []
    partner = await session.get_one(Partner, entry.partner_id)
    if partner.settlement_address != entry.settlement_address:
        left.append(
            f"settlementAddress is {partner.settlement_address} here and stays: a change to {entry.settlement_address} "
            "must be requested by one administrator and approved by another"
        )
    if entry.status is PartnerStatus.ACTIVE and partner.status is not PartnerStatus.ACTIVE:
        left.append(f"status is {partner.status} here and stays: an import reactivates nobody")
        del columns["status"]
    changed = await change_partner(session, entry.partner_id, columns, action=AdminActionKind.IMPORT_PARTNER)
    return Imported(entry.partner_id, before=changed.before, after=changed.after, left=left)


def _columns(entry: PartnerEntry) -> dict[str, Any]:
    given = entry.model_dump(exclude={"partner_id", "settlement_address"})
    return {_WORDS.get(name, name): value for name, value in given.items()}
