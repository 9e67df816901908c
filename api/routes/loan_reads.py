"""What is known of loans: lists, one loan, and what it owes."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query

from api.answers import LoanAnswer, LoansAnswer, PayoffAnswer, RepaymentsAnswer
from api.auth import Reader
from api.deps import PartnerLoanId, ResourcesDep
from api.docs import ALWAYS, KEYED, ON_CHAIN, READS, problems
from api.errors import InvalidRequest
from api.gate import PartnerRoute
from api.loan_list import LoansQuery, RepaymentsQuery, loans_page, repayments_page
from api.loans import loan_answer, newest_loan, plan_of, repayments_of
from api.payoff import read_payoff
from api.reads import reading
from models.errors import LoanNotFound, LoanNotRepayable

router = APIRouter(prefix="/v1/loans", tags=["loans"], route_class=PartnerRoute)

_READING = problems(*KEYED, InvalidRequest, LoanNotFound, *ALWAYS)


@router.get(
    "",
    operation_id="listLoans",
    summary="The partner's loans, newest first",
    responses=problems(*KEYED, InvalidRequest, *READS),
)
async def list_loans(caller: Reader, resources: ResourcesDep, asked: Annotated[LoansQuery, Query()]) -> LoansAnswer:
    """A borrow that was refused is no loan: it is among the operations."""
    async with reading(resources) as session:
        return await loans_page(session, caller.partner_id, asked)


@router.get(
    "/{partner_loan_id}",
    operation_id="getLoan",
    summary="A loan with its schedule and repayments",
    responses=_READING,
)
async def get_loan(partner_loan_id: PartnerLoanId, caller: Reader, resources: ResourcesDep) -> LoanAnswer:
    """The newest loan of this name; one that was refused before it existed is seen in its operation only."""
    async with resources.statements() as session:
        loan = await newest_loan(session, caller.partner_id, partner_loan_id)
        repayments, plan = await repayments_of(session, loan), await plan_of(session, loan)
    return loan_answer(loan, repayments, plan, datetime.now(UTC))


@router.get(
    "/{partner_loan_id}/repayments",
    operation_id="listRepayments",
    summary="A loan's repayments, newest first",
    responses=problems(*KEYED, InvalidRequest, LoanNotFound, *READS),
)
async def list_repayments(
    partner_loan_id: PartnerLoanId,
    caller: Reader,
    resources: ResourcesDep,
    asked: Annotated[RepaymentsQuery, Query()],
) -> RepaymentsAnswer:
    async with reading(resources) as session:
        loan = await newest_loan(session, caller.partner_id, partner_loan_id)
        return await repayments_page(session, loan, asked)


@router.get(
    "/{partner_loan_id}/payoff",
    operation_id="getPayoff",
    summary="What is owed now",
    responses=problems(*KEYED, InvalidRequest, LoanNotFound, LoanNotRepayable, *ON_CHAIN, *ALWAYS),
)
async def get_payoff(partner_loan_id: PartnerLoanId, caller: Reader, resources: ResourcesDep) -> PayoffAnswer:
    """Read from the chain as it is; collect it with ``{"payoff": true}``."""
    async with resources.statements() as session:
        loan = await newest_loan(session, caller.partner_id, partner_loan_id)
    return await read_payoff(resources, loan)
