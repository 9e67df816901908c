"""Rows, briefly: each function adds one row with everything that it needs, and takes as keywords what a test is about.

Every function works inside the caller's transaction and flushes, so that a constraint speaks where the row is made. The rows
are those of a borrow of 1,000 USDC with a fee of 5 by a new partner, on a position of its own.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from chain.codec import checksum
from models import accounts
from models.statuses import (
    GrantEvidence,
    InboundState,
    LedgerKind,
    LedgerPhase,
    LoanStatus,
    OperationKind,
    OperationState,
    PartnerStatus,
    PartnerTier,
    RepaymentMode,
    RepaymentState,
    ReservationState,
    TransactionState,
)
from models.tables.base import JsonObject
from models.tables.ledger import LedgerTransfer
from models.tables.loans import Loan, Repayment, Reservation, SolvencyPosition
from models.tables.operations import Event, Operation
from models.tables.partners import CreditLineGrant, Partner, PartnerDay, SettlementAddress
from models.tables.transactions import ChainSigner, ChainTransaction, InboundTransfer
from models.tables.webhooks import WebhookEndpoint

USD = 10**6
CHAIN_ID = 31337
VAULT = checksum(f"0x{'a1' * 20}")
OAID = checksum(f"0x{'a2' * 20}")
WALLET = checksum(f"0x{'a3' * 20}")
USER = checksum(f"0x{'a4' * 20}")
PRINCIPAL, FEE, PAYOUT = 1_000 * USD, 5 * USD, 995 * USD

Row = TypeVar("Row")

_HAS_NO_NONCE = (TransactionState.QUEUED, TransactionState.REFUSED, TransactionState.ABANDONED)


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid4().hex}"


def unique_number() -> int:
    return uuid4().int >> 80


def unique_address() -> str:
    return checksum(f"0x{uuid4().hex:0>40}")


def unique_hash() -> str:
    return f"0x{uuid4().hex}{uuid4().hex}"


async def new_partner(session: AsyncSession, **changes: Any) -> Partner:
    """An ACTIVE partner with a settlement address of its own, and limits that stand in nobody's way."""
    partner_id = changes.pop("id", unique("partner"))
    address = changes.pop("settlement_address", None)
    if address is None:
        address = await new_settlement_address(session, partner_id)
    terms = {
        "name": partner_id,
        "status": PartnerStatus.ACTIVE,
        "tier": PartnerTier.BASIC,
        "fee_bps": 50,
        "daily_borrow_limit": 10**15,
        "total_borrow_limit": 10**15,
    }
    return await _added(session, Partner(id=partner_id, settlement_address=address, **terms | changes))


async def new_settlement_address(session: AsyncSession, partner_id: str, address: str | None = None) -> str:
    row = SettlementAddress(address=address or unique_address(), partner_id=partner_id)
    return (await _added(session, row)).address


async def new_operation(session: AsyncSession, partner: Partner | None = None, **changes: Any) -> Operation:
    """An OPEN borrow, not yet decided."""
    if partner is None:
        partner = await new_partner(session)
    fields = {
        "id": unique("borrow"),
        "kind": OperationKind.BORROW,
        "partner_id": partner.id,
        "idempotency_key": unique("key"),
        "fingerprint": "print",
        "state": OperationState.OPEN,
    }
    return await _added(session, Operation(**fields | changes))


async def new_system_operation(session: AsyncSession) -> Operation:
    """The lane's own house-keeping, such as an allowance."""
    name = unique("system")
    row = Operation(id=name, kind=OperationKind.SYSTEM, idempotency_key=name, state=OperationState.OPEN)
    return await _added(session, row)


async def new_event(session: AsyncSession, operation: Operation, kind: str, **changes: Any) -> Event:
    fields = {"id": unique("evt"), "partner_id": operation.partner_id, "operation_id": operation.id}
    return await _added(session, Event(**{**fields, "type": kind, "payload": {}} | changes))


async def new_endpoint(session: AsyncSession, partner: Partner, **changes: Any) -> WebhookEndpoint:
    """ENABLED for everything, with a secret that nobody can read."""
    fields = {"id": unique("we"), "partner_id": partner.id, "url": "https://first.example.com/", "secret": b"sealed"}
    return await _added(session, WebhookEndpoint(**fields | changes))


async def new_grant(session: AsyncSession, partner: Partner, **changes: Any) -> CreditLineGrant:
    fields = {
        "id": unique("grant"),
        "partner_id": partner.id,
        "chain_id": CHAIN_ID,
        "oaid_address": OAID,
        "oaid_token_id": 1,
        "position_id": 1,
        "user_wallet": USER,
        "max_amount": PRINCIPAL,
        "expires_at": datetime.now(UTC) + timedelta(days=1),
        "nonce": unique_number(),
        "evidence_kind": GrantEvidence.USER_SIGNATURE,
        "evidence": {},
    }
    return await _added(session, CreditLineGrant(**fields | changes))


async def seen_position(session: AsyncSession, position_id: int) -> SolvencyPosition:
    """The position's row, which is made when it is seen first."""
    key = (CHAIN_ID, VAULT, position_id)
    known = await session.get(SolvencyPosition, key)
    if known is not None:
        return known
    row = SolvencyPosition(
        chain_id=CHAIN_ID,
        vault_address=VAULT,
        position_id=position_id,
        oaid_token_id=1,
        user_wallet=USER,
        collateral_token=OAID,
        collateral_amount=1,
        collateral_value=1,
        credit_limit=10**15,
        seen_at_block=1,
    )
    return await _added(session, row)


