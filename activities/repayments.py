"""A repayment's rows as it goes its way: opened, accepted or refused, collected, and applied. Each step may be repeated."""

from eth_utils.address import to_checksum_address
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities.applying import AppliedOnChain, applied_on_chain, has_ended, release_principal
from activities.claims import block_of_transfer, claim, claimable_transfer
from activities.leg_rows import final_leg
from activities.operation_rows import (
    accept,
    finish,
    legs_begun,
    lock_operation,
    open_received,
    outcome_of,
    refuse,
    stored_outcome,
    stored_refusal,
    write_event,
)
from activities.outside_book import follow
from activities.repayment_rows import (
    REPAYABLE,
    RepaymentRows,
    loan_is_taken,
    lock_repayment,
    newest_loan,
    take_loan,
)
from activities.snapshots import loan_snapshot, rejected_repayment, repayment_snapshot
from chain import transactions
from chain.engine_chain import EngineChain
from chain.errors import RpcError
from models.errors import (
    InvariantBroken,
    LegReverted,
    LoanNotFound,
    LoanNotRepayable,
    NotStarted,
    RefusalPayload,
    RepaymentInProgress,
)
from models.events.payloads import EventData
from models.ids import new_id
from models.messages.common import OperationInput, Outcome, Pace, Refuse
from models.messages.repay import (
    AcceptRepayment,
    ApplyRepayment,
    ClaimTransfer,
    Collected,
    FindLoan,
    LoanFound,
    OpenedRepayment,
    RepayDecision,
    RepayRequest,
    RepayTerms,
    Uncollected,
    accepted,
)
from models.statuses import (
    DecisionKind,
    EventType,
    LegName,
    LoanStatus,
    OperationState,
    RepaymentMode,
    RepaymentState,
)
from models.tables import book
from models.tables.loans import Repayment
from models.tables.operations import Operation
from models.tables.session import Transaction


