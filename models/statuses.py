"""Every state that a row can be in, with the words of the design (money.md)."""

from enum import StrEnum


class OperationKind(StrEnum):
    BORROW = "BORROW"
    REPAY = "REPAY"
    SYSTEM = "SYSTEM"


class OperationState(StrEnum):
    """RECEIVED → OPEN → DONE; NOT_STARTED beside, for a request whose workflow never started."""

    RECEIVED = "RECEIVED"
    OPEN = "OPEN"
    DONE = "DONE"
    NOT_STARTED = "NOT_STARTED"


class DecisionKind(StrEnum):
    ACCEPTED = "ACCEPTED"
    REFUSED = "REFUSED"


class PartnerStatus(StrEnum):
    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"
    INACTIVE = "INACTIVE"


class PartnerTier(StrEnum):
    BASIC = "BASIC"
    PREMIUM = "PREMIUM"
    ENTERPRISE = "ENTERPRISE"


class Scope(StrEnum):
    """What an API key may be used for."""

    BORROW = "borrow"
    REPAY = "repay"
    READ = "read"


class AdminActionKind(StrEnum):
    """What an administrator may change; each change is recorded with who, when, before and after."""

    CREATE_ADMINISTRATOR = "CREATE_ADMINISTRATOR"
    DISABLE_ADMINISTRATOR = "DISABLE_ADMINISTRATOR"
    ISSUE_ADMIN_KEY = "ISSUE_ADMIN_KEY"
    REVOKE_ADMIN_KEY = "REVOKE_ADMIN_KEY"
    CREATE_PARTNER = "CREATE_PARTNER"
    CHANGE_PARTNER = "CHANGE_PARTNER"
    SUSPEND_PARTNER = "SUSPEND_PARTNER"
    REACTIVATE_PARTNER = "REACTIVATE_PARTNER"
    DEACTIVATE_PARTNER = "DEACTIVATE_PARTNER"
    ISSUE_KEY = "ISSUE_KEY"
    CHANGE_KEY = "CHANGE_KEY"
    ROTATE_KEY = "ROTATE_KEY"
    REVOKE_KEY = "REVOKE_KEY"
    RECORD_GRANT = "RECORD_GRANT"
    REVOKE_GRANT = "REVOKE_GRANT"
    REQUEST_SETTLEMENT_ADDRESS = "REQUEST_SETTLEMENT_ADDRESS"
    APPROVE_SETTLEMENT_ADDRESS = "APPROVE_SETTLEMENT_ADDRESS"
    APPLY_SETTLEMENT_ADDRESS = "APPLY_SETTLEMENT_ADDRESS"
    CANCEL_SETTLEMENT_ADDRESS = "CANCEL_SETTLEMENT_ADDRESS"
    IMPORT_PARTNER = "IMPORT_PARTNER"
    ENABLE_WEBHOOK_ENDPOINT = "ENABLE_WEBHOOK_ENDPOINT"
    DISABLE_WEBHOOK_ENDPOINT = "DISABLE_WEBHOOK_ENDPOINT"
    REDELIVER_EVENTS = "REDELIVER_EVENTS"


class SettlementChangeState(StrEnum):
    """REQUESTED → APPROVED, by another administrator → APPLIED, after the delay; or CANCELLED."""

    REQUESTED = "REQUESTED"
    APPROVED = "APPROVED"
    APPLIED = "APPLIED"
    CANCELLED = "CANCELLED"


class GrantEvidence(StrEnum):
    USER_SIGNATURE = "USER_SIGNATURE"
    ADMINISTRATOR = "ADMINISTRATOR"


class LoanStatus(StrEnum):
    PENDING = "PENDING"
    SETTLING = "SETTLING"
    ACTIVE = "ACTIVE"
    UNDER_REVIEW = "UNDER_REVIEW"
    REPAID = "REPAID"
    FAILED = "FAILED"
    REVERSED = "REVERSED"
    REJECTED = "REJECTED"
    DEFAULTED = "DEFAULTED"
    LIQUIDATED = "LIQUIDATED"


TERMINAL_LOAN_STATUSES = frozenset(
    {LoanStatus.REJECTED, LoanStatus.FAILED, LoanStatus.REVERSED, LoanStatus.REPAID, LoanStatus.LIQUIDATED}
)
"""A loan in one of these frees its position for another loan (money.md section 4)."""

RETRIABLE_LOAN_STATUSES = frozenset({LoanStatus.REJECTED, LoanStatus.FAILED, LoanStatus.REVERSED})
"""A loan in one of these frees its ``partner_loan_id`` for another try (api.md, "Idempotency")."""


