"""Which transfer a repayment by proof may claim (money.md section 6)."""

from collections.abc import Collection

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from activities.repayment_rows import RepaymentRows
from models import accounts
from models.errors import (
    TransferAlreadyClaimed,
    TransferAmbiguous,
    TransferAmountMismatch,
    TransferBeingRefunded,
    TransferNotFound,
    TransferNotOurs,
    TransferSenderUnknown,
)
from models.messages.repay import RepayTerms
from models.statuses import InboundState, LedgerKind, RepaymentState
from models.tables import book
from models.tables.partners import SettlementAddress
from models.tables.transactions import InboundTransfer


async def claimable_transfer(session: AsyncSession, rows: RepaymentRows, terms: RepayTerms) -> InboundTransfer:
    """The one transfer that the terms name, locked. Raises Transfer… where there is none, and says which rule it breaks."""
    tx_hash = terms.transfer_tx_hash or ""
    found = await _named(session, rows.loan.chain_id, tx_hash, terms.transfer_log_index)
    free = [transfer for transfer in found if transfer.state is InboundState.UNCLAIMED]
    if not free:
        raise why_none_is_free([transfer.state for transfer in found], tx_hash)
    owned = [transfer for transfer in free if await _belongs(session, rows, transfer.sender)]
    if not owned:
        raise TransferSenderUnknown(free[0].sender)
    matching = [transfer for transfer in owned if terms.payoff or transfer.amount == terms.amount]
    if not matching:
        raise TransferAmountMismatch(owned[0].amount, terms.amount or 0)
    if len(matching) > 1:
        raise TransferAmbiguous([transfer.log_index for transfer in matching])
    return matching[0]


async def block_of_transfer(session: AsyncSession, chain_id: int, tx_hash: str) -> int | None:
    query = select(InboundTransfer.block_number).where(
        InboundTransfer.chain_id == chain_id, InboundTransfer.tx_hash == tx_hash
    )
    return (await session.scalars(query.limit(1))).one_or_none()


async def _named(session: AsyncSession, chain_id: int, tx_hash: str, log_index: int | None) -> list[InboundTransfer]:
    query = (
        select(InboundTransfer)
        .where(InboundTransfer.chain_id == chain_id, InboundTransfer.tx_hash == tx_hash)
        .order_by(InboundTransfer.log_index)
        .with_for_update(key_share=True)
    )
    if log_index is not None:
        query = query.where(InboundTransfer.log_index == log_index)
    return list(await session.scalars(query))


def why_none_is_free(
    states: Collection[InboundState], tx_hash: str
) -> TransferNotFound | TransferNotOurs | TransferBeingRefunded | TransferAlreadyClaimed:
    """Why none of a transaction's transfers, which are in these states, can be claimed now."""
    if not states:
        return TransferNotFound(tx_hash)
    if set(states) == {InboundState.TREASURY}:
        return TransferNotOurs(tx_hash)
    return (TransferBeingRefunded if InboundState.REFUNDING in states else TransferAlreadyClaimed)(tx_hash)


async def _belongs(session: AsyncSession, rows: RepaymentRows, sender: str) -> bool:
    """The loan's own user, or an address registered to this partner alone."""
    if sender == rows.loan.user_wallet:
        return True
    query = select(exists().where(SettlementAddress.address == sender, SettlementAddress.partner_id == rows.partner.id))
    return bool(await session.scalar(query))


async def claim(session: AsyncSession, rows: RepaymentRows, transfer: InboundTransfer) -> None:
    """The transfer becomes a liability to the partner, and its repayment the one in flight for the loan."""
    transfer.state, transfer.claimed_by = InboundState.CLAIMED, rows.operation.id
    claim = book.Entry(
        kind=LedgerKind.CLAIM,
        debit=accounts.UNCLAIMED_INBOUND,
        credit=accounts.liability(rows.partner.id),
        amount=transfer.amount,
        counterparty=transfer.sender,
        operation_id=rows.operation.id,
        inbound_id=transfer.id,
    )
    await book.record(session, claim)
    rows.repayment.holds_loan = True
    rows.repayment.payer = transfer.sender
    rows.repayment.collected = transfer.amount
    rows.repayment.state, rows.repayment.review_reason = RepaymentState.REPAYING, None