class RepaymentActivities:
    """``pace`` and ``residue_cap`` become part of the terms of each repayment accepted here."""

    def __init__(self, transaction: Transaction, chain: EngineChain, pace: Pace, residue_cap: int) -> None:
        self._transaction = transaction
        self._chain = chain
        self._pace = pace
        self._residue_cap = residue_cap

    @activity.defn
    async def open_repayment(self, asked: OperationInput) -> OpenedRepayment:
        """The first step of every run: what the row says already, so that a later run goes on where the last one ended."""
        async with self._transaction() as session:
            operation = await lock_operation(session, asked.operation_id)
            open_received(operation)
            if operation.partner_id is None:
                raise InvariantBroken(f"operation {operation.id} is no repayment")
            return OpenedRepayment(
                state=operation.state,
                partner_id=operation.partner_id,
                request=RepayRequest.model_validate(operation.request),
                decision=_decision(operation),
                outcome=outcome_of(operation),
                begun=tuple(await legs_begun(session, operation)),
                review_reason=operation.review_reason,
            )

    @activity.defn
    async def find_loan(self, asked: FindLoan) -> LoanFound:
        """Raises LoanNotFound, LoanNotRepayable, or RepaymentInProgress where a pull would find the loan taken."""
        async with self._transaction() as session:
            operation = await lock_operation(session, asked.operation_id)
            loan = await newest_loan(session, operation.partner_id, asked.request.partner_loan_id)
            if loan is None:
                raise LoanNotFound(asked.request.partner_loan_id)
            if loan.status not in REPAYABLE:
                raise LoanNotRepayable(loan.status)
            if await loan_is_taken(session, loan.id):
                raise RepaymentInProgress
            return LoanFound(
                loan_id=loan.id,
                position_id=loan.position_id,
                user_wallet=loan.user_wallet,
                settlement_address=loan.settlement_address,
            )

    @activity.defn
    async def accept_repayment(self, asked: AcceptRepayment) -> RepayDecision:
        """Decides for the repayment; a pull takes the loan's lock here, a proof when it claims its transfer.

        Raises RepaymentInProgress where another repayment holds the loan, and then has changed nothing.
        """
        async with self._transaction() as session:
            operation = await lock_operation(session, asked.operation_id)
            if operation.decision is not None:
                return stored_decision(operation)
            terms = self._terms(asked)
            if asked.request.mode is RepaymentMode.PULL:
                await take_loan(session, asked.loan.loan_id)
            session.add(_repayment(operation, terms))
            operation.loan_id = asked.loan.loan_id
            accept(operation, terms.model_dump(mode="json"))
            return accepted(terms)

    @activity.defn
    async def refuse_repayment(self, asked: Refuse) -> RepayDecision:
        """Decides against the repayment; the stored decision wins where there is one."""
        async with self._transaction() as session:
            operation = await lock_operation(session, asked.operation_id)
            if operation.decision is not None:
                return stored_decision(operation)
            refuse(operation, asked.refusal)
            snapshot = rejected_repayment(operation, asked.refusal)
            write_event(session, operation, EventType.REPAYMENT_REJECTED, snapshot)
            return RepayDecision(kind=DecisionKind.REFUSED, refusal=asked.refusal)

    @activity.defn
    async def record_collection(self, asked: OperationInput) -> Collected:
        """The pull is final on chain: what came in is owed to the partner until it is repaid or refunded."""
        async with self._transaction() as session:
            rows = await lock_repayment(session, asked.operation_id)
            leg = await final_leg(session, asked.operation_id, LegName.COLLECT)
            if rows.repayment.collected == 0:
                await book.post(session, asked.operation_id, leg.leg, leg.generation)
                rows.repayment.collected = leg.amount
                rows.repayment.covers_debt = rows.repayment.payoff
                rows.operation.review_reason = None
                rows.repayment.state, rows.repayment.review_reason = RepaymentState.REPAYING, None
            return _collected(rows.repayment)

    @activity.defn
    async def claim_transfer(self, asked: ClaimTransfer) -> Collected:
        """Claims the transfer that the partner named and takes the loan's lock, in one transaction.

        Raises Transfer…, LoanNotRepayable or RepaymentInProgress, and then the transfer stays claimable.
        """
        debt = await self._debt_when_transferred(asked.terms) if asked.terms.payoff else None
        async with self._transaction() as session:
            rows = await lock_repayment(session, asked.operation_id)
            if rows.operation.state is OperationState.DONE:
                raise InvariantBroken(f"{asked.operation_id} is done; a claim that woke up late claims nothing")
            if rows.repayment.collected == 0:
                transfer = await claimable_transfer(session, rows, asked.terms)
                await take_loan(session, rows.loan.id)
                await claim(session, rows, transfer)
                rows.repayment.covers_debt = debt is not None and transfer.amount >= debt
            return _collected(rows.repayment)

    @activity.defn
    async def close_uncollected(self, asked: Refuse) -> Uncollected:
        """Ends a repayment that collected nothing: in one transaction the pull can no longer be sent and the loan is free.

        Where a late attempt has claimed the transfer after all, nothing is ended, and what was collected is the answer.
        """
        async with self._transaction() as session:
            rows = await lock_repayment(session, asked.operation_id)
            if (outcome := stored_outcome(rows.operation)) is not None:
                return Uncollected(outcome=outcome)
            if rows.repayment.collected > 0:
                return Uncollected(collected=_collected(rows.repayment))
            pulled = rows.repayment.mode is RepaymentMode.PULL
            if pulled:
                await _release_pull(session, asked)
            state = RepaymentState.FAILED if pulled else RepaymentState.REJECTED
            event = EventType.REPAYMENT_FAILED if pulled else EventType.REPAYMENT_REJECTED
            outcome = _close(session, rows, state, event, asked.refusal)
            await follow(session, rows.loan)
            return Uncollected(outcome=outcome)

    @activity.defn
    async def apply_repayment(self, asked: ApplyRepayment) -> Outcome:
        """Ends a repayment that collected: what the vault took is applied to the loan and its limits, the rest was refunded."""
        async with self._transaction() as session:
            rows = await lock_repayment(session, asked.operation_id)
            if (outcome := stored_outcome(rows.operation)) is not None:
                return outcome
            applied = await applied_on_chain(session, asked.operation_id)
            _check_all_accounted(rows.repayment, applied)
            ended = await has_ended(session, rows.loan, applied, asked.debt)
            release_principal(rows, applied, ended=ended, debt=asked.debt)
            if applied.taken == 0:
                refusal = LegReverted(LegName.REPAY, applied.refused or "it gave no reason").payload()
                outcome = _close(session, rows, RepaymentState.REFUNDED, EventType.REPAYMENT_REFUNDED, refusal)
            else:
                outcome = _close(session, rows, RepaymentState.APPLIED, EventType.REPAYMENT_APPLIED, None)
            if rows.loan.status is LoanStatus.REPAID:
                snapshot = loan_snapshot(rows.loan, repayment=rows.repayment)
                write_event(session, rows.operation, EventType.LOAN_REPAID, snapshot)
            return outcome

    async def _debt_when_transferred(self, terms: RepayTerms) -> int:
        """The debt of the transfer's own block; of the latest one where the node has forgotten that block."""
        async with self._transaction() as session:
            block = await block_of_transfer(session, self._chain.chain_id, terms.transfer_tx_hash or "")
        call = self._chain.pool.get_outstanding_debt(terms.position_id)
        try:
            (debt,) = await self._chain.client.read(call, block="latest" if block is None else block)
        except RpcError:
            (debt,) = await self._chain.client.read(call, block="latest")
        return debt

    def _terms(self, asked: AcceptRepayment) -> RepayTerms:
        return RepayTerms(
            repayment_id=new_id("rep"),
            loan_id=asked.loan.loan_id,
            position_id=asked.loan.position_id,
            payoff=asked.request.payoff,
            mode=asked.request.mode,
            amount=asked.funding.amount,
            payer=asked.funding.payer,
            transfer_tx_hash=asked.request.transfer_tx_hash,
            transfer_log_index=asked.request.transfer_log_index,
            vault_address=self._chain.vault_address,
            residue_cap=self._residue_cap,
            pace=self._pace,
        )


