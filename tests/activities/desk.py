"""Borrows as the workflow's steps carry them out, without a workflow: activities called directly, on real PostgreSQL."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from activities.limits import LimitActivities
from activities.loans import LoanActivities
from activities.repayments import RepaymentActivities
from chain.client import ChainClient
from chain.contracts.vault_events import LOAN_REPAID_EVENT
from chain.engine_chain import EngineChain
from chain.finality import Finality
from models.errors import LegReverted
from models.messages.borrow import Authorization, BorrowDecision, BorrowRequest, CreditLineStanding, ReserveLimit
from models.messages.common import Debt, OperationInput, Outcome, Pace, Refuse
from models.messages.repay import ApplyRepayment
from models.money import quote
from models.statuses import DecisionKind, LegName, OperationKind, RepaymentState, TransactionState
from models.tables.loans import Loan
from models.tables.operations import Operation
from models.tables.partners import Partner, PartnerDay
from models.tables.session import Transaction
from tests import factories as make

PACE = Pace(leg_patience=1, settle_retry=1, settle_blocked=1, settle_deadline=1, proof_wait=1)
RESIDUE_CAP = 10 * make.USD
DECIDED = {"decision": DecisionKind.ACCEPTED, "decided_at": datetime(2026, 1, 1, tzinfo=UTC)}
NEVER_ASKED = "http://127.0.0.1:9"


@dataclass(frozen=True)
class Usage:
    """What a partner has taken of its limits, in base units; ``borrowed`` and ``reserved_today`` are today's."""

    outstanding: int = 0
    reserved: int = 0
    borrowed: int = 0
    reserved_today: int = 0


