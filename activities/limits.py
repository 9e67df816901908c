"""Reserving a partner's limits for a borrow, and giving them back when nothing was borrowed."""

from sqlalchemy import or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities import limit_book
from activities.loan_rows import BorrowRows, lock_borrow
from activities.movements import promised_movements
from activities.operation_rows import accept, finish, lock_operation, stored_outcome, stored_refusal, write_event
from activities.snapshots import loan_snapshot
from chain import transactions
from chain.engine_chain import EngineChain
from models.errors import InvariantBroken, PartnerLoanIdInUse, PlanAlreadyActive, Refused, raise_first
from models.messages.borrow import BorrowDecision, BorrowRequest, BorrowTerms, ReserveLimit, accepted
from models.messages.common import Outcome, Pace, Refuse
from models.statuses import (
    RETRIABLE_LOAN_STATUSES,
    TERMINAL_LOAN_STATUSES,
    DecisionKind,
    EventType,
    LegName,
    LoanStatus,
)
from models.tables import book
from models.tables.loans import Loan, SolvencyPosition
from models.tables.operations import Operation
from models.tables.partners import Partner
from models.tables.session import Transaction


class LimitActivities:
    """``pace`` and ``residue_cap`` become part of the terms of each loan reserved here."""

    def __init__(self, transaction: Transaction, chain: EngineChain, pace: Pace, residue_cap: int) -> None:
        self._transaction = transaction
        self._chain_id = chain.chain_id
        self._vault_address = chain.vault_address
        self._pace = pace
        self._residue_cap = residue_cap

    @activity.defn
    async def reserve_limit(self, asked: ReserveLimit) -> BorrowDecision:
        """Decides for the borrow, in one transaction with the loan, the reservation, the terms and the promised movements.

        Raises TotalLimitExceeded, DailyLimitExceeded, PlanAlreadyActive or PartnerLoanIdInUse, and then has changed
        nothing. Where the operation was decided before, the stored decision is returned.
        """
        async with self._transaction() as session:
            operation = await lock_operation(session, asked.operation_id)
            if operation.decision is not None:
                return stored_decision(operation)
            request = BorrowRequest.model_validate(operation.request)
            limits = await limit_book.lock_limits_today(session, asked.authorization.partner_id)
            await self._see_position(session, asked, request)
            await self._check_no_other_loan(session, asked, request)
            session.add(limit_book.reserve(limits, operation.id, request.amount))
            terms = self._terms(operation, limits.partner, asked, request)
            session.add(self._loan(operation, terms, asked, request))
            accept(operation, terms.model_dump(mode="json"))
            await session.flush()
            await book.pend(session, promised_movements(operation.id, terms))
            return accepted(terms)

    @activity.defn
    async def release_limit(self, asked: Refuse) -> Outcome:
        """Ends a borrow that never happened: in one transaction the leg can no longer be sent and the limits are free."""
        async with self._transaction() as session:
            rows = await lock_borrow(session, asked.operation_id)
            if (outcome := stored_outcome(rows.operation)) is not None:
                return outcome
            await limit_book.release_reserved(session, rows.partner, rows.reservation)
            if not await transactions.abandon(session, asked.operation_id, LegName.BORROW, asked.refusal.detail):
                raise InvariantBroken(f"the borrow leg of {asked.operation_id} may still have its effect")
            for leg in (LegName.BORROW, LegName.SETTLE):
                await book.void(session, asked.operation_id, leg)
            return self._fail(session, rows, asked)

    def _fail(self, session: AsyncSession, rows: BorrowRows, asked: Refuse) -> Outcome:
        loan = rows.loan
        loan.status, loan.review_reason = LoanStatus.FAILED, None
        outcome = Outcome(status=LoanStatus.FAILED, loan_id=loan.id, problem=asked.refusal)
        finish(rows.operation, outcome)
        loan.closed_at = rows.operation.done_at
        write_event(session, rows.operation, EventType.LOAN_FAILED, loan_snapshot(loan, asked.refusal))
        return outcome

    async def _see_position(self, session: AsyncSession, asked: ReserveLimit, request: BorrowRequest) -> None:
        """Stores what the chain showed, and thereby locks the position's row."""
        seen = asked.standing
        fresh = {
            "oaid_token_id": request.oaid_token_id,
            "user_wallet": request.user_wallet,
            "collateral_token": seen.collateral_token,
            "collateral_amount": seen.collateral_amount,
            "collateral_value": seen.collateral_value,
            "credit_limit": seen.credit_limit,
            "seen_at_block": seen.block_number,
        }
        key = {"chain_id": self._chain_id, "vault_address": self._vault_address, "position_id": seen.position_id}
        row = insert(SolvencyPosition).values(**key, **fresh)
        await session.execute(row.on_conflict_do_update(index_elements=list(key), set_=fresh))

    async def _check_no_other_loan(self, session: AsyncSession, asked: ReserveLimit, request: BorrowRequest) -> None:
        """No race: the partner's row is locked for its names, the position's row for the position."""
        position = (self._chain_id, self._vault_address, asked.standing.position_id)
        partner_id = asked.authorization.partner_id
        raise_first(await other_loan_refusals(session, partner_id, request.partner_loan_id, position))

    def _terms(
        self, operation: Operation, partner: Partner, asked: ReserveLimit, request: BorrowRequest
    ) -> BorrowTerms:
        if operation.loan_id is None:
            raise InvariantBroken(f"operation {operation.id} was stored without a loan id")
        return BorrowTerms(
            loan_id=operation.loan_id,
            quote=asked.quote,
            fee_bps=asked.authorization.fee_bps,
            position_id=asked.standing.position_id,
            oaid_token_id=request.oaid_token_id,
            user_wallet=request.user_wallet,
            settlement_address=partner.settlement_address,
            vault_address=self._vault_address,
            loan_duration=request.loan_duration,
            number_of_installments=request.number_of_installments,
            residue_cap=self._residue_cap,
            pace=self._pace,
        )

    def _loan(self, operation: Operation, terms: BorrowTerms, asked: ReserveLimit, request: BorrowRequest) -> Loan:
        return Loan(
            id=terms.loan_id,
            operation_id=operation.id,
            partner_id=asked.authorization.partner_id,
            partner_loan_id=request.partner_loan_id,
            user_wallet=terms.user_wallet,
            oaid_token_id=terms.oaid_token_id,
            chain_id=self._chain_id,
            vault_address=self._vault_address,
            position_id=terms.position_id,
            status=LoanStatus.PENDING,
            principal=terms.quote.principal,
            fee=terms.quote.fee,
            payout=terms.quote.payout,
            settlement_address=terms.settlement_address,
            loan_duration=terms.loan_duration,
            number_of_installments=terms.number_of_installments,
            grant_id=asked.authorization.grant_id,
            metadata_=(operation.request or {}).get("metadata") or {},
        )


