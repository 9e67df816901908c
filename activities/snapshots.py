"""What an event tells: the full state of a loan or repayment at that moment, amounts as strings of base units."""

from models.errors import RefusalPayload
from models.tables.base import JsonObject
from models.tables.loans import Loan, Repayment
from models.tables.operations import Operation


def loan_snapshot(loan: Loan, problem: RefusalPayload | None = None) -> JsonObject:
    return _with_problem(
        {
            "loan_id": loan.id,
            "partner_loan_id": loan.partner_loan_id,
            "status": loan.status,
            "user_wallet": loan.user_wallet,
            "oaid_token_id": str(loan.oaid_token_id),
            "principal": str(loan.principal),
            "fee": str(loan.fee),
            "payout": str(loan.payout),
            "outstanding": str(loan.outstanding),
            "written_off": str(loan.written_off),
            "settlement_address": loan.settlement_address,
            "borrow_tx_hash": loan.borrow_tx_hash,
            "settle_tx_hash": loan.settle_tx_hash,
        },
        problem,
    )


def refused_loan_snapshot(operation: Operation, problem: RefusalPayload) -> JsonObject:
    """A refused borrow has no loan row; the request says what was asked for."""
    snapshot: JsonObject = {"partner_loan_id": operation.partner_loan_id, "request": operation.request}
    return _with_problem(snapshot, problem)


def repayment_snapshot(repayment: Repayment, loan: Loan, problem: RefusalPayload | None = None) -> JsonObject:
    return _with_problem(
        {
            "repayment_id": repayment.id,
            "loan_id": loan.id,
            "partner_loan_id": loan.partner_loan_id,
            "status": repayment.state,
            "payoff": repayment.payoff,
            "collected": str(repayment.collected),
            "principal": str(repayment.principal),
            "interest": str(repayment.interest),
            "residue_paid_by_platform": str(repayment.residue),
            "refunded": str(repayment.refunded),
            "remaining_debt": None if repayment.remaining_debt is None else str(repayment.remaining_debt),
            "loan_status": loan.status,
            "tx_hash": repayment.tx_hash,
        },
        problem,
    )


def _with_problem(snapshot: JsonObject, problem: RefusalPayload | None) -> JsonObject:
    return snapshot if problem is None else {**snapshot, "problem": problem.model_dump(mode="json")}
