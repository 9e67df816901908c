"""Every metric of the engine, declared once: instruments, rules, dashboards and docs/metrics.md are made from, or checked by, this list.

Amounts are USDC base units. Prometheus keeps numbers in 53 bits, so they are exact up to nine billion USDC.
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


class Teller(StrEnum):
    """Which processes tell it."""

    EVERY = "every process"
    API = "each API process"
    LOANS = "each worker of the role loans"
    COLLECTOR = "one worker of the role loans, from rows"
    LANE = "each worker of the role lane"


@dataclass(frozen=True)
class Family:
    """One metric. ``unit`` is what its number counts; ``edges`` are the upper ends of a histogram's buckets, in that unit."""

    name: str
    kind: Kind
    teller: Teller
    unit: str
    meaning: str
    labels: tuple[str, ...] = ()
    edges: tuple[str, ...] = ()

    @property
    def samples(self) -> tuple[str, ...]:
        """The names under which Prometheus stores it."""
        if self.kind is Kind.HISTOGRAM:
            return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))
        return (self.name,)


def _gauge(name: str, teller: Teller, unit: str, meaning: str, *labels: str) -> Family:
    return Family(name, Kind.GAUGE, teller, unit, meaning, labels)


def _counter(name: str, teller: Teller, unit: str, meaning: str, *labels: str) -> Family:
    return Family(name, Kind.COUNTER, teller, unit, meaning, labels)


def _histogram(name: str, teller: Teller, unit: str, meaning: str, edges: str, *labels: str) -> Family:
    return Family(name, Kind.HISTOGRAM, teller, unit, meaning, labels, tuple(edges.split()))


_REQUEST_EDGES = "0.005 0.01 0.025 0.05 0.1 0.25 0.5 1.0 2.5 5.0 10.0 30.0"
_DECISION_EDGES = "0.025 0.05 0.1 0.25 0.5 1.0 2.0 4.0 8.0 15.0 60.0"
_LONG_EDGES = "1.0 2.5 5.0 10.0 30.0 60.0 120.0 300.0 900.0 3600.0 21600.0 86400.0"

INFO = _gauge("loan_engine_info", Teller.EVERY, "always 1", "Which service this process is.", "service")

HTTP_REQUESTS = _counter(
    "loan_engine_http_requests_total",
    Teller.API,
    "requests",
    "Requests that were answered, by the route's template, the method and the class of the status.",
    "route",
    "method",
    "status",
)
HTTP_SECONDS = _histogram(
    "loan_engine_http_request_seconds",
    Teller.API,
    "seconds",
    "From the request's first byte to the last one of its answer; a long poll counts in full.",
    _REQUEST_EDGES,
    "route",
    "method",
)
RATE_LIMITS_LOCAL = _gauge(
    "loan_engine_rate_limits_local",
    Teller.API,
    "0 or 1",
    "1 while Valkey is configured and this process counts requests by itself.",
)

POSTGRESQL_UP = _gauge("loan_engine_postgresql_up", Teller.LOANS, "0 or 1", "Whether PostgreSQL answered this worker.")
TEMPORAL_UP = _gauge("loan_engine_temporal_up", Teller.LOANS, "0 or 1", "Whether Temporal says that it serves.")
NODE_UP = _gauge("loan_engine_node_up", Teller.LOANS, "0 or 1", "Whether the chain's node answered this worker.")
STATE_COLLECTOR = _gauge(
    "loan_engine_state_collector", Teller.LOANS, "0 or 1", "1 on the worker that tells the figures read from rows."
)
COLLECTION_SECONDS = _gauge(
    "loan_engine_state_collection_seconds", Teller.COLLECTOR, "seconds", "How long the rows took to read."
)

GAS_BALANCE = _gauge(
    "loan_engine_gas_balance_wei",
    Teller.LOANS,
    "wei",
    "The platform wallet's gas token, at the newest block.",
    "signer",
)
GAS_RESERVE = _gauge(
    "loan_engine_gas_reserve_wei", Teller.LOANS, "wei", "What is kept of it for bumps and cancellations."
)
GAS_PRICE = _gauge("loan_engine_gas_price_wei", Teller.LOANS, "wei per gas", "Base fee and tip of the next block.")
FEE_CAP = _gauge("loan_engine_fee_cap_wei", Teller.LOANS, "wei per gas", "The most that a transaction may offer.")

LANE_ELECTED = _gauge("loan_engine_lane_elected", Teller.LANE, "0 or 1", "1 on the lane that works; others stand by.")
SIGNER_PAUSED = _gauge(
    "loan_engine_signer_paused", Teller.COLLECTOR, "0 or 1", "Whether the signer takes no new nonce.", "signer"
)
LANE_BEAT_AGE = _gauge(
    "loan_engine_lane_beat_age_seconds",
    Teller.COLLECTOR,
    "seconds",
    "Since the elected lane last showed that it is alive, by PostgreSQL's clock. It beats each second.",
    "signer",
)
NONCES_IN_FLIGHT = _gauge(
    "loan_engine_nonces_in_flight",
    Teller.COLLECTOR,
    "nonces",
    "Given out and not yet used on chain. Below zero: the chain has used nonces that the lane never gave out.",
    "signer",
)
NONCES_MISSING = _gauge(
    "loan_engine_nonces_missing",
    Teller.COLLECTOR,
    "nonces",
    "Nonces that the chain still waits for and no leg holds, and those that it has used and the lane never gave out.",
    "signer",
)