@dataclass
class Desk:
    """One partner's borrows. The chain is known by its addresses, and never asked."""

    transaction: Transaction
    partner: Partner
    grant_id: str
    limits: LimitActivities = field(init=False)
    loans: LoanActivities = field(init=False)
    repayments: RepaymentActivities = field(init=False)

    def __post_init__(self) -> None:
        chain = chain_that_is_never_asked()
        self.limits = LimitActivities(self.transaction, chain, PACE, RESIDUE_CAP)
        self.repayments = RepaymentActivities(self.transaction, chain, PACE, RESIDUE_CAP)
        self.loans = LoanActivities(self.transaction)

    async def asks_for(self, amounts: Sequence[int]) -> list[ReserveLimit]:
        """Operations that wait for their decisions, and what their workflows would ask; each on a position of its own."""
        async with self.transaction() as session:
            return [await self._waiting(session, amount, make.unique_number()) for amount in amounts]

    async def asks(self, amount: int = make.PRINCIPAL, position_id: int | None = None) -> ReserveLimit:
        position = make.unique_number() if position_id is None else position_id
        async with self.transaction() as session:
            return await self._waiting(session, amount, position)

    async def _waiting(self, session: AsyncSession, amount: int, position_id: int) -> ReserveLimit:
        request = BorrowRequest(
            partner_loan_id=make.unique("L"),
            oaid_token_id=1,
            user_wallet=make.USER,
            amount=amount,
            loan_duration=90 * 24 * 60 * 60,
            number_of_installments=3,
        )
        stored = request.model_dump(mode="json")
        operation = await make.new_operation(session, self.partner, request=stored, loan_id=make.unique("loan"))
        return self._ask(operation, amount, position_id)

    def _ask(self, operation: Operation, amount: int, position_id: int) -> ReserveLimit:
        authorization = Authorization(
            partner_id=self.partner.id,
            fee_bps=50,
            grant_id=self.grant_id,
            by_administrator=False,
            position_id=position_id,
        )
        standing = CreditLineStanding(
            position_id=position_id,
            block_number=1,
            collateral_token=make.OAID,
            collateral_amount=1,
            collateral_value=1,
            credit_limit=1,
        )
        return ReserveLimit(
            operation_id=operation.id, quote=quote(amount, 50), authorization=authorization, standing=standing
        )

    async def reserves(self, amount: int = make.PRINCIPAL) -> BorrowDecision:
        return await self.limits.reserve_limit(await self.asks(amount))

    async def reserved(self, amount: int = make.PRINCIPAL) -> str:
        """An accepted borrow; returns its operation."""
        asked = await self.asks(amount)
        assert (await self.limits.reserve_limit(asked)).terms is not None
        return asked.operation_id

    async def drawn(self, amount: int = make.PRINCIPAL) -> str:
        """A borrow that is on chain and recorded; returns its operation."""
        operation_id = await self.reserved(amount)
        await self.leg(operation_id, LegName.BORROW, amount=amount)
        await self.loans.record_borrow(OperationInput(operation_id=operation_id))
        return operation_id

    async def active(self, amount: int = make.PRINCIPAL) -> Loan:
        operation_id = await self.drawn(amount)
        await self.leg(operation_id, LegName.SETTLE, amount=quote(amount, 50).payout)
        outcome = await self.loans.activate_loan(OperationInput(operation_id=operation_id))
        async with self.transaction() as session:
            return await session.get_one(Loan, outcome.loan_id)

    async def leg(self, operation_id: str, leg: str, amount: int, **changes: object) -> None:
        """A leg that is final on chain."""
        async with self.transaction() as session:
            await make.known_signer(session)
            operation = await session.get_one(Operation, operation_id)
            await make.new_leg(session, operation, leg, TransactionState.FINAL_OK, amount=amount, **changes)

    async def repays(self, loan: Loan, principal: int, interest: int = 0, kept: int = 0) -> None:
        """A repayment that was collected and repaid on chain, and is applied; what is left is owed on chain.

        ``kept`` was collected as well, and neither repaid nor refunded, which must not be.
        """
        amount, left = principal + interest, loan.outstanding - principal
        async with self.transaction() as session:
            operation = await make.new_operation(
                session, self.partner, kind=OperationKind.REPAY, loan_id=loan.id, terms={}, **DECIDED
            )
            await make.new_repayment(session, operation, loan, state=RepaymentState.REPAYING, collected=amount + kept)
        repaid = make.log(
            make.VAULT, [LOAN_REPAID_EVENT.topic0, f"0x{loan.position_id:064x}"], [amount, principal, interest, left]
        )
        await self.leg(operation.id, LegName.COLLECT, amount + kept)
        await self.leg(operation.id, LegName.REPAY, amount, logs=[repaid], expected_logs=[make.expected(repaid)])
        debt = Debt(outstanding=left, principal=left, block_number=1)
        await self.repayments.apply_repayment(ApplyRepayment(operation_id=operation.id, debt=debt))

    async def releases(self, operation_id: str) -> Outcome:
        refusal = LegReverted(LegName.BORROW, "the test says so").payload()
        return await self.limits.release_limit(Refuse(operation_id=operation_id, refusal=refusal))

    async def usage(self) -> Usage:
        async with self.transaction() as session:
            partner = await session.get_one(Partner, self.partner.id)
            day = await session.get(PartnerDay, (self.partner.id, datetime.now(UTC).date()))
            of_day = (day.borrowed, day.reserved) if day is not None else (0, 0)
            return Usage(partner.outstanding, partner.reserved, *of_day)


async def open_desk(transaction: Transaction, **limits: int) -> Desk:
    """A new partner with these limits, and a grant."""
    async with transaction() as session:
        partner = await make.new_partner(session, **limits)
        grant = await make.new_grant(session, partner)
    return Desk(transaction, partner, grant.id)


def chain_that_is_never_asked() -> EngineChain:
    return EngineChain(
        client=ChainClient(NEVER_ASKED),
        chain_id=make.CHAIN_ID,
        usdc_address=make.OAID,
        oaid_address=make.OAID,
        vault_address=make.VAULT,
        pool_address=make.OAID,
        wallet=make.WALLET,
        probe_address=make.OAID,
        debt_ceiling=10**15,
        finality=Finality(),
        has_operator_path=True,
    )
