"""Legs by the thousand: funded operations of one partner, each with a payment that no other leg pays."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from chain import transactions
from chain.lane_config import LaneConfig
from chain.legs import PlannedLeg, plan_leg
from models import accounts
from models.messages.legs import TransferCall
from models.statuses import LedgerKind, LegName, OperationKind, OperationState
from models.tables import book
from models.tables.book import Entry
from models.tables.operations import Operation
from tests.chain.lane.desk import GAS, SETTLEMENT


async def queue_payment(session: AsyncSession, config: LaneConfig, partner_id: str, amount: int) -> str:
    """A funded operation with a QUEUED payment of this amount, in base units, by which the payment is known; its id."""
    operation_id = await fund_operation(session, partner_id, amount)
    await transactions.insert_queued(session, planned_payment(config, operation_id, amount), GAS)
    return operation_id


async def fund_operation(
    session: AsyncSession, partner_id: str, amount: int, terms: dict[str, Any] | None = None
) -> str:
    """An open operation of the partner that has so much in flight."""
    operation_id = f"borrow:{partner_id}:{amount}"
    operation = Operation(
        id=operation_id,
        kind=OperationKind.BORROW,
        partner_id=partner_id,
        idempotency_key=str(amount),
        fingerprint="print",
        state=OperationState.OPEN,
        terms=terms,
    )
    session.add(operation)
    await session.flush()
    inflow = Entry(
        kind=LedgerKind.BORROW,
        debit=accounts.PLATFORM_WALLET,
        credit=accounts.IN_FLIGHT,
        amount=amount,
        operation_id=operation_id,
    )
    await book.record(session, inflow)
    return operation_id


def planned_payment(config: LaneConfig, operation_id: str, amount: int) -> PlannedLeg:
    return plan_leg(
        TransferCall(recipient=SETTLEMENT, amount=amount),
        operation_id=operation_id,
        leg=LegName.SETTLE,
        generation=1,
        wallet=config.wallet,
        usdc=config.usdc,
        vault=config.vault,
        charges_account=accounts.IN_FLIGHT,
        chain_id=config.chain_id,
    )