class ReservationState(StrEnum):
    """RESERVED → DRAWN or RELEASED; DRAWN → RELEASED when an unwind has undone the borrow."""

    RESERVED = "RESERVED"
    DRAWN = "DRAWN"
    RELEASED = "RELEASED"


class RepaymentMode(StrEnum):
    PULL = "PULL"
    PROOF = "PROOF"


class RepaymentState(StrEnum):
    COLLECTING = "COLLECTING"
    REPAYING = "REPAYING"
    UNDER_REVIEW = "UNDER_REVIEW"
    APPLIED = "APPLIED"
    REJECTED = "REJECTED"
    FAILED = "FAILED"
    REFUNDED = "REFUNDED"


class InboundState(StrEnum):
    """What became of USDC that somebody sent to the platform wallet.

    REFUNDING: a system operation is giving it back by itself; where that fails the transfer is UNCLAIMED again.
    """

    UNCLAIMED = "UNCLAIMED"
    CLAIMED = "CLAIMED"
    TREASURY = "TREASURY"
    REFUNDING = "REFUNDING"
    REFUNDED = "REFUNDED"


class OutsideKind(StrEnum):
    """What happened to a position on chain that the engine had no hand in."""

    BORROW = "BORROW"
    REPAYMENT = "REPAYMENT"
    DEFAULT = "DEFAULT"
    LIQUIDATION = "LIQUIDATION"


class TransactionState(StrEnum):
    """The states of one generation of a leg (money.md section 2)."""

    QUEUED = "QUEUED"
    PREPARED = "PREPARED"
    BROADCAST = "BROADCAST"
    MINED = "MINED"
    HELD = "HELD"
    FINAL_OK = "FINAL_OK"
    FINAL_REVERTED = "FINAL_REVERTED"
    FINAL_CANCELLED = "FINAL_CANCELLED"
    REFUSED = "REFUSED"
    ABANDONED = "ABANDONED"


UNMINED_STATES = frozenset({TransactionState.PREPARED, TransactionState.BROADCAST})
"""A nonce is taken, and no block is known that used it."""

IN_FLIGHT_STATES = UNMINED_STATES | {TransactionState.MINED}
"""A nonce is taken and the outcome is not yet known."""

LIVE_STATES = IN_FLIGHT_STATES | {TransactionState.QUEUED, TransactionState.HELD}
"""The leg may still have its effect, so no other generation of it may exist."""

WITHOUT_EFFECT_STATES = frozenset(
    {
        TransactionState.FINAL_REVERTED,
        TransactionState.FINAL_CANCELLED,
        TransactionState.REFUSED,
        TransactionState.ABANDONED,
    }
)
"""It is certain that this generation moved nothing and never will."""


class AttemptKind(StrEnum):
    PAYLOAD = "PAYLOAD"
    CANCEL = "CANCEL"


class LegName(StrEnum):
    """One on-chain effect of an operation; residues are numbered, ``residue-1`` being the first."""

    BORROW = "borrow"
    SETTLE = "settle"
    UNWIND = "unwind"
    COLLECT = "collect"
    REPAY = "repay"
    RESIDUE = "residue"
    REFUND = "refund"
    APPROVE = "approve"


class LedgerPhase(StrEnum):
    """A PENDING row is named by exactly one POSTED or VOIDED row; a SINGLE row needs no counterpart."""

    PENDING = "PENDING"
    POSTED = "POSTED"
    VOIDED = "VOIDED"
    SINGLE = "SINGLE"


class LedgerKind(StrEnum):
    """Why USDC moved."""

    BORROW = "BORROW"
    PAYOUT = "PAYOUT"
    FEE = "FEE"
    UNWIND = "UNWIND"
    INBOUND = "INBOUND"
    TREASURY = "TREASURY"
    COLLECT = "COLLECT"
    CLAIM = "CLAIM"
    REPAY = "REPAY"
    RESIDUE = "RESIDUE"
    REFUND = "REFUND"
    SUSPENSE = "SUSPENSE"
    SURPLUS = "SURPLUS"