async def other_loan_refusals(
    session: AsyncSession, partner_id: str, partner_loan_id: str, position: tuple[int, str, int]
) -> list[Refused]:
    """Loans in the way: one of this name, and one on this position (chain, vault, id), whichever partner's it is."""
    chain_id, vault_address, position_id = position
    query = select(Loan).where(
        or_(
            (Loan.partner_id == partner_id)
            & (Loan.partner_loan_id == partner_loan_id)
            & Loan.status.not_in(RETRIABLE_LOAN_STATUSES),
            (Loan.chain_id == chain_id)
            & (Loan.vault_address == vault_address)
            & (Loan.position_id == position_id)
            & Loan.status.not_in(TERMINAL_LOAN_STATUSES),
        )
    )
    of_this_name: list[Loan] = []
    others: list[Loan] = []
    for loan in await session.scalars(query):
        named = loan.partner_id == partner_id and loan.partner_loan_id == partner_loan_id
        (of_this_name if named else others).append(loan)
    return [
        *(PartnerLoanIdInUse(partner_loan_id, loan.id, loan.status) for loan in of_this_name),
        *(PlanAlreadyActive(position_id) for _ in others),
    ]


def stored_decision(operation: Operation) -> BorrowDecision:
    """The decision that an earlier run or a concurrent one has stored; the operation keeps to it for ever."""
    if operation.decision is DecisionKind.ACCEPTED:
        return accepted(BorrowTerms.model_validate(operation.terms))
    return BorrowDecision(kind=DecisionKind.REFUSED, refusal=stored_refusal(operation))
