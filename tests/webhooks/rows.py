"""What a partner is told of each row of the two tables of money.md, and the ways in which the tests come to it.

The rows are those of ``tests/workflows/rows.py``. A row that says that nobody is told yet is walked on to where somebody is.
``BESIDE`` is what becomes of a loan outside the engine and by the clock: told by events of the borrow that made it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from models.statuses import EventType
from tests.replay.paths import PATHS, Path, Walk
from tests.webhooks.walks import beside, borrows, repayments

REJECTED, FAILED = EventType.LOAN_REJECTED, EventType.LOAN_FAILED
DELAYED, REVERSED = EventType.LOAN_DELAYED, EventType.LOAN_REVERSED
BORROWED, REPAID = EventType.LOAN_BORROWED, EventType.LOAN_REPAID
DEFAULTED, LIQUIDATED = EventType.LOAN_DEFAULTED, EventType.LOAN_LIQUIDATED
DUE, MISSED = EventType.LOAN_INSTALLMENT_DUE, EventType.LOAN_INSTALLMENT_MISSED
REPAYMENT_REJECTED, REPAYMENT_FAILED = EventType.REPAYMENT_REJECTED, EventType.REPAYMENT_FAILED
REPAYMENT_DELAYED, REFUNDED = EventType.REPAYMENT_DELAYED, EventType.REPAYMENT_REFUNDED
APPLIED = EventType.REPAYMENT_APPLIED


@dataclass(frozen=True)
class Way:
    """A walk, and every event of the operation that it returns. The receiver fails ``failures`` times at first.

    ``perhaps`` is told as well where the chain's clock has it so, such as where no unit of interest came between two legs.
    """

    name: str
    path: Path
    told: Sequence[EventType]
    failures: int = 0
    perhaps: Sequence[EventType] = ()


def saved(name: str, *told: EventType, failures: int = 0) -> Way:
    """A way of which a history is kept."""
    return Way(name, PATHS[name], told, failures)


def way(walk: Walk, *told: EventType, **settings: Any) -> Way:
    return Way(walk.__name__, Path(walk, lane_runs=False, settings=settings), told)


BORROW: Mapping[str, Sequence[Way]] = MappingProxyType(
    {
        "key, scope, grant, credit line, limits, fee": [
            saved("borrow-refused", REJECTED),
            way(borrows.borrow_without_a_grant, REJECTED),
            way(borrows.borrow_above_the_limit, REJECTED),
        ],
        "partner suspended, key or grant revoked, cancel asked before PREPARED": [
            saved("borrow-given-up", FAILED),
            saved("borrow-cancelled", FAILED),
            way(borrows.borrow_of_a_suspended_partner, FAILED),
            way(borrows.borrow_with_a_revoked_key, FAILED),
            way(borrows.borrow_on_a_revoked_grant, FAILED),
        ],
        "simulation of `borrow` reverts": [saved("borrow-failed", FAILED)],
        "`borrow` sent, outcome unknown": [way(borrows.borrow_unknown, BORROWED)],
        "`borrow` FINAL_REVERTED / CANCELLED": [
            saved("borrow-reverted", FAILED),
            way(borrows.borrow_cancelled_on_chain, FAILED),
        ],
        "`borrow` HELD": [way(borrows.borrow_held, DELAYED, BORROWED)],
        "recording a FINAL borrow": [
            way(borrows.borrow_recorded_late, BORROWED),
            saved("borrow-run-again", BORROWED),
        ],
        "`settle` can still succeed": [way(borrows.borrow_settled_late, BORROWED)],
        "settle deadline passed": [
            saved("borrow-reviewed", DELAYED, BORROWED),
            saved("borrow-undone-by-an-operator", DELAYED, REVERSED),
        ],
        "`settle` cannot succeed": [saved("borrow-reversed", REVERSED)],
        "`unwind` fails too": [saved("borrow-unwind-retried", DELAYED, REVERSED)],
        "recording after a FINAL settle": [
            saved("borrow-active", BORROWED),
            way(borrows.payout_recorded_late, BORROWED),
        ],
        "webhook": [saved("borrow-active", BORROWED, failures=1)],
    }
)

REPAY: Mapping[str, Sequence[Way]] = MappingProxyType(
    {
        "validation, amount above the debt, no funding (pull)": [
            saved("repay-refused", REPAYMENT_REJECTED),
            way(repayments.repay_without_funding, REPAYMENT_REJECTED),
        ],
        "the same with proof": [saved("repay-proof-rejected", REPAYMENT_REJECTED)],
        "proof not found": [saved("repay-proof-not-found", REPAYMENT_REJECTED)],
        "any leg HELD, or past its deadline": [
            way(repayments.collect_held, REPAYMENT_DELAYED, APPLIED),
            way(repayments.repay_held, REPAYMENT_DELAYED, APPLIED),
            way(repayments.residue_held, REPAYMENT_DELAYED, APPLIED, REPAID),
            way(repayments.refund_held, REPAYMENT_DELAYED, REFUNDED),
            way(repayments.repay_late, REPAYMENT_DELAYED, APPLIED, leg_patience=timedelta(seconds=2)),
        ],
        "`collect` reverts": [
            saved("repay-collect-failed", REPAYMENT_FAILED),
            way(repayments.repay_collect_reverted, REPAYMENT_FAILED),
            way(repayments.repay_given_up, REPAYMENT_FAILED),
        ],
        "`collect` unknown": [way(repayments.repay_collect_unknown, APPLIED)],
        "`repay` reverts after collection": [saved("repay-refunded", REFUNDED)],
        "debt fell meanwhile": [
            replace(way(repayments.repay_while_the_user_repays_a_part, APPLIED), perhaps=(REPAID,)),
            way(repayments.repay_while_the_user_repays_all, REFUNDED, REPAID),
            way(repayments.repay_while_the_loan_is_liquidated, REFUNDED),
        ],
        "`refund` fails": [saved("repay-refund-retried", REPAYMENT_DELAYED, REFUNDED)],
        "all good": [
            saved("repay-applied", APPLIED),
            saved("repay-by-proof", APPLIED),
            saved("repay-run-again", APPLIED),
            saved("repay-payoff", APPLIED, REPAID),
            saved("repay-payoff-by-proof", APPLIED, REPAID),
        ],
    }
)

BESIDE: Mapping[str, Sequence[Way]] = MappingProxyType(
    {
        "the user repays directly": [way(beside.loan_repaid_by_its_user, BORROWED, REPAID)],
        "default": [way(beside.loan_defaulted, BORROWED, DEFAULTED)],
        "liquidation": [way(beside.loan_liquidated, BORROWED, DEFAULTED, LIQUIDATED)],
        "installments": [way(beside.installment_due_and_missed, BORROWED, DUE, MISSED)],
    }
)
