"""Borrowing, what a borrow would be answered, and repaying."""

from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Response, status

from api.answers import AnswerDecision, BorrowAnswer, PreflightAnswer, QuoteAnswer, RepayAnswer
from api.auth import Borrower, Caller, Repayer
from api.bodies import BorrowBody, RepayBody
from api.deps import (
    IdempotencyKey,
    OptionalIdempotencyKey,
    PartnerLoanId,
    ReceivedBody,
    ResourcesDep,
    TraceDep,
)
from api.docs import ALWAYS, BODY, BORROW, KEYED, MONEY, ON_CHAIN, REPAY, Responses, problems
from api.gate import PartnerRoute
from api.idempotency import Json, MoneyRequest, Recorded
from api.intake import decide
from api.preflight import preflight
from api.problems import REPLAYED
from api.trace import Trace
from models.ids import defaulted_key, new_id
from models.messages.borrow import BorrowDecision
from models.messages.repay import RepayDecision
from models.statuses import OperationKind

router = APIRouter(prefix="/v1/loans", tags=["loans"], route_class=PartnerRoute)

_TAKEN: dict[str, Any] = {
    "description": "Recorded and started; accepted with its terms, or pending",
    "headers": {
        "Location": {"description": "the operation", "schema": {"type": "string"}},
        REPLAYED: {"description": "true where an earlier request was this one", "schema": {"type": "string"}},
    },
}
_BORROWING: Responses = {202: _TAKEN, **problems(*KEYED, *BODY, *MONEY, *BORROW, *ALWAYS)}
_REPAYING: Responses = {202: _TAKEN, **problems(*KEYED, *BODY, *MONEY, *REPAY, *ALWAYS)}


@router.post(
    "",
    operation_id="borrow",
    summary="Borrow on a user's credit line",
    status_code=status.HTTP_202_ACCEPTED,
    response_model_exclude_none=True,
    responses=_BORROWING,
)
async def borrow(
    *,
    body: BorrowBody,
    received: ReceivedBody,
    caller: Borrower,
    resources: ResourcesDep,
    trace: TraceDep,
    response: Response,
    idempotency_key: OptionalIdempotencyKey = None,
) -> BorrowAnswer:
    """Decides within seconds; the money moves after the answer. Look at the operation for what became of it."""
    asked = _borrow_request(body, received, caller, idempotency_key, trace)
    known = await decide(resources, asked)
    _tell_where(response, known)
    return _borrow_answer(known)


@router.post(
    "/preflight",
    operation_id="preflightBorrow",
    summary="What a borrow would be answered, with all that stands against it",
    response_model_exclude_none=True,
    responses=problems(*KEYED, *BODY, *ON_CHAIN, *ALWAYS),
)
async def preflight_borrow(
    *,
    body: BorrowBody,
    received: ReceivedBody,
    caller: Borrower,
    resources: ResourcesDep,
    trace: TraceDep,
    idempotency_key: OptionalIdempotencyKey = None,
) -> PreflightAnswer:
    """The same body and headers as a borrow. Nothing is reserved or stored, and the answer is 200 whatever it says."""
    return await preflight(resources, _borrow_request(body, received, caller, idempotency_key, trace))


@router.post(
    "/{partner_loan_id}/repayments",
    operation_id="repay",
    summary="Repay a loan, in part or whole",
    status_code=status.HTTP_202_ACCEPTED,
    response_model_exclude_none=True,
    responses=_REPAYING,
)
async def repay(
    *,
    partner_loan_id: PartnerLoanId,
    body: RepayBody,
    received: ReceivedBody,
    caller: Repayer,
    idempotency_key: IdempotencyKey,
    resources: ResourcesDep,
    trace: TraceDep,
    response: Response,
) -> RepayAnswer:
    """Pulls from the settlement address, or takes the transfer that ``transfer_tx_hash`` names."""
    asked = MoneyRequest(
        kind=OperationKind.REPAY,
        caller=caller,
        key=idempotency_key,
        partner_loan_id=partner_loan_id,
        path={"partner_loan_id": partner_loan_id},
        body=received,
        request=body.request(partner_loan_id),
        loan_id=None,
        trace_id=trace.id,
        traceparent=trace.traceparent,
    )
    known = await decide(resources, asked)
    _tell_where(response, known)
    return _repay_answer(known)


def _borrow_request(body: BorrowBody, received: Json, caller: Caller, key: str | None, trace: Trace) -> MoneyRequest:
    return MoneyRequest(
        kind=OperationKind.BORROW,
        caller=caller,
        key=defaulted_key(body.partner_loan_id) if key is None else key,
        partner_loan_id=body.partner_loan_id,
        path={},
        body=received,
        request=body.request(),
        loan_id=new_id("loan"),
        trace_id=trace.id,
        traceparent=trace.traceparent,
    )


def _tell_where(response: Response, known: Recorded) -> None:
    response.headers["Location"] = f"/v1/operations/{quote(known.operation_id, safe=':~')}"
    if known.replayed:
        response.headers[REPLAYED] = "true"


def _borrow_answer(known: Recorded) -> BorrowAnswer:
    terms = known.decision.terms if isinstance(known.decision, BorrowDecision) else None
    return BorrowAnswer(
        operation_id=known.operation_id,
        loan_id=known.loan_id or "",
        decision=AnswerDecision.PENDING if terms is None else AnswerDecision.ACCEPTED,
        quote=None if terms is None else QuoteAnswer.of(terms.quote),
    )


def _repay_answer(known: Recorded) -> RepayAnswer:
    terms = known.decision.terms if isinstance(known.decision, RepayDecision) else None
    if terms is None:
        return RepayAnswer(operation_id=known.operation_id, decision=AnswerDecision.PENDING)
    return RepayAnswer(
        operation_id=known.operation_id,
        decision=AnswerDecision.ACCEPTED,
        loan_id=terms.loan_id,
        repayment_id=terms.repayment_id,
        amount=None if terms.amount is None else str(terms.amount),
    )