def stored_decision(operation: Operation) -> RepayDecision:
    if operation.decision is DecisionKind.ACCEPTED:
        return accepted(RepayTerms.model_validate(operation.terms))
    return RepayDecision(kind=DecisionKind.REFUSED, refusal=stored_refusal(operation))


def _decision(operation: Operation) -> RepayDecision | None:
    if operation.state is OperationState.NOT_STARTED:
        return RepayDecision(kind=DecisionKind.REFUSED, refusal=NotStarted().payload())
    return None if operation.decision is None else stored_decision(operation)


def _repayment(operation: Operation, terms: RepayTerms) -> Repayment:
    return Repayment(
        id=terms.repayment_id,
        operation_id=operation.id,
        loan_id=terms.loan_id,
        partner_id=operation.partner_id,
        mode=terms.mode,
        payoff=terms.payoff,
        requested=terms.amount,
        state=RepaymentState.COLLECTING,
        holds_loan=terms.mode is RepaymentMode.PULL,
        payer=terms.payer,
    )


def _collected(repayment: Repayment) -> Collected:
    if repayment.payer is None:
        raise InvariantBroken(f"repayment {repayment.id} was collected from nobody")
    return Collected(
        amount=repayment.collected,
        payer=to_checksum_address(repayment.payer),
        covers_debt=repayment.covers_debt,
    )


async def _release_pull(session: AsyncSession, asked: Refuse) -> None:
    if not await transactions.abandon(session, asked.operation_id, LegName.COLLECT, asked.refusal.detail):
        raise InvariantBroken(f"the collect leg of {asked.operation_id} may still have its effect")
    await book.void(session, asked.operation_id, LegName.COLLECT)


def _check_all_accounted(repayment: Repayment, applied: AppliedOnChain) -> None:
    if applied.taken + applied.refunded != repayment.collected:
        raise InvariantBroken(
            f"repayment {repayment.id} collected {repayment.collected}, but {applied.taken} were repaid and "
            f"{applied.refunded} refunded"
        )


def _close(
    session: AsyncSession,
    rows: RepaymentRows,
    state: RepaymentState,
    event: EventType,
    problem: RefusalPayload | None,
) -> Outcome:
    repayment = rows.repayment
    repayment.state, repayment.holds_loan, repayment.review_reason = state, False, None
    outcome = finish(rows.operation, Outcome(status=state, loan_id=rows.loan.id, problem=problem))
    repayment.closed_at = rows.operation.done_at
    write_event(session, rows.operation, event, _told(rows, event, problem))
    return outcome


def _told(rows: RepaymentRows, event: EventType, problem: RefusalPayload | None) -> EventData:
    if event is EventType.REPAYMENT_REJECTED and problem is not None:
        return rejected_repayment(rows.operation, problem, rows.repayment)
    return repayment_snapshot(rows.repayment, rows.loan, problem)
