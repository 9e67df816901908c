"""Settlement addresses: each belongs to one partner for ever, or is kept for one while a change waits (ADR 0021).

An address can be taken in two tables: registered in ``settlement_addresses``, or named by an open row of
``settlement_changes``. Whoever takes one first takes its lock, so that no two look at the same time and both find it free.
"""

from collections.abc import Collection

from eth_utils.address import is_checksum_address, is_hex_address
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chain.codec import checksum
from models.errors import SettlementAddressInvalid, SettlementAddressTaken, TermsInvalid
from models.statuses import SettlementChangeState
from models.tables.administration import SettlementChange
from models.tables.partners import SettlementAddress

OPEN_CHANGES = (SettlementChangeState.APPROVED, SettlementChangeState.REQUESTED)


def payable(address: str, engine_addresses: Collection[str]) -> str:
    """Its checksummed form. A payout to the engine's own addresses, or to nobody, would be a movement that never left.

    Raises TermsInvalid where it is no address, and SettlementAddressInvalid.
    """
    digits = address.removeprefix("0x")
    if not is_hex_address(address) or not address.startswith("0x"):
        raise TermsInvalid(f"'{address}' is no address: it is 0x and 40 hex digits.")
    if digits not in (digits.lower(), digits.upper()) and not is_checksum_address(address):
        raise TermsInvalid(f"'{address}' was mistyped: its EIP-55 checksum does not hold.")
    form = checksum(address.lower())
    if int(form, 16) == 0 or form in engine_addresses:
        raise SettlementAddressInvalid(form)
    return form


async def register(session: AsyncSession, partner_id: str, address: str) -> None:
    """From now on the address is the partner's. Nothing happens where it is already. Raises SettlementAddressTaken."""
    await demand_free(session, partner_id, address)
    await session.execute(
        insert(SettlementAddress).values(address=address, partner_id=partner_id).on_conflict_do_nothing()
    )


async def demand_free(session: AsyncSession, partner_id: str, address: str) -> None:
    """Locks the address until the transaction ends. Raises SettlementAddressTaken where it is another partner's, or is to be."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"settlement:{address}", 0))))
    waiting = select(SettlementChange.partner_id).where(
        SettlementChange.address == address, SettlementChange.state.in_(OPEN_CHANGES)
    )
    registered = select(SettlementAddress.partner_id).where(SettlementAddress.address == address)
    for asked in (waiting, registered):  # in this order: a change that is applied in between is seen as registered
        holder = await session.scalar(asked)
        if holder is not None and holder != partner_id:
            raise SettlementAddressTaken(address, holder)
