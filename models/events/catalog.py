"""The catalog: every type of event, when it is written, its payload's model, and an example (api.md, "Events and webhooks")."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from models.events.payloads import (
    LOAN_EXAMPLE,
    PROBLEM_EXAMPLE,
    EventData,
    InstallmentSnapshot,
    LoanSnapshot,
    Ping,
    RejectedBorrow,
    RejectedRepayment,
    RepaymentSnapshot,
)
from models.statuses import EventType

EXAMPLE_ID = "evt_01JV9Y6E0SVH1Q5C3M2N8P4R7T"
EXAMPLE_AT = datetime.fromisoformat("2026-01-01T00:00:12Z")


class Envelope(BaseModel):
    """What is sent, and what ``GET /v1/events`` shows: the same bytes at every try, and the same ``id``."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="also the header webhook-id; an event that comes again has the same")
    type: EventType
    version: int = Field(description="of the payload's model")
    timestamp: datetime = Field(description="when it happened")
    operation_id: str | None = None
    trace_id: str | None = None
    data: dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """``when`` is a sentence for partners; ``example`` the payload's."""

    model: type[EventData]
    when: str
    example: Mapping[str, Any]

    def envelope(self, type_: EventType) -> Envelope:
        """The example as it would be sent."""
        shown = self.model.model_validate(self.example).model_dump(mode="json", exclude_none=False)
        return Envelope(
            id=EXAMPLE_ID,
            type=type_,
            version=self.model.version,
            timestamp=EXAMPLE_AT,
            operation_id=None if type_ is EventType.PING else _operation(type_),
            trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
            data=shown,
        )


def _operation(type_: EventType) -> str:
    return "repay:acme:repay-2026-000042" if type_.startswith("repayment.") else "borrow:acme:loan~loan-2026-000042"


def _loan(**changes: Any) -> dict[str, Any]:
    return {**LOAN_EXAMPLE, **changes}


def _repayment(**changes: Any) -> dict[str, Any]:
    return {
        "repayment_id": "rep_01JV9Y6E0SVH1Q5C3M2N8P4R7T",
        "loan_id": LOAN_EXAMPLE["loan_id"],
        "partner_loan_id": LOAN_EXAMPLE["partner_loan_id"],
        "status": "APPLIED",
        "mode": "PULL",
        "payoff": False,
        "requested": "1000000000",
        "collected": "1000000000",
        "principal": "993150685",
        "interest": "6849315",
        "residue_paid_by_platform": "0",
        "refunded": "0",
        "remaining_debt": "4006849315",
        "tx_hash": "0x" + "ef" * 32,
        "created_at": "2026-01-11T00:00:00Z",
        "closed_at": "2026-01-11T00:00:12Z",
        "loan": _loan(outstanding="4006849315"),
        **changes,
    }


def _unapplied(status: str, code: str, **changes: Any) -> dict[str, Any]:
    nothing = {"principal": "0", "interest": "0", "remaining_debt": None, "loan": _loan()}
    return _repayment(status=status, problem=_problem(code), **nothing, **changes)


def _problem(code: str) -> dict[str, Any]:
    sentences: dict[str, dict[str, Any]] = {
        "insufficient_credit": PROBLEM_EXAMPLE,
        "leg_reverted": {
            "code": "leg_reverted",
            "status": 422,
            "title": "The contract call was refused",
            "detail": "The borrow leg was refused on chain: Exceeds LTV limit.",
            "figures": {},
        },
    }
    return sentences.get(code, {**sentences["leg_reverted"], "code": code})


def _installment(**changes: Any) -> dict[str, Any]:
    return {
        "installment": 1,
        "due_at": "2026-01-31T00:00:12Z",
        "installments_paid": 0,
        "missed_payments": 0,
        "debt": "5020547945",
        "block_number": 21_000_000,
        "loan": _loan(),
        **changes,
    }


_REJECTED_BORROW = {
    "partner_loan_id": "loan-2026-000042",
    "user_wallet": LOAN_EXAMPLE["user_wallet"],
    "oaid_token_id": "1",
    "amount": "5000000000",
    "loan_duration": 2592000,
    "number_of_installments": 1,
    "metadata": {"channel": "mobile"},
    "problem": PROBLEM_EXAMPLE,
}
_REJECTED_REPAYMENT = {
    "partner_loan_id": "loan-2026-000042",
    "amount": "6000000000",
    "payoff": False,
    "problem": {
        "code": "amount_above_debt",
        "status": 422,
        "title": "The amount is more than is owed",
        "detail": "5006.849315 USDC are owed; 6000 USDC were offered.",
        "figures": {"debt": "5006849315", "requested": "6000000000"},
    },
}

