"""Workflows that were changed without care: each does the steps of the real one, some of them in another order.

They stand apart from the tests because Temporal's sandbox loads the module of a workflow anew for every replay.
"""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.credit_lines import CreditLineActivities
    from activities.fees import FeeActivities
    from activities.limits import LimitActivities
    from activities.loans import LoanActivities
    from activities.partners import PartnerActivities
    from models.messages.borrow import (
        AuthorizeBorrow,
        BorrowDecision,
        BorrowRequest,
        BorrowTerms,
        CalculateFee,
        CheckCreditLine,
        ReserveLimit,
    )
    from models.messages.common import OperationInput, Outcome
    from models.messages.legs import BorrowCall, TransferCall
    from models.statuses import LegName
    from workflows.borrow import BorrowWorkflow
    from workflows.legs import Legs
    from workflows.steps import run_step


@workflow.defn(name="BorrowWorkflow")
class FeeBeforeCreditLine(BorrowWorkflow):
    """The head with two of its steps swapped, where the first of them refuses."""

    @workflow.init
    def __init__(self, start: OperationInput) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: OperationInput) -> Outcome:
        return await super().run(start)

    async def _try_to_reserve(self, request: BorrowRequest) -> BorrowDecision:
        operation_id = self._start.operation_id
        authorize = AuthorizeBorrow(operation_id=operation_id, request=request)
        authorization = await run_step(PartnerActivities.authorize_partner, authorize, "authorize the partner")
        fee = CalculateFee(amount=request.amount, fee_bps=authorization.fee_bps)
        quote = await run_step(FeeActivities.calculate_fee, fee, "calculate the fee")
        check = CheckCreditLine(
            request=request, position_id=authorization.position_id, by_administrator=authorization.by_administrator
        )
        standing = await run_step(CreditLineActivities.check_credit_line, check, "check the credit line")
        reserve = ReserveLimit(operation_id=operation_id, quote=quote, authorization=authorization, standing=standing)
        return await run_step(LimitActivities.reserve_limit, reserve, "reserve the limit")


@workflow.defn(name="BorrowWorkflow")
class WaitsBeforeItBorrows(BorrowWorkflow):
    """The tail with a timer that the real one does not have."""

    @workflow.init
    def __init__(self, start: OperationInput) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: OperationInput) -> Outcome:
        return await super().run(start)

    async def _carry_out(self, terms: BorrowTerms, legs: Legs) -> Outcome:
        await workflow.sleep(1)
        return await super()._carry_out(terms, legs)


@workflow.defn(name="BorrowWorkflow")
class PaysBeforeItBorrows(BorrowWorkflow):
    """The tail with its two legs swapped: the same activities in the same order, asked to do other things."""

    @workflow.init
    def __init__(self, start: OperationInput) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: OperationInput) -> Outcome:
        return await super().run(start)

    async def _carry_out(self, terms: BorrowTerms, legs: Legs) -> Outcome:
        payout = TransferCall(recipient=terms.settlement_address, amount=terms.quote.payout)
        await legs.carry_out(LegName.SETTLE, payout)
        await run_step(LoanActivities.record_borrow, self._start, "record the borrow")
        borrow = BorrowCall(
            position_id=terms.position_id,
            amount=terms.quote.principal,
            loan_duration=terms.loan_duration,
            number_of_installments=terms.number_of_installments,
        )
        await legs.carry_out(LegName.BORROW, borrow)
        return await run_step(LoanActivities.activate_loan, self._start, "activate the loan")
