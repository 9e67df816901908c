"""A repayment: decided while the partner waits, then collected, repaid to the vault, and what is too much given back."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.funding import FundingActivities
    from activities.partners import PartnerActivities
    from activities.repayments import RepaymentActivities
    from models.errors import LegReverted, RefusalPayload, StoppedBeforeSending, TransferNotFound
    from models.messages.common import OperationInput, OperatorChoice, Outcome, Refuse
    from models.messages.legs import CollectCall, LegOutcome, RepayCall, TransferCall
    from models.messages.repay import (
        AcceptRepayment,
        ApplyRepayment,
        AuthorizeRepayment,
        AwaitTransfer,
        CheckFunding,
        ClaimTransfer,
        Collected,
        FindLoan,
        OpenedRepayment,
        RepayDecision,
        RepayRequest,
        RepayTerms,
    )
    from models.money import format_usdc
    from models.statuses import LegName, RepaymentMode, TransactionState
    from workflows.hands import OperatorUpdates
    from workflows.legs import Legs
    from workflows.operation import OperationRun
    from workflows.steps import StepRefused, run_step, run_wait

REPAY_GENERATIONS = 2
"""After a refused repayment to the vault one more is tried with the debt as it is then; after that it is refunded."""
NO_LONGER = "the USDC is collected: it is repaid to the vault, and what the vault does not take is given back"
BY_PROOF = "the partner has made the transfer itself: it is claimed and repaid, or stays the partner's to claim"


@workflow.defn
class RepayWorkflow(OperatorUpdates):
    @workflow.init
    def __init__(self, start: OperationInput) -> None:
        self._start = start
        self._operation: OperationRun[RepayDecision] = OperationRun(start, LegName.COLLECT)
        self._hands = self._operation.hands

    @workflow.run
    async def run(self, start: OperationInput) -> Outcome:  # noqa: ARG002 - the constructor has taken it
        return await self._operation.tell(self._repay_loan)

    @workflow.update
    async def decision(self) -> RepayDecision:
        """What the partner waits for; always asked for under the one update id ``decision``."""
        return await self._operation.decided()

    async def _repay_loan(self) -> Outcome:
        opened = await self._open_operation()
        tale = self._operation.tale
        tale.begin(opened.partner_id, _asked_in_words(opened.request))
        self._operation.attention.remember(opened.review_reason)
        if opened.outcome is not None:
            self._operation.decision = opened.decision
            return opened.outcome
        decision = opened.decision or await self._decide(opened.request)
        self._operation.decision = decision
        if decision.terms is None:
            tale.refused("for no reason that is known" if decision.refusal is None else decision.refusal.detail)
            return Outcome(status="REFUSED", problem=decision.refusal)
        tale.accepted(decision.terms.loan_id, None, f"accepted as `{decision.terms.repayment_id}`")
        return await self._carry_out(decision.terms, self._operation.legs(decision.terms.pace, opened.begun))

    # The head: one workflow task of local activities

    async def _open_operation(self) -> OpenedRepayment:
        return await run_step(RepaymentActivities.open_repayment, self._start, "open the operation")

    async def _decide(self, request: RepayRequest) -> RepayDecision:
        try:
            return await self._try_to_accept(request)
        except StepRefused as failed:
            return await self._refuse(failed.refusal)

    async def _try_to_accept(self, request: RepayRequest) -> RepayDecision:
        operation_id = self._start.operation_id
        authorize = AuthorizeRepayment(operation_id=operation_id)
        await run_step(PartnerActivities.authorize_repayment, authorize, "authorize the partner")
        find = FindLoan(operation_id=operation_id, request=request)
        loan = await run_step(RepaymentActivities.find_loan, find, "find the loan")
        check = CheckFunding(operation_id=operation_id, request=request, loan=loan)
        funding = await run_step(FundingActivities.check_funding, check, "read the debt, validate amount and funding")
        accept = AcceptRepayment(operation_id=operation_id, request=request, loan=loan, funding=funding)
        return await run_step(RepaymentActivities.accept_repayment, accept, "accept the repayment")

    async def _refuse(self, refusal: RefusalPayload) -> RepayDecision:
        refuse = Refuse(operation_id=self._start.operation_id, refusal=refusal)
        return await run_step(RepaymentActivities.refuse_repayment, refuse, f"refuse: {refusal.code}")

    # The tail: durable, minutes to days

    async def _carry_out(self, terms: RepayTerms, legs: Legs) -> Outcome:
        collected = await self._collect(legs, terms)
        if isinstance(collected, Outcome):
            return collected
        repaid = await self._repay(legs, terms, collected)
        if collected.covers_debt and repaid > 0:
            debt = await legs.clear_residue(terms.position_id, terms.residue_cap)
        else:
            debt = await legs.read_debt(terms.position_id)
        await self._refund(legs, collected, collected.amount - repaid)
        apply = ApplyRepayment(operation_id=self._start.operation_id, debt=debt)
        return await run_step(RepaymentActivities.apply_repayment, apply, "apply the repayment")

    async def _collect(self, legs: Legs, terms: RepayTerms) -> Collected | Outcome:
        """What was collected; or, where nothing can be, how the repayment has ended."""
        try:
            taken = await (self._pull(legs, terms) if terms.mode is RepaymentMode.PULL else self._claim_transfer(terms))
        except StepRefused as refused:
            taken = refused.refusal
        return await self._give_up(taken) if isinstance(taken, RefusalPayload) else taken

    async def _pull(self, legs: Legs, terms: RepayTerms) -> Collected | RefusalPayload:
        if terms.amount is None or terms.payer is None:
            raise RuntimeError("a repayment by pull names its amount and payer")
        call = CollectCall(payer=terms.payer, amount=terms.amount)
        pulled = await legs.carry_out(LegName.COLLECT, call)
        self._hands.first_leg_is_certain(NO_LONGER)
        if not pulled.succeeded:
            return _why_not_collected(pulled)
        return await run_step(RepaymentActivities.record_collection, self._start, "record the collection")

    async def _claim_transfer(self, terms: RepayTerms) -> Collected | RefusalPayload:
        self._hands.first_leg_is_certain(BY_PROOF)
        tx_hash = terms.transfer_tx_hash or ""
        wait = AwaitTransfer(operation_id=self._start.operation_id, tx_hash=tx_hash, patience=terms.pace.proof_wait)
        seen = await run_wait(
            FundingActivities.await_transfer, wait, patience=terms.pace.proof_wait, summary="await the transfer"
        )
        if not seen.arrived:
            return TransferNotFound(tx_hash).payload()
        claim = ClaimTransfer(operation_id=self._start.operation_id, terms=terms)
        return await run_step(RepaymentActivities.claim_transfer, claim, "claim the transfer")

    async def _give_up(self, refusal: RefusalPayload) -> Collected | Outcome:
        """Nothing was collected: the loan is free again, and a transfer that was not claimed stays claimable."""
        refuse = Refuse(operation_id=self._start.operation_id, refusal=refusal)
        ended = await run_step(RepaymentActivities.close_uncollected, refuse, f"give up: {refusal.code}")
        if ended.collected is not None:
            return ended.collected
        if ended.outcome is None:
            raise RuntimeError("a repayment that collected nothing has ended")
        return ended.outcome

    async def _repay(self, legs: Legs, terms: RepayTerms, collected: Collected) -> int:
        """Repays the vault at most what is owed; returns what it took of the collected USDC, zero if it refused."""
        call = RepayCall(position_id=terms.position_id, amount=collected.amount)
        first = legs.generation(LegName.REPAY)
        for generation in range(first, REPAY_GENERATIONS + 1):
            if generation > first:
                await workflow.sleep(terms.pace.settle_retry)
            repaid = await legs.carry_out(LegName.REPAY, call, generation=generation)
            if repaid.succeeded:
                return repaid.amount
        return 0

    async def _refund(self, legs: Legs, collected: Collected, excess: int) -> None:
        call = TransferCall(recipient=collected.payer, amount=excess)
        generation = legs.generation(LegName.REFUND)
        while excess > 0:
            refunded = await legs.carry_out(LegName.REFUND, call, generation=generation)
            if refunded.succeeded:
                return
            why = f"the refund was refused: {refunded.reason}"
            await self._operation.attention.ask(LegName.REFUND, why, OperatorChoice.RETRY)
            generation += 1


def _asked_in_words(request: RepayRequest) -> str:
    amount = "all that is owed" if request.amount is None else f"{format_usdc(request.amount)} USDC"
    how = "by pull" if request.transfer_tx_hash is None else f"by transfer `{request.transfer_tx_hash}`"
    return f"repay {amount} of {request.partner_loan_id} {how}"


def _why_not_collected(pulled: LegOutcome) -> RefusalPayload:
    reason = pulled.reason or "no reason given"
    if pulled.state is TransactionState.ABANDONED:
        return StoppedBeforeSending(reason).payload()
    return LegReverted(LegName.COLLECT, reason).payload()
