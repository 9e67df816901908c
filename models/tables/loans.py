"""Loans, the limits they draw on, the positions they stand on, and their repayments. Amounts are base units of USDC."""

from datetime import date, datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.statuses import (
    RETRIABLE_LOAN_STATUSES,
    TERMINAL_LOAN_STATUSES,
    LoanStatus,
    OutsideKind,
    RepaymentMode,
    RepaymentState,
    ReservationState,
)
from models.tables.base import Base, CreatedAt, JsonObject, Uint256, Words, in_words, sql_words


class SolvencyPosition(Base):
    """Collateral in the vault as the engine last saw it, and what partners' loans owe on it.

    ``outside_debt`` is the principal that the user has borrowed on it without the engine, and still owes.
    """

    __tablename__ = "solvency_positions"
    __table_args__ = (CheckConstraint("total_partner_debt >= 0 AND outside_debt >= 0", name="debt_not_negative"),)

    chain_id: Mapped[int] = mapped_column(primary_key=True)
    vault_address: Mapped[str] = mapped_column(primary_key=True)
    position_id: Mapped[int] = mapped_column(Uint256, primary_key=True)
    oaid_token_id: Mapped[int] = mapped_column(Uint256)
    user_wallet: Mapped[str]
    collateral_token: Mapped[str]
    collateral_amount: Mapped[int] = mapped_column(Uint256)
    collateral_value: Mapped[int] = mapped_column(Uint256)
    credit_limit: Mapped[int] = mapped_column(Uint256)
    total_partner_debt: Mapped[int] = mapped_column(server_default="0")
    outside_debt: Mapped[int] = mapped_column(server_default="0")
    seen_at_block: Mapped[int]


