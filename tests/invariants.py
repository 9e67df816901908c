"""The invariants of money.md section 8, checked on PostgreSQL and the chain after an engine has come to rest."""

from collections import Counter

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from chain.contracts.usdc import TRANSFER_EVENT
from chain.engine_chain import EngineChain
from chain.types import Log
from models import accounts
from models.statuses import (
    TERMINAL_EVENTS,
    LedgerPhase,
    LoanStatus,
    OperationKind,
    OperationState,
    RepaymentState,
    ReservationState,
    TransactionState,
)
from models.tables import book
from models.tables.ledger import LedgerBalance, LedgerTransfer
from models.tables.loans import Loan, Repayment, Reservation, SolvencyPosition
from models.tables.operations import Event, Operation
from models.tables.partners import Partner, PartnerDay
from models.tables.session import Transaction
from models.tables.transactions import ChainAttempt, ChainSigner, ChainTransaction, InboundTransfer


async def breaches(transaction: Transaction, chain: EngineChain) -> list[str]:
    """What is wrong, each in a sentence; nothing is what a test wants."""
    async with transaction() as session:
        return [
            *await _pending_of_done(session),
            *await _left_by_done(session),
            *await _claims(session),
            *await _cached_balances(session),
            *await _cash(session, chain),
            *await _limits(session),
            *await _transfers(session, chain),
            *await _principals(session, chain),
            *await _nonces(session),
            *await _terminal_events(session),
        ]


async def _pending_of_done(session: AsyncSession) -> list[str]:
    resolution = aliased(LedgerTransfer)
    query = (
        select(LedgerTransfer.operation_id, LedgerTransfer.leg)
        .join(Operation, Operation.id == LedgerTransfer.operation_id)
        .outerjoin(resolution, resolution.pending_id == LedgerTransfer.id)
        .where(
            LedgerTransfer.phase == LedgerPhase.PENDING,
            resolution.id.is_(None),
            Operation.state == OperationState.DONE,
        )
    )
    return [
        f"{operation} is done, but {leg} is pending in the ledger" for operation, leg in await session.execute(query)
    ]


async def _left_by_done(session: AsyncSession) -> list[str]:
    """An operation that is done leaves nothing in flight, owes its partner nothing, and holds no loan."""
    found = []
    done = select(Operation).where(Operation.state == OperationState.DONE, Operation.kind != OperationKind.SYSTEM)
    for operation in await session.scalars(done):
        for account in (accounts.IN_FLIGHT, accounts.liability(operation.partner_id or "")):
            left = await book.balance(session, account, operation.id)
            if left != 0:
                found.append(f"{operation.id} is done and has {left} left on {account}")
    held = select(Repayment.id).join(Operation, Operation.id == Repayment.operation_id)
    still = held.where(Operation.state == OperationState.DONE, Repayment.holds_loan)
    return found + [f"{repayment} is done and holds its loan" for repayment in await session.scalars(still)]


async def _claims(session: AsyncSession) -> list[str]:
    """A transfer is claimed by a repayment that used it or gave it back, or that is still at it."""
    wrong = (
        select(InboundTransfer.tx_hash)
        .join(Repayment, Repayment.operation_id == InboundTransfer.claimed_by)
        .where(Repayment.state.in_([RepaymentState.REJECTED, RepaymentState.FAILED]))
    )
    return [f"{tx_hash} was claimed by a repayment that came to nothing" for tx_hash in await session.scalars(wrong)]


async def _cached_balances(session: AsyncSession) -> list[str]:
    found = []
    for cached in await session.scalars(select(LedgerBalance)):
        derived = await book.balance(session, cached.account)
        if derived != cached.posted:
            found.append(f"the cached balance of {cached.account} is {cached.posted}, derived {derived}")
    return found


async def _cash(session: AsyncSession, chain: EngineChain) -> list[str]:
    ledger = -await book.balance(session, accounts.PLATFORM_WALLET)
    (wallet,) = await chain.client.read(chain.usdc.balance_of(chain.wallet), block="latest")
    return (
        [] if ledger == wallet else [f"the ledger says {ledger} base units of cash, the platform wallet holds {wallet}"]
    )