class EventType(StrEnum):
    LOAN_BORROWED = "loan.borrowed"
    LOAN_REJECTED = "loan.rejected"
    LOAN_FAILED = "loan.failed"
    LOAN_REVERSED = "loan.reversed"
    LOAN_DELAYED = "loan.delayed"
    LOAN_REPAID = "loan.repaid"
    LOAN_DEFAULTED = "loan.defaulted"
    LOAN_LIQUIDATED = "loan.liquidated"
    REPAYMENT_APPLIED = "repayment.applied"
    REPAYMENT_REJECTED = "repayment.rejected"
    REPAYMENT_FAILED = "repayment.failed"
    REPAYMENT_REFUNDED = "repayment.refunded"
    REPAYMENT_DELAYED = "repayment.delayed"
    LOAN_INSTALLMENT_DUE = "loan.installment_due"
    LOAN_INSTALLMENT_MISSED = "loan.installment_missed"
    PING = "ping"
    """A partner tries an endpoint; it tells of nothing."""
    INCIDENT_OPENED = "incident.opened"
    """For operators: it belongs to no partner and no operation."""


INSTALLMENT_EVENTS = frozenset({EventType.LOAN_INSTALLMENT_DUE, EventType.LOAN_INSTALLMENT_MISSED})
"""An operation has one of each for each of its installments, and of every other type at most one."""

EVENTS_WITHOUT_OPERATION = frozenset({EventType.INCIDENT_OPENED, EventType.PING})

TERMINAL_EVENTS = (
    frozenset(EventType)
    - INSTALLMENT_EVENTS
    - {
        EventType.LOAN_DELAYED,
        EventType.LOAN_REPAID,
        EventType.LOAN_DEFAULTED,
        EventType.LOAN_LIQUIDATED,
        EventType.REPAYMENT_DELAYED,
        EventType.PING,
        EventType.INCIDENT_OPENED,
    }
)
"""Each finished operation has exactly one of these (invariant 7)."""


class EndpointState(StrEnum):
    ENABLED = "ENABLED"
    DISABLED = "DISABLED"
    DELETED = "DELETED"


class DisabledBecause(StrEnum):
    """Why nothing is sent to a webhook endpoint any more."""

    PARTNER = "PARTNER"
    ADMINISTRATOR = "ADMINISTRATOR"
    GONE = "GONE"
    """It answered 410."""
    FAILING = "FAILING"
    """Nothing it was sent succeeded for days."""


class DeliveryState(StrEnum):
    """PENDING → RUNNING, once its workflow has started → DELIVERED, FAILED or STOPPED; a redelivery makes it PENDING again."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"
    """Every try of the schedule has failed."""
    STOPPED = "STOPPED"
    """Its endpoint was disabled or deleted."""


OPEN_DELIVERIES = frozenset({DeliveryState.PENDING, DeliveryState.RUNNING})


class OperatorActionKind(StrEnum):
    """What a person may do to the engine; each is recorded with who and why."""

    RETRY_STEP = "RETRY_STEP"
    CANCEL_IF_SAFE = "CANCEL_IF_SAFE"
    RESOLVE_HOLD = "RESOLVE_HOLD"
    PAUSE_SIGNER = "PAUSE_SIGNER"
    RESUME_SIGNER = "RESUME_SIGNER"
    CLOSE_INCIDENT = "CLOSE_INCIDENT"


class IncidentKind(StrEnum):
    """What a person must look at, although no single operation may be waiting for it."""

    INVARIANT_BROKEN = "INVARIANT_BROKEN"
    SURPLUS = "SURPLUS"
    FEE_CAP_REACHED = "FEE_CAP_REACHED"
    GAS_LOW = "GAS_LOW"
    LEG_HELD = "LEG_HELD"
    NONCE_STOLEN = "NONCE_STOLEN"
    SENDS_REFUSED = "SENDS_REFUSED"
    APPROVAL_REFUSED = "APPROVAL_REFUSED"
    FINAL_TRANSFER_MOVED = "FINAL_TRANSFER_MOVED"
    REFUND_REFUSED = "REFUND_REFUSED"
    RATE_LIMITS_LOCAL = "RATE_LIMITS_LOCAL"
    """The store that the API processes share for rate limits is away: each counts by itself."""
    WEBHOOK_ENDPOINT_FAILING = "WEBHOOK_ENDPOINT_FAILING"
    """Nothing that was sent to a partner's endpoint succeeded for days, so it was disabled."""
    UPKEEP_FAILED = "UPKEEP_FAILED"
    """A part of the daily upkeep of the tables was not done."""


class Bucket(StrEnum):
    """A length of time that figures are summed over, in UTC; a week begins on Monday."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Latency(StrEnum):
    """What is measured of an operation, from the moment it was received."""

    DECISION = "decision"
    COMPLETION = "completion"
