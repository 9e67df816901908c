"""A borrow: decided in one workflow task while the partner waits, then carried out however long it takes."""

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.credit_lines import CreditLineActivities
    from activities.fees import FeeActivities
    from activities.limits import LimitActivities
    from activities.loans import LoanActivities
    from activities.partners import PartnerActivities
    from activities.settlement import SettlementActivities
    from models.errors import LegReverted, RefusalPayload, SettlementBlocked, StoppedBeforeSending
    from models.messages.borrow import (
        AuthorizeBorrow,
        AwaitSettlement,
        BorrowDecision,
        BorrowRequest,
        BorrowTerms,
        CalculateFee,
        CheckCreditLine,
        OpenedBorrow,
        ReserveLimit,
        ReverseLoan,
        SettlementOutlook,
        SettlementVerdict,
    )
    from models.messages.common import (
        LegBegun,
        OperationInput,
        OperatorChoice,
        Outcome,
        Refuse,
    )
    from models.messages.legs import BorrowCall, LegOutcome, RepayCall, TransferCall
    from models.money import format_usdc
    from models.statuses import LegName, TransactionState
    from workflows.hands import OperatorUpdates
    from workflows.legs import Legs
    from workflows.operation import OperationRun
    from workflows.steps import StepRefused, run_step, run_wait

NO_LONGER = (
    "the borrow is on chain: it is paid out, and can be undone only once its payout waits for an operator; "
    "what is being undone already is finished"
)


