"""What administrators' figures are added up from: sums by day, week and month, and the changes that wait to join them.

Triggers (migration 0003) insert a change in the transaction that changes a loan, a repayment or an operation; the upkeep
moves changes into the sums (activities/rollups.py). A figure is always both together, so it is exact at every moment, and a
transaction that moves money locks no sum (ADR 0022). No row here has a foreign key, and changes have no constraint but their
number: nothing about a figure may ever refuse a movement of money. Amounts are base units.
"""

from datetime import date

from sqlalchemy import BigInteger, Date, Identity
from sqlalchemy.orm import Mapped, mapped_column

from models.statuses import Bucket, Latency, OperationKind
from models.tables.base import Base, Words, in_words


class _Flow:
    """What one partner's loans and repayments did; ``outstanding`` is by how much the principal owed grew."""

    borrowed: Mapped[int] = mapped_column(server_default="0")
    fees: Mapped[int] = mapped_column(server_default="0")
    loans: Mapped[int] = mapped_column(server_default="0")
    outstanding: Mapped[int] = mapped_column(server_default="0")
    repaid_principal: Mapped[int] = mapped_column(server_default="0")
    repaid_interest: Mapped[int] = mapped_column(server_default="0")
    repayments: Mapped[int] = mapped_column(server_default="0")
    loans_failed: Mapped[int] = mapped_column(server_default="0")
    failed_principal: Mapped[int] = mapped_column(server_default="0")
    loans_reversed: Mapped[int] = mapped_column(server_default="0")
    reversed_principal: Mapped[int] = mapped_column(server_default="0")
    repayments_failed: Mapped[int] = mapped_column(server_default="0")
    repayments_rejected: Mapped[int] = mapped_column(server_default="0")
    repayments_refunded: Mapped[int] = mapped_column(server_default="0")


FLOWS = (
    "borrowed",
    "fees",
    "loans",
    "outstanding",
    "repaid_principal",
    "repaid_interest",
    "repayments",
    "loans_failed",
    "failed_principal",
    "loans_reversed",
    "reversed_principal",
    "repayments_failed",
    "repayments_rejected",
    "repayments_refunded",
)
"""The columns that are added up."""

ALL_PARTNERS = "*"
"""In place of a partner's id, which it cannot be: the sum over all of them, which is asked for most."""


class _Change:
    """It waits under a number of its own; ``day`` is the UTC day that it belongs to, which may be long past."""

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    day: Mapped[date] = mapped_column(Date)


class _Sum:
    """A day is in three buckets, one of each length; ``start`` is the bucket's first day."""

    bucket: Mapped[Bucket] = mapped_column(Words(Bucket), primary_key=True)
    start: Mapped[date] = mapped_column(Date, primary_key=True)


class FlowChange(_Change, _Flow, Base):
    __tablename__ = "analytics_flow_changes"

    partner_id: Mapped[str]


class FlowSum(_Sum, _Flow, Base):
    __tablename__ = "analytics_flow_sums"
    __table_args__ = (in_words("bucket", Bucket),)

    partner_id: Mapped[str] = mapped_column(primary_key=True)


class RefusalChange(_Change, Base):
    __tablename__ = "analytics_refusal_changes"

    partner_id: Mapped[str]
    kind: Mapped[OperationKind] = mapped_column(Words(OperationKind))
    code: Mapped[str]
    number: Mapped[int]


class RefusalSum(_Sum, Base):
    """How many requests of a partner were refused with one code."""

    __tablename__ = "analytics_refusal_sums"
    __table_args__ = (in_words("bucket", Bucket),)

    partner_id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[OperationKind] = mapped_column(Words(OperationKind), primary_key=True)
    code: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int]


class LatencyChange(_Change, Base):
    __tablename__ = "analytics_latency_changes"

    kind: Mapped[OperationKind] = mapped_column(Words(OperationKind))
    latency: Mapped[Latency] = mapped_column(Words(Latency))
    slot: Mapped[int]
    number: Mapped[int]


class LatencySum(_Sum, Base):
    """How many operations took as long as one slot of the histogram says (models/histogram.py)."""

    __tablename__ = "analytics_latency_sums"
    __table_args__ = (in_words("bucket", Bucket),)

    kind: Mapped[OperationKind] = mapped_column(Words(OperationKind), primary_key=True)
    latency: Mapped[Latency] = mapped_column(Words(Latency), primary_key=True)
    slot: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int]
