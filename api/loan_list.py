"""The lists of a partner's loans and of a loan's repayments."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import Select, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from api.answers import LoansAnswer, RepaymentsAnswer
from api.fields import MAY_BE_ABSENT, AddressIn, ChainIdIn, MomentIn
from api.loans import loan_summary, repayment_answer
from api.paging import Order, PageQuery, Place, cursor_in, cut
from models.statuses import LoanStatus
from models.tables.loans import Loan, Repayment

LOANS = Order("loan", Loan.created_at, Loan.id)
REPAYMENTS = Order("repayment", Repayment.created_at, Repayment.id)
LoanCursor = Annotated[str, *cursor_in(LOANS.pattern)]
RepaymentCursor = Annotated[str, *cursor_in(REPAYMENTS.pattern)]


class LoansQuery(PageQuery):
    """Which of the partner's loans; what is not given does not narrow them."""

    user_wallet: Annotated[AddressIn | None, MAY_BE_ABSENT] = None
    status: list[LoanStatus] = Field(
        default=[],
        max_length=len(LoanStatus),
        description="may be given several times",
        examples=[["ACTIVE", "DEFAULTED"]],
    )
    oaid_token_id: Annotated[ChainIdIn | None, MAY_BE_ABSENT] = None
    created_from: Annotated[MomentIn | None, MAY_BE_ABSENT] = Field(
        default=None, description="the first moment that counts"
    )
    created_to: Annotated[MomentIn | None, MAY_BE_ABSENT] = Field(
        default=None, description="the first moment that counts no more"
    )
    cursor: Annotated[LoanCursor | None, MAY_BE_ABSENT] = None


class RepaymentsQuery(PageQuery):
    cursor: Annotated[RepaymentCursor | None, MAY_BE_ABSENT] = None


async def loans_page(session: AsyncSession, partner_id: str, asked: LoansQuery) -> LoansAnswer:
    rows = list(await session.scalars(loans_statement(partner_id, asked)))
    page, following = cut(rows, asked.limit, LOANS, lambda loan: Place(loan.created_at, loan.id))
    return LoansAnswer(loans=[loan_summary(loan) for loan in page], next_cursor=following)


async def repayments_page(session: AsyncSession, loan: Loan, asked: RepaymentsQuery) -> RepaymentsAnswer:
    of_loan = select(Repayment).where(Repayment.loan_id == loan.id)
    rows = list(await session.scalars(REPAYMENTS.page(of_loan, asked.cursor, asked.limit)))
    page, following = cut(rows, asked.limit, REPAYMENTS, lambda each: Place(each.created_at, each.id))
    return RepaymentsAnswer(repayments=[repayment_answer(each) for each in page], next_cursor=following)


def loans_statement(partner_id: str, asked: LoansQuery) -> Select[Any]:
    """One page of loans. Every filter has an index that is sorted as the list is, so a page costs what it holds.

    An index is sorted within one status only, so of several statuses a page of each is taken, and these are merged.
    """
    statuses = sorted(set(asked.status))
    if len(statuses) < 2:  # noqa: PLR2004 - nothing to merge
        return _page(select(Loan), partner_id, asked, statuses)
    pages = [_page(select(Loan.id), partner_id, asked, [status]) for status in statuses]
    found = union_all(*pages).subquery()
    return LOANS.page(select(Loan).join(found, found.c.id == Loan.id), None, asked.limit)


def _page(loans: Select[Any], partner_id: str, asked: LoansQuery, statuses: Sequence[LoanStatus]) -> Select[Any]:
    loans = loans.where(Loan.partner_id == partner_id)
    if asked.user_wallet is not None:
        loans = loans.where(Loan.user_wallet == asked.user_wallet)
    if asked.oaid_token_id is not None:
        loans = loans.where(Loan.oaid_token_id == asked.oaid_token_id)
    for status in statuses:
        loans = loans.where(Loan.status == status)
    return LOANS.page(_between(loans, asked.created_from, asked.created_to), asked.cursor, asked.limit)


def _between(loans: Select[Any], since: datetime | None, until: datetime | None) -> Select[Any]:
    if since is not None:
        loans = loans.where(Loan.created_at >= since)
    return loans if until is None else loans.where(Loan.created_at < until)