async def new_loan(session: AsyncSession, operation: Operation | None = None, **changes: Any) -> Loan:
    """A PENDING loan, on a position of its own where none is named."""
    if operation is None:
        operation = await new_operation(session)
    partner = await session.get_one(Partner, operation.partner_id)
    position_id = changes.setdefault("position_id", unique_number())
    await seen_position(session, position_id)
    grant = await new_grant(session, partner, position_id=position_id)
    fields = {
        "id": unique("loan"),
        "operation_id": operation.id,
        "partner_id": partner.id,
        "partner_loan_id": unique("L"),
        "user_wallet": USER,
        "oaid_token_id": 1,
        "chain_id": CHAIN_ID,
        "vault_address": VAULT,
        "status": LoanStatus.PENDING,
        "principal": PRINCIPAL,
        "fee": FEE,
        "payout": PAYOUT,
        "settlement_address": partner.settlement_address,
        "loan_duration": 90 * 24 * 60 * 60,
        "number_of_installments": 3,
        "grant_id": grant.id,
    }
    return await _added(session, Loan(**fields | changes))


async def new_reservation(session: AsyncSession, operation: Operation, **changes: Any) -> Reservation:
    fields = {
        "operation_id": operation.id,
        "partner_id": operation.partner_id,
        "day": date(2026, 1, 1),
        "amount": PRINCIPAL,
        "state": ReservationState.RESERVED,
        "total_limit": PRINCIPAL,
        "daily_limit": PRINCIPAL,
        "total_used_before": 0,
        "daily_used_before": 0,
    }
    return await _added(session, Reservation(**fields | changes))


async def new_day(session: AsyncSession, partner: Partner, **changes: Any) -> PartnerDay:
    return await _added(session, PartnerDay(**{"partner_id": partner.id, "day": date(2026, 1, 1)} | changes))


async def new_repayment(session: AsyncSession, operation: Operation, loan: Loan, **changes: Any) -> Repayment:
    """A repayment of 100 USDC by pull that holds its loan."""
    fields = {
        "id": unique("rep"),
        "operation_id": operation.id,
        "loan_id": loan.id,
        "partner_id": loan.partner_id,
        "mode": RepaymentMode.PULL,
        "payoff": False,
        "requested": 100 * USD,
        "state": RepaymentState.COLLECTING,
        "holds_loan": True,
        "payer": loan.settlement_address,
    }
    return await _added(session, Repayment(**fields | changes))


async def known_signer(session: AsyncSession, address: str = WALLET) -> ChainSigner:
    """The signer's row, which is made when it is asked for first."""
    known = await session.get(ChainSigner, (CHAIN_ID, address))
    if known is not None:
        return known
    return await _added(session, ChainSigner(chain_id=CHAIN_ID, address=address, first_nonce=0, next_nonce=0))


async def new_leg(
    session: AsyncSession, operation: Operation, leg: str, state: TransactionState, **changes: Any
) -> ChainTransaction:
    """A leg in any state, with the nonce and the evidence that its state asks for. Its signer must be known."""
    fields: dict[str, Any] = {
        "operation_id": operation.id,
        "leg": leg,
        "generation": 1,
        "chain_id": CHAIN_ID,
        "signer": WALLET,
        "state": state,
        "call": {},
        "amount": PRINCIPAL,
        "nonce": None if state in _HAS_NO_NONCE else unique_number() >> 1,
        "held_reason": "a person must see" if state is TransactionState.HELD else None,
    }
    if state.startswith("FINAL") or state is TransactionState.MINED:
        fields |= {"result_tx_hash": unique_hash(), "result_block": 1, "result_block_hash": unique_hash(), "logs": []}
    return await _added(session, ChainTransaction(**fields | changes))


async def new_inbound(session: AsyncSession, **changes: Any) -> InboundTransfer:
    fields = {
        "chain_id": CHAIN_ID,
        "tx_hash": unique_hash(),
        "log_index": 0,
        "sender": USER,
        "amount": 100 * USD,
        "block_number": 1,
        "block_hash": unique_hash(),
        "state": InboundState.UNCLAIMED,
    }
    return await _added(session, InboundTransfer(**fields | changes))


async def new_transfer(session: AsyncSession, **changes: Any) -> LedgerTransfer:
    """A PENDING row of the ledger that belongs to no operation."""
    fields = {
        "phase": LedgerPhase.PENDING,
        "kind": LedgerKind.BORROW,
        "debit_account": accounts.PLATFORM_WALLET,
        "credit_account": accounts.IN_FLIGHT,
        "amount": PRINCIPAL,
    }
    return await _added(session, LedgerTransfer(**fields | changes))


async def resolve(session: AsyncSession, pending: LedgerTransfer, phase: LedgerPhase) -> LedgerTransfer:
    return await new_transfer(session, phase=phase, pending_id=pending.id)


async def ledger_rows(session: AsyncSession, operation_id: str) -> Sequence[LedgerTransfer]:
    query = select(LedgerTransfer).where(LedgerTransfer.operation_id == operation_id).order_by(LedgerTransfer.id)
    return (await session.scalars(query)).all()


def log(address: str, topics: Sequence[str], words: Sequence[int]) -> JsonObject:
    """A log as it is stored with a leg."""
    data = "".join(f"{word:064x}" for word in words)
    return {"address": address, "topics": list(topics), "data": f"0x{data}", "log_index": 0}


def expected(stored: JsonObject) -> JsonObject:
    """This very log, as a leg expects it."""
    digits = stored["data"].removeprefix("0x")
    words = [f"0x{digits[place : place + 64]}" for place in range(0, len(digits), 64)]
    return {"address": stored["address"], "topics": stored["topics"], "data": words}


async def _added(session: AsyncSession, row: Row) -> Row:
    session.add(row)
    await session.flush()
    return row
