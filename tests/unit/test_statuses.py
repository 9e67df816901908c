"""The sets of states leave nothing out and count nothing twice."""

from models.statuses import (
    IN_FLIGHT_STATES,
    LIVE_STATES,
    RETRIABLE_LOAN_STATUSES,
    TERMINAL_EVENTS,
    TERMINAL_LOAN_STATUSES,
    WITHOUT_EFFECT_STATES,
    EventType,
    LoanStatus,
    TransactionState,
)


def test_a_leg_is_alive_or_without_effect_or_succeeded() -> None:
    """Every state of a leg is in exactly one of the three, so that no state permits a release by oversight."""
    succeeded = {TransactionState.FINAL_OK}
    assert LIVE_STATES | WITHOUT_EFFECT_STATES | succeeded == set(TransactionState)
    assert len(LIVE_STATES) + len(WITHOUT_EFFECT_STATES) + len(succeeded) == len(TransactionState)


def test_what_is_in_flight_is_alive() -> None:
    """A leg with a nonce and no outcome may still have its effect, and so may one that waits or is held."""
    assert {TransactionState.QUEUED, TransactionState.HELD} == LIVE_STATES - IN_FLIGHT_STATES


def test_a_loan_that_may_be_tried_again_is_over() -> None:
    """A name is free again only where the position is free, too; a loan that was repaid keeps its name."""
    assert RETRIABLE_LOAN_STATUSES < TERMINAL_LOAN_STATUSES
    assert {LoanStatus.REPAID, LoanStatus.LIQUIDATED} == TERMINAL_LOAN_STATUSES - RETRIABLE_LOAN_STATUSES


def test_a_loan_that_owes_is_not_over() -> None:
    """Whatever may have debt on chain, or get it, holds its position."""
    owing = {
        LoanStatus.PENDING,
        LoanStatus.SETTLING,
        LoanStatus.ACTIVE,
        LoanStatus.UNDER_REVIEW,
        LoanStatus.DEFAULTED,
    }
    assert owing == set(LoanStatus) - TERMINAL_LOAN_STATUSES


def test_which_events_end_an_operation() -> None:
    """What is told of a delay, of a loan or of an incident ends no operation; each end has an event of its own."""
    assert set(EventType) - TERMINAL_EVENTS == {
        EventType.LOAN_DELAYED,
        EventType.LOAN_REPAID,
        EventType.LOAN_DEFAULTED,
        EventType.LOAN_LIQUIDATED,
        EventType.REPAYMENT_DELAYED,
        EventType.LOAN_INSTALLMENT_DUE,
        EventType.LOAN_INSTALLMENT_MISSED,
        EventType.PING,
        EventType.INCIDENT_OPENED,
    }