CATALOG: Mapping[EventType, Kind] = MappingProxyType(
    {
        EventType.LOAN_BORROWED: Kind(
            LoanSnapshot, "The payout is final at the settlement address: the loan is ACTIVE.", _loan()
        ),
        EventType.LOAN_REJECTED: Kind(
            RejectedBorrow, "The borrow was refused before anything was reserved; `problem` says why.", _REJECTED_BORROW
        ),
        EventType.LOAN_FAILED: Kind(
            LoanSnapshot,
            "The borrow was accepted and nothing was borrowed: the limits are free again.",
            _loan(
                status="FAILED",
                outstanding="0",
                settle_tx_hash=None,
                activated_at=None,
                problem=_problem("leg_reverted"),
            ),
        ),
        EventType.LOAN_REVERSED: Kind(
            LoanSnapshot,
            "The borrow could not be paid out and was undone, at the platform's cost.",
            _loan(
                status="REVERSED",
                outstanding="0",
                settle_tx_hash=None,
                activated_at=None,
                problem=_problem("settlement_blocked"),
            ),
        ),
        EventType.LOAN_DELAYED: Kind(
            LoanSnapshot,
            "The borrow waits for an operator, once for each borrow; it ends in another event.",
            _loan(
                status="UNDER_REVIEW",
                settle_tx_hash=None,
                activated_at=None,
                review_reason="settlement is not possible: USDC is paused",
            ),
        ),
        EventType.LOAN_REPAID: Kind(
            LoanSnapshot,
            "The debt on chain is zero, by a repayment of yours or by the user itself.",
            _loan(status="REPAID", outstanding="0", closed_at="2026-01-11T00:00:12Z"),
        ),
        EventType.LOAN_INSTALLMENT_DUE: Kind(
            InstallmentSnapshot, "An installment is due in three days or less, once for each.", _installment()
        ),
        EventType.LOAN_INSTALLMENT_MISSED: Kind(
            InstallmentSnapshot,
            "The time of an installment has passed and it was not paid, once for each.",
            _installment(),
        ),
        EventType.LOAN_DEFAULTED: Kind(
            LoanSnapshot, "The vault has marked the position as defaulted.", _loan(status="DEFAULTED")
        ),
        EventType.LOAN_LIQUIDATED: Kind(
            LoanSnapshot,
            "The position was liquidated; what it did not bring back is written off.",
            _loan(status="LIQUIDATED", outstanding="0", written_off="250000000", closed_at="2026-06-01T00:00:00Z"),
        ),
        EventType.REPAYMENT_APPLIED: Kind(
            RepaymentSnapshot, "The repayment is final in the pool and applied to the loan.", _repayment()
        ),
        EventType.REPAYMENT_REJECTED: Kind(
            RejectedRepayment, "The repayment was refused, and nothing was collected by it.", _REJECTED_REPAYMENT
        ),
        EventType.REPAYMENT_FAILED: Kind(
            RepaymentSnapshot,
            "The pull from the settlement address did not go through: nothing was collected.",
            _unapplied("FAILED", "leg_reverted", collected="0"),
        ),
        EventType.REPAYMENT_REFUNDED: Kind(
            RepaymentSnapshot,
            "The vault took no repayment: all that was collected was given back.",
            _unapplied("REFUNDED", "leg_reverted", refunded="1000000000"),
        ),
        EventType.REPAYMENT_DELAYED: Kind(
            RepaymentSnapshot,
            "The repayment waits for an operator, once for each repayment; it ends in another event.",
            _repayment(
                status="UNDER_REVIEW",
                principal="0",
                interest="0",
                remaining_debt=None,
                closed_at=None,
                review_reason="the refund was refused: recipient is blacklisted",
                loan=_loan(),
            ),
        ),
        EventType.PING: Kind(
            Ping,
            "You have asked for a test of an endpoint. It is sent once, to that endpoint alone.",
            {"endpoint_id": "we_01JV9Y6E0SVH1Q5C3M2N8P4R7T"},
        ),
    }
)
"""All that a partner can be told. ``incident.opened`` is for operators, and is not here."""