@workflow.defn
class BorrowWorkflow(OperatorUpdates):
    @workflow.init
    def __init__(self, start: OperationInput) -> None:
        self._start = start
        self._operation: OperationRun[BorrowDecision] = OperationRun(start, LegName.BORROW)
        self._hands = self._operation.hands
        self._settle_generation = 1

    @workflow.run
    async def run(self, start: OperationInput) -> Outcome:  # noqa: ARG002 - the constructor has taken it
        return await self._operation.tell(self._borrow)

    @workflow.update
    async def decision(self) -> BorrowDecision:
        """What the partner waits for; always asked for under the one update id ``decision``."""
        return await self._operation.decided()

    async def _borrow(self) -> Outcome:
        opened = await self._open_operation()
        tale, request = self._operation.tale, opened.request
        tale.begin(
            opened.partner_id, f"borrow {format_usdc(request.amount)} USDC on credit line {request.oaid_token_id}"
        )
        self._operation.attention.remember(opened.review_reason)
        if opened.outcome is not None:
            self._operation.decision = opened.decision
            return opened.outcome
        decision = opened.decision or await self._decide(request)
        self._operation.decision = decision
        if decision.terms is None:
            tale.refused(_words(decision.refusal), request.oaid_token_id)
            return Outcome(status="REFUSED", problem=decision.refusal)
        tale.accepted(decision.terms.loan_id, request.oaid_token_id, _terms_in_words(decision.terms))
        return await self._carry_out(decision.terms, self._operation.legs(decision.terms.pace, opened.begun))

    # The head: one workflow task of local activities

    async def _open_operation(self) -> OpenedBorrow:
        return await run_step(LoanActivities.open_operation, self._start, "open the operation")

    async def _decide(self, request: BorrowRequest) -> BorrowDecision:
        try:
            return await self._try_to_reserve(request)
        except StepRefused as failed:
            return await self._refuse(failed.refusal)

    async def _try_to_reserve(self, request: BorrowRequest) -> BorrowDecision:
        authorize = AuthorizeBorrow(operation_id=self._start.operation_id, request=request)
        authorization = await run_step(PartnerActivities.authorize_partner, authorize, "authorize the partner")
        check = CheckCreditLine(
            request=request, position_id=authorization.position_id, by_administrator=authorization.by_administrator
        )
        standing = await run_step(CreditLineActivities.check_credit_line, check, "check the credit line")
        fee = CalculateFee(amount=request.amount, fee_bps=authorization.fee_bps)
        quote = await run_step(FeeActivities.calculate_fee, fee, "calculate the fee")
        reserve = ReserveLimit(
            operation_id=self._start.operation_id, quote=quote, authorization=authorization, standing=standing
        )
        return await run_step(LimitActivities.reserve_limit, reserve, "reserve the limit")

    async def _refuse(self, refusal: RefusalPayload) -> BorrowDecision:
        refuse = Refuse(operation_id=self._start.operation_id, refusal=refusal)
        return await run_step(LoanActivities.refuse_borrow, refuse, f"refuse: {refusal.code}")

    # The tail: durable, minutes to days

    async def _carry_out(self, terms: BorrowTerms, legs: Legs) -> Outcome:
        borrowed = await legs.carry_out(LegName.BORROW, _borrow_call(terms))
        self._hands.first_leg_is_certain(NO_LONGER)
        if not borrowed.succeeded:
            return await self._release_limit(borrowed)
        await run_step(LoanActivities.record_borrow, self._start, "record the borrow")
        blocked = await self._settle(legs, terms)
        if blocked is None:
            return await run_step(LoanActivities.activate_loan, self._start, "activate the loan")
        return await self._unwind(legs, terms, blocked)

    async def _release_limit(self, borrowed: LegOutcome) -> Outcome:
        finish = Refuse(operation_id=self._start.operation_id, refusal=_why_not_borrowed(borrowed))
        return await run_step(LimitActivities.release_limit, finish, "release the limit")

    async def _settle(self, legs: Legs, terms: BorrowTerms) -> str | None:
        """Pays the settlement address; says why when that has become impossible and the borrow must be undone."""
        self._settle_generation = legs.generation(LegName.SETTLE)
        if legs.begun(LegName.UNWIND):
            return "it had been refused before"
        payout = TransferCall(recipient=terms.settlement_address, amount=terms.quote.payout)
        while not (await legs.carry_out(LegName.SETTLE, payout, generation=self._settle_generation)).succeeded:
            outlook = await self._await_settlement(terms)
            if outlook.verdict is SettlementVerdict.BLOCKED:
                return outlook.reason
            if outlook.verdict is SettlementVerdict.UNDECIDED:
                why = f"settlement is not possible: {outlook.reason}"
                choice = await self._ask(LegName.SETTLE, why, OperatorChoice.RETRY, OperatorChoice.UNWIND)
                if choice is OperatorChoice.UNWIND:
                    return "an operator chose to undo the borrow"
            self._settle_generation += 1
        return None

    async def _await_settlement(self, terms: BorrowTerms) -> SettlementOutlook:
        """Waits until a payout would pass or is blocked for good (money.md section 5); nothing is undone by time alone."""
        patience = terms.pace.settle_deadline
        ask = AwaitSettlement(
            settlement_address=terms.settlement_address,
            amount=terms.quote.payout,
            pace=terms.pace,
            deadline=workflow.now() + timedelta(seconds=patience),
        )
        return await run_wait(
            SettlementActivities.await_settlement, ask, patience=patience, summary="await the settlement address"
        )

    async def _unwind(self, legs: Legs, terms: BorrowTerms, why: str) -> Outcome:
        """Repays the vault what it lent: the principal from the money in flight, the interest from the platform float."""
        await self._repay_principal(legs, terms)
        while (debt := await legs.clear_residue(terms.position_id, terms.residue_cap)).outstanding > 0:
            why = f"{debt.outstanding} base units are owed still, which the platform does not pay by itself"
            await self._ask(LegName.RESIDUE, why, OperatorChoice.RETRY)
        refusal = SettlementBlocked(terms.settlement_address, why).payload()
        reverse = ReverseLoan(operation_id=self._start.operation_id, refusal=refusal, debt=debt)
        return await run_step(LoanActivities.reverse_loan, reverse, "reverse the loan")

    async def _repay_principal(self, legs: Legs, terms: BorrowTerms) -> None:
        call = RepayCall(position_id=terms.position_id, amount=terms.quote.principal)
        settle = LegBegun(leg=LegName.SETTLE, generation=self._settle_generation)
        generation = legs.generation(LegName.UNWIND)
        while True:
            unwound = await legs.carry_out(LegName.UNWIND, call, generation=generation, instead_of=settle)
            if unwound.succeeded or (await legs.read_debt(terms.position_id)).outstanding == 0:
                return
            await run_step(LoanActivities.move_to_suspense, self._start, "move the USDC to suspense")
            why = f"the borrow cannot be undone: {unwound.reason}"
            await self._ask(LegName.UNWIND, why, OperatorChoice.RETRY)
            generation += 1

    async def _ask(self, about: LegName, why: str, *possible: OperatorChoice) -> OperatorChoice:
        return await self._operation.attention.ask(about, why, *possible)


def _words(refusal: RefusalPayload | None) -> str:
    return "for no reason that is known" if refusal is None else refusal.detail


def _terms_in_words(terms: BorrowTerms) -> str:
    quote = terms.quote
    return (
        f"accepted as `{terms.loan_id}`: fee {format_usdc(quote.fee)}, payout {format_usdc(quote.payout)} USDC to "
        f"`{terms.settlement_address}`"
    )


def _borrow_call(terms: BorrowTerms) -> BorrowCall:
    return BorrowCall(
        position_id=terms.position_id,
        amount=terms.quote.principal,
        loan_duration=terms.loan_duration,
        number_of_installments=terms.number_of_installments,
    )


def _why_not_borrowed(borrowed: LegOutcome) -> RefusalPayload:
    reason = borrowed.reason or "no reason given"
    if borrowed.state is TransactionState.ABANDONED:
        return StoppedBeforeSending(reason).payload()
    return LegReverted(LegName.BORROW, reason).payload()