class Loan(Base):
    """One borrow by a partner against one credit line. ``outstanding`` is principal; interest is asked of the chain."""

    __tablename__ = "loans"
    __table_args__ = (
        in_words("status", LoanStatus),
        CheckConstraint("principal > 0 AND fee >= 0 AND payout >= 0", name="amounts_in_range"),
        CheckConstraint("principal = fee + payout", name="principal_is_fee_and_payout"),
        CheckConstraint("outstanding BETWEEN 0 AND principal", name="outstanding_within_principal"),
        CheckConstraint("status <> 'REPAID' OR outstanding = 0", name="repaid_owes_nothing"),
        CheckConstraint("written_off >= 0", name="written_off_not_negative"),
        ForeignKeyConstraint(
            ["chain_id", "vault_address", "position_id"],
            [
                "solvency_positions.chain_id",
                "solvency_positions.vault_address",
                "solvency_positions.position_id",
            ],
        ),
        Index(
            "uq_loans_one_per_position",
            "chain_id",
            "vault_address",
            "position_id",
            unique=True,
            postgresql_where=text(f"status NOT IN ({sql_words(*TERMINAL_LOAN_STATUSES)})"),
        ),
        Index(
            "uq_loans_partner_loan_id",
            "partner_id",
            "partner_loan_id",
            unique=True,
            postgresql_where=text(f"status NOT IN ({sql_words(*RETRIABLE_LOAN_STATUSES)})"),
        ),
        Index("ix_loans_newest", "partner_id", "partner_loan_id", "created_at"),
        Index("ix_loans_partner", "partner_id", "created_at", "id"),
        Index("ix_loans_partner_line", "partner_id", "oaid_token_id", "created_at", "id"),
        Index("ix_loans_partner_status", "partner_id", "status", "created_at", "id"),
        Index("ix_loans_partner_wallet", "partner_id", "user_wallet", "created_at", "id"),
        Index("ix_loans_service", "service_at", postgresql_where=text("status = 'ACTIVE'")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    operation_id: Mapped[str] = mapped_column(ForeignKey("operations.id"), unique=True)
    partner_id: Mapped[str] = mapped_column(ForeignKey("partners.id"))
    partner_loan_id: Mapped[str]
    user_wallet: Mapped[str]
    oaid_token_id: Mapped[int] = mapped_column(Uint256)
    chain_id: Mapped[int]
    vault_address: Mapped[str]
    position_id: Mapped[int] = mapped_column(Uint256)
    status: Mapped[LoanStatus] = mapped_column(Words(LoanStatus))
    principal: Mapped[int]
    fee: Mapped[int]
    payout: Mapped[int]
    outstanding: Mapped[int] = mapped_column(server_default="0")
    written_off: Mapped[int] = mapped_column(server_default="0")
    """Principal that a liquidation did not bring back."""
    settlement_address: Mapped[str]
    loan_duration: Mapped[int]
    number_of_installments: Mapped[int]
    grant_id: Mapped[str] = mapped_column(ForeignKey("credit_line_grants.id"))
    review_reason: Mapped[str | None]
    metadata_: Mapped[JsonObject] = mapped_column("metadata", JSONB, server_default=text("'{}'::jsonb"))
    borrow_tx_hash: Mapped[str | None]
    borrow_block: Mapped[int | None]
    borrow_log_index: Mapped[int | None]
    """Where on chain its debt began, once the vault's events were followed that far: later ones may be of this debt."""
    settle_tx_hash: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    activated_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    service_at: Mapped[datetime | None]
    """When its installments must be looked at next, while it is ACTIVE; not set: now."""


class Reservation(Base):
    """A partner's limit taken by one borrow: settled exactly once, in the transaction that changes the loan."""

    __tablename__ = "reservations"
    __table_args__ = (in_words("state", ReservationState), CheckConstraint("amount > 0", name="amount_positive"))

    operation_id: Mapped[str] = mapped_column(ForeignKey("operations.id"), primary_key=True)
    partner_id: Mapped[str] = mapped_column(ForeignKey("partners.id"))
    day: Mapped[date] = mapped_column(Date)
    amount: Mapped[int]
    state: Mapped[ReservationState] = mapped_column(Words(ReservationState))
    total_limit: Mapped[int]
    daily_limit: Mapped[int]
    total_used_before: Mapped[int]
    daily_used_before: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    """The moment itself and not the transaction's start: under the partner's lock, in the order of the reservations."""


class Repayment(Base):
    """One repayment. ``holds_loan`` is true while it is the one in flight for its loan (money.md section 6)."""

    __tablename__ = "repayments"
    __table_args__ = (
        in_words("state", RepaymentState),
        in_words("mode", RepaymentMode),
        CheckConstraint("collected >= 0 AND principal >= 0 AND interest >= 0", name="parts_not_negative"),
        CheckConstraint("residue >= 0 AND refunded >= 0", name="extras_not_negative"),
        CheckConstraint("closed_at IS NULL OR NOT holds_loan", name="closed_holds_no_loan"),
        CheckConstraint("principal + interest + refunded <= collected + residue", name="never_more_than_funded"),
        Index("uq_repayments_one_in_flight", "loan_id", unique=True, postgresql_where=text("holds_loan")),
        Index("ix_repayments_loan", "loan_id"),
        Index("ix_repayments_partner", "partner_id", "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    operation_id: Mapped[str] = mapped_column(ForeignKey("operations.id"), unique=True)
    loan_id: Mapped[str] = mapped_column(ForeignKey("loans.id"))
    partner_id: Mapped[str] = mapped_column(ForeignKey("partners.id"))
    mode: Mapped[RepaymentMode] = mapped_column(Words(RepaymentMode))
    payoff: Mapped[bool]
    requested: Mapped[int | None]
    state: Mapped[RepaymentState] = mapped_column(Words(RepaymentState))
    holds_loan: Mapped[bool]
    payer: Mapped[str | None]
    collected: Mapped[int] = mapped_column(server_default="0")
    covers_debt: Mapped[bool] = mapped_column(server_default="false")
    principal: Mapped[int] = mapped_column(server_default="0")
    interest: Mapped[int] = mapped_column(server_default="0")
    residue: Mapped[int] = mapped_column(server_default="0")
    refunded: Mapped[int] = mapped_column(server_default="0")
    remaining_debt: Mapped[int | None]
    review_reason: Mapped[str | None]
    tx_hash: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    closed_at: Mapped[datetime | None]


class OutsideMovement(Base):
    """One event of the vault about a position that the engine knows, in a transaction that is not the engine's.

    Or in one that is, where it met a debt of the user's own: a user who repays all and borrows anew can outrun a repayment.

    ``principal`` is by how much the principal owed grew (negative: shrank); of a liquidation, all that it repaid.
    ``remaining_debt`` is zero where the debt ended with it. ``loan_id`` is the loan whose debt it was, and ``released`` what
    that loan's partner's limit was given back for it; without a loan the debt was the user's own.
    """

    __tablename__ = "outside_movements"
    __table_args__ = (
        in_words("kind", OutsideKind),
        UniqueConstraint("chain_id", "tx_hash", "log_index"),
        ForeignKeyConstraint(
            ["chain_id", "vault_address", "position_id"],
            [
                "solvency_positions.chain_id",
                "solvency_positions.vault_address",
                "solvency_positions.position_id",
            ],
        ),
        CheckConstraint("released >= 0", name="released_not_negative"),
        Index("ix_outside_movements_position", "chain_id", "vault_address", "position_id"),
        Index("ix_outside_movements_loan", "loan_id", postgresql_where=text("loan_id IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    chain_id: Mapped[int]
    vault_address: Mapped[str]
    position_id: Mapped[int] = mapped_column(Uint256)
    tx_hash: Mapped[str]
    log_index: Mapped[int]
    block_number: Mapped[int]
    block_hash: Mapped[str]
    kind: Mapped[OutsideKind] = mapped_column(Words(OutsideKind))
    principal: Mapped[int]
    interest: Mapped[int] = mapped_column(server_default="0")
    remaining_debt: Mapped[int | None] = mapped_column(Uint256)
    loan_id: Mapped[str | None] = mapped_column(ForeignKey("loans.id"))
    released: Mapped[int] = mapped_column(server_default="0")
    seen_at: Mapped[CreatedAt]


class UnappliedEvent(Base):
    """An event of the vault that the rows refused, or that waits behind one of its position; the log as it was read.

    The follower tries it again in each of its turns. The row goes in the transaction that applies it.
    """

    __tablename__ = "unapplied_events"
    __table_args__ = (
        in_words("kind", OutsideKind),
        UniqueConstraint("chain_id", "tx_hash", "log_index"),
        ForeignKeyConstraint(
            ["chain_id", "vault_address", "position_id"],
            [
                "solvency_positions.chain_id",
                "solvency_positions.vault_address",
                "solvency_positions.position_id",
            ],
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    chain_id: Mapped[int]
    vault_address: Mapped[str]
    position_id: Mapped[int] = mapped_column(Uint256)
    tx_hash: Mapped[str]
    log_index: Mapped[int]
    block_number: Mapped[int]
    block_hash: Mapped[str]
    kind: Mapped[OutsideKind] = mapped_column(Words(OutsideKind))
    topics: Mapped[list[str]] = mapped_column(JSONB)
    data: Mapped[str]
    kept_at: Mapped[CreatedAt]