async def _limits(session: AsyncSession) -> list[str]:
    found = []
    for partner in await session.scalars(select(Partner)):
        owed = await session.scalar(
            select(func.coalesce(func.sum(Loan.outstanding), 0)).where(Loan.partner_id == partner.id)
        )
        reserved = await _reserved(session, partner.id)
        if (partner.outstanding, partner.reserved) != (owed, reserved):
            found.append(
                f"{partner.id} has outstanding {partner.outstanding} and reserved {partner.reserved}; "
                f"its rows say {owed} and {reserved}"
            )
    days = await session.execute(
        select(PartnerDay.partner_id, func.sum(PartnerDay.reserved)).group_by(PartnerDay.partner_id)
    )
    for partner_id, reserved_days in days:
        if reserved_days != await _reserved(session, partner_id):
            found.append(f"the days of {partner_id} hold {reserved_days} reserved")
    over = select(Reservation).where(
        (Reservation.total_used_before + Reservation.amount > Reservation.total_limit)
        | (Reservation.daily_used_before + Reservation.amount > Reservation.daily_limit)
    )
    return found + [f"{row.operation_id} was reserved above a limit" for row in await session.scalars(over)]


async def _reserved(session: AsyncSession, partner_id: str) -> int:
    query = select(func.coalesce(func.sum(Reservation.amount), 0)).where(
        Reservation.partner_id == partner_id, Reservation.state == ReservationState.RESERVED
    )
    return int(await session.scalar(query) or 0)


async def _transfers(session: AsyncSession, chain: EngineChain) -> list[str]:
    """Each USDC movement of the wallet belongs to one FINAL_OK leg or one inbound transfer."""
    attempts = select(
        ChainAttempt.hash, ChainTransaction.operation_id, ChainTransaction.leg, ChainTransaction.state
    ).join(ChainTransaction, ChainTransaction.id == ChainAttempt.transaction_id)
    legs = {row.hash: row for row in await session.execute(attempts)}
    inbound = {(row.tx_hash, row.log_index) for row in await session.scalars(select(InboundTransfer))}
    moved: Counter[tuple[str, str]] = Counter()
    found = []
    for log in await _wallet_logs(chain):
        leg = legs.get(log.tx_hash)
        if leg is not None and leg.state is TransactionState.FINAL_OK:
            moved[leg.operation_id, leg.leg] += 1
        elif (log.tx_hash, log.log_index) not in inbound:
            found.append(f"the transfer {log.tx_hash}/{log.log_index} belongs to nothing")
    return found + [f"{key} moved USDC {count} times" for key, count in moved.items() if count > 1]


async def _wallet_logs(chain: EngineChain) -> list[Log]:
    wallet = "0x" + "00" * 12 + chain.wallet[2:].lower()
    out = await chain.client.logs(chain.usdc_address, [TRANSFER_EVENT.topic0, wallet], 0, "latest")
    into = await chain.client.logs(chain.usdc_address, [TRANSFER_EVENT.topic0, None, wallet], 0, "latest")
    return [*out, *into]


async def _principals(session: AsyncSession, chain: EngineChain) -> list[str]:
    found = []
    for position in await session.scalars(select(SolvencyPosition)):
        (pool_loan,) = await chain.client.read(chain.pool.loans(position.position_id), block="latest")
        query = select(func.coalesce(func.sum(Loan.outstanding), 0)).where(
            Loan.position_id == position.position_id, Loan.status != LoanStatus.FAILED
        )
        owed = await session.scalar(query)
        if not pool_loan.principal == owed == position.total_partner_debt:
            found.append(
                f"position {position.position_id} owes {pool_loan.principal} on chain, its loans {owed}, "
                f"its row {position.total_partner_debt}"
            )
    return found


async def _nonces(session: AsyncSession) -> list[str]:
    found = []
    for signer in await session.scalars(select(ChainSigner)):
        query = select(ChainTransaction.nonce).where(ChainTransaction.signer == signer.address)
        used = sorted(nonce for nonce in await session.scalars(query) if nonce is not None)
        if used != list(range(signer.first_nonce, signer.next_nonce)):
            found.append(f"the nonces of {signer.address} are not contiguous: {used}")
    return found


async def _terminal_events(session: AsyncSession) -> list[str]:
    events = Counter(
        event.operation_id for event in await session.scalars(select(Event).where(Event.type.in_(TERMINAL_EVENTS)))
    )
    done = select(Operation.id).where(Operation.state == OperationState.DONE, Operation.kind != OperationKind.SYSTEM)
    return [
        f"{operation} has {events[operation]} terminal events"
        for operation in await session.scalars(done)
        if events[operation] != 1
    ]