LEGS = _gauge("loan_engine_legs", Teller.COLLECTOR, "legs", "Legs whose outcome is not certain, by state.", "state")
LEG_OLDEST = _gauge(
    "loan_engine_leg_oldest_seconds", Teller.COLLECTOR, "seconds", "Since the oldest of them was queued.", "state"
)
LEG_SECONDS = _histogram(
    "loan_engine_leg_seconds",
    Teller.COLLECTOR,
    "seconds",
    "From queued to final, of legs that became final while this worker collected.",
    _LONG_EDGES,
    "leg",
    "outcome",
)
LEG_ATTEMPTS = _histogram(
    "loan_engine_leg_attempts",
    Teller.COLLECTOR,
    "attempts",
    "Signed transactions that one leg needed at its nonce: the first, bumps and cancellations.",
    "1.0 2.0 3.0 5.0 8.0 13.0",
    "leg",
)

INCIDENTS = _gauge(
    "loan_engine_incidents_open", Teller.COLLECTOR, "incidents", "Incidents that are open, by kind.", "kind"
)
AUDIT_BREACHES = _gauge(
    "loan_engine_audit_breaches", Teller.COLLECTOR, "breaches", "What two audits found broken and is not closed."
)

OPERATIONS_OPEN = _gauge(
    "loan_engine_operations_open",
    Teller.COLLECTOR,
    "operations",
    "Operations that are not done, by kind and state; RECEIVED has not begun.",
    "kind",
    "state",
)
UNDER_REVIEW = _gauge(
    "loan_engine_operations_under_review", Teller.COLLECTOR, "operations", "Operations that wait for a person.", "kind"
)
REVIEW_OLDEST = _gauge(
    "loan_engine_operation_review_oldest_seconds",
    Teller.COLLECTOR,
    "seconds",
    "Since the partner of the one that waits longest was told of the delay.",
    "kind",
)
STALLED_OLDEST = _gauge(
    "loan_engine_operation_stalled_oldest_seconds",
    Teller.COLLECTOR,
    "seconds",
    "Of open operations that wait for no person: the longest time for which no row of one has moved on.",
    "kind",
)

WEBHOOKS_OPEN = _gauge(
    "loan_engine_webhook_deliveries",
    Teller.COLLECTOR,
    "deliveries",
    "Deliveries of events that are not over: PENDING waits for its turn, RUNNING is being tried.",
    "state",
)
WEBHOOK_OLDEST = _gauge(
    "loan_engine_webhook_oldest_seconds",
    Teller.COLLECTOR,
    "seconds",
    "Since the oldest of them was asked for.",
    "state",
)
EVENTS_WAITING = _gauge(
    "loan_engine_events_waiting",
    Teller.COLLECTOR,
    "events",
    "Events of partners that no dispatcher has come upon yet, so that it is not known whose deliveries they make.",
)
EVENT_OLDEST = _gauge(
    "loan_engine_event_oldest_seconds", Teller.COLLECTOR, "seconds", "Since the oldest of them was written."
)
WEBHOOK_TRIES = _counter(
    "loan_engine_webhook_tries_total",
    Teller.COLLECTOR,
    "tries",
    "Requests to partners since this worker began to collect, by the class of the answer's status, or none.",
    "outcome",
)

DECISIONS = _counter(
    "loan_engine_decisions_total",
    Teller.COLLECTOR,
    "decisions",
    "Decisions by kind; the outcome is accepted, or the code of the refusal.",
    "kind",
    "outcome",
)
DECISION_SECONDS = _histogram(
    "loan_engine_decision_seconds",
    Teller.COLLECTOR,
    "seconds",
    "From received to decided, of all operations ever. Each duration is told too large by less than a sixteenth.",
    _DECISION_EDGES,
    "kind",
)
COMPLETION_SECONDS = _histogram(
    "loan_engine_completion_seconds",
    Teller.COLLECTOR,
    "seconds",
    "From received to done, of all operations that were ever accepted, told like decisions.",
    _LONG_EDGES,
    "kind",
)

LOANS = _gauge(
    "loan_engine_loans",
    Teller.COLLECTOR,
    "loans",
    "Loans by status. Those that are over are counted every twentieth time only.",
    "status",
)
BORROWED = _counter(
    "loan_engine_usdc_borrowed_base_units_total",
    Teller.COLLECTOR,
    "base units",
    "Principal of loans that became active.",
    "partner",
)
FEES = _counter(
    "loan_engine_usdc_fees_base_units_total", Teller.COLLECTOR, "base units", "Platform fees of these loans.", "partner"
)
REPAID = _counter(
    "loan_engine_usdc_repaid_base_units_total",
    Teller.COLLECTOR,
    "base units",
    "Repayments that were applied; the part is principal or interest.",
    "partner",
    "part",
)
OUTSTANDING = _gauge(
    "loan_engine_usdc_outstanding_base_units", Teller.COLLECTOR, "base units", "Principal owed now.", "partner"
)
LIMIT = _gauge(
    "loan_engine_limit_base_units",
    Teller.COLLECTOR,
    "base units",
    "What a partner may borrow: daily, of one UTC day, or total, at any time.",
    "partner",
    "limit",
)
LIMIT_USED = _gauge(
    "loan_engine_limit_used_base_units",
    Teller.COLLECTOR,
    "base units",
    "What of that is borrowed or reserved.",
    "partner",
    "limit",
)

CATALOGUE = tuple(each for each in list(vars().values()) if isinstance(each, Family))
"""In the order above."""
