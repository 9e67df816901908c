"""What the engine does on chain: legs, the attempts to have them mined, the signers, and USDC that came in by itself."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import BYTEA, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.statuses import LIVE_STATES, AttemptKind, InboundState, TransactionState
from models.tables.base import NULLABLE_JSON, Base, CreatedAt, JsonObject, Uint256, Words, in_words, sql_words

_WITHOUT_NONCE = sql_words(TransactionState.QUEUED, TransactionState.REFUSED, TransactionState.ABANDONED)
_LIVE = sql_words(*LIVE_STATES)
_LIVE_OR_OK = sql_words(*LIVE_STATES, TransactionState.FINAL_OK)
_EXCLUSIVE_LEG = "CASE WHEN leg IN ('settle', 'unwind') THEN 'settle|unwind' ELSE leg END"


class ChainSigner(Base):
    """The one account whose nonces the lane gives out. The lane that holds its advisory lock beats in this row."""

    __tablename__ = "chain_signers"
    __table_args__ = (CheckConstraint("next_nonce >= first_nonce", name="nonces_only_grow"),)

    chain_id: Mapped[int] = mapped_column(primary_key=True)
    address: Mapped[str] = mapped_column(primary_key=True)
    first_nonce: Mapped[int]
    next_nonce: Mapped[int]
    paused_at: Mapped[datetime | None]
    paused_reason: Mapped[str | None]
    paused_by: Mapped[str | None]
    lane_backend_pid: Mapped[int | None]
    lane_beat_at: Mapped[datetime | None]


class ChainTransaction(Base):
    """One generation of a leg: one effect, one row, one nonce (money.md section 2).

    ``call`` is the leg as asked for, ``target`` and ``calldata`` what the signer signs, ``expected_logs`` what a final
    receipt must show. ``charges_account`` must hold ``amount`` when the nonce is taken. ``logs`` are the receipt's.
    ``cancel_reason`` is why the lane shall replace the leg by a self-transfer at its nonce, once it has one.
    A tombstone is an ABANDONED row of a generation that never was: it has no call and no signer.
    """

    __tablename__ = "chain_transactions"
    __table_args__ = (
        ForeignKeyConstraint(["chain_id", "signer"], ["chain_signers.chain_id", "chain_signers.address"]),
        in_words("state", TransactionState),
        UniqueConstraint("operation_id", "leg", "generation"),
        UniqueConstraint("chain_id", "signer", "nonce"),
        CheckConstraint("generation >= 1", name="generation_counts_from_one"),
        CheckConstraint(f"(state IN ({_WITHOUT_NONCE})) = (nonce IS NULL)", name="nonce_from_prepared_on"),
        CheckConstraint("state <> 'MINED' OR result_block IS NOT NULL", name="mined_in_a_block"),
        CheckConstraint(
            "state NOT LIKE 'FINAL%' OR (result_tx_hash IS NOT NULL AND result_block IS NOT NULL AND logs IS NOT NULL)",
            name="final_has_evidence",
        ),
        CheckConstraint("state <> 'HELD' OR held_reason IS NOT NULL", name="held_says_why"),
        CheckConstraint("amount >= 0", name="amount_not_negative"),
        CheckConstraint(
            "state = 'ABANDONED' OR (call IS NOT NULL AND chain_id IS NOT NULL AND signer IS NOT NULL)",
            name="only_a_tombstone_has_no_call",
        ),
        Index(
            "uq_chain_transactions_one_live_or_ok",
            "operation_id",
            "exclusive_leg",
            unique=True,
            postgresql_where=text(f"state IN ({_LIVE_OR_OK})"),
        ),
        Index(
            "uq_chain_transactions_one_live_approve",
            "chain_id",
            "signer",
            unique=True,
            postgresql_where=text(f"leg = 'approve' AND state IN ({_LIVE})"),
        ),
        Index(
            "ix_chain_transactions_live",
            "chain_id",
            "signer",
            "state",
            "id",
            postgresql_where=text(f"state IN ({_LIVE})"),
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    operation_id: Mapped[str] = mapped_column(ForeignKey("operations.id"))
    leg: Mapped[str]
    exclusive_leg: Mapped[str] = mapped_column(Computed(_EXCLUSIVE_LEG, persisted=True))
    """``settle`` and ``unwind`` share one value, so that both can never be alive."""
    generation: Mapped[int]
    chain_id: Mapped[int | None]
    signer: Mapped[str | None]
    state: Mapped[TransactionState] = mapped_column(Words(TransactionState))
    call: Mapped[JsonObject | None] = mapped_column(NULLABLE_JSON)
    amount: Mapped[int] = mapped_column(server_default="0")
    target: Mapped[str | None]
    calldata: Mapped[bytes | None] = mapped_column(BYTEA)
    value: Mapped[int] = mapped_column(Uint256, server_default="0")
    gas: Mapped[int | None]
    expected_logs: Mapped[list[JsonObject]] = mapped_column(JSONB, server_default=text("'[]'::jsonb"))
    charges_account: Mapped[str | None]
    spends_allowance: Mapped[bool] = mapped_column(server_default="false")
    nonce: Mapped[int | None]
    reason: Mapped[str | None]
    held_reason: Mapped[str | None]
    cancel_reason: Mapped[str | None]
    result_tx_hash: Mapped[str | None]
    result_block: Mapped[int | None]
    result_block_hash: Mapped[str | None]
    logs: Mapped[list[JsonObject] | None] = mapped_column(NULLABLE_JSON)
    gas_used: Mapped[int | None]
    effective_gas_price: Mapped[int | None] = mapped_column(Uint256)
    queued_at: Mapped[CreatedAt]
    prepared_at: Mapped[datetime | None]
    broadcast_at: Mapped[datetime | None]
    mined_at: Mapped[datetime | None]
    final_at: Mapped[datetime | None]


class ChainAttempt(Base):
    """One signed transaction at a leg's nonce: its bytes are stored before they are sent, and never change."""

    __tablename__ = "chain_attempts"
    __table_args__ = (
        in_words("kind", AttemptKind),
        Index("ix_chain_attempts_transaction", "transaction_id"),
        CheckConstraint("max_fee_per_gas >= max_priority_fee_per_gas", name="fees_in_order"),
    )

    hash: Mapped[str] = mapped_column(primary_key=True)
    transaction_id: Mapped[int] = mapped_column(ForeignKey("chain_transactions.id"))
    kind: Mapped[AttemptKind] = mapped_column(Words(AttemptKind))
    raw: Mapped[bytes] = mapped_column(BYTEA)
    gas: Mapped[int]
    max_fee_per_gas: Mapped[int] = mapped_column(Uint256)
    max_priority_fee_per_gas: Mapped[int] = mapped_column(Uint256)
    stored_at: Mapped[CreatedAt]
    sent_at: Mapped[datetime | None]
    last_answer: Mapped[str | None]


class InboundTransfer(Base):
    """USDC that somebody sent to the platform wallet outside the engine's own transactions; one row for each log."""

    __tablename__ = "inbound_transfers"
    __table_args__ = (
        in_words("state", InboundState),
        UniqueConstraint("chain_id", "tx_hash", "log_index"),
        CheckConstraint("amount > 0", name="amount_positive"),
        CheckConstraint("(state = 'CLAIMED') = (claimed_by IS NOT NULL)", name="claimed_by_an_operation"),
        CheckConstraint(
            "(state IN ('REFUNDED', 'REFUNDING')) = (refund_operation_id IS NOT NULL)", name="refunded_by_an_operation"
        ),
        Index(
            "ix_inbound_transfers_waiting",
            "state",
            "seen_at",
            postgresql_where=text(f"state IN ({sql_words(InboundState.UNCLAIMED, InboundState.REFUNDING)})"),
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    chain_id: Mapped[int]
    tx_hash: Mapped[str]
    log_index: Mapped[int]
    sender: Mapped[str]
    amount: Mapped[int]
    block_number: Mapped[int]
    block_hash: Mapped[str]
    state: Mapped[InboundState] = mapped_column(Words(InboundState))
    claimed_by: Mapped[str | None] = mapped_column(ForeignKey("operations.id"))
    refund_operation_id: Mapped[str | None] = mapped_column(ForeignKey("operations.id"), unique=True)
    refund_not_before: Mapped[datetime | None]
    """When it may be given back by itself again, after a refund that was refused."""
    seen_at: Mapped[CreatedAt]


class ChainCursor(Base):
    """What was read of a contract's or an account's logs: all from ``first_block`` to ``block_number``.

    Of the platform wallet: every USDC transfer to it is a row of ``inbound_transfers``, or a leg's. Of the vault: every
    event of a position that the engine knows is a row of ``outside_movements``, or a leg's.
    """

    __tablename__ = "chain_cursors"

    chain_id: Mapped[int] = mapped_column(primary_key=True)
    address: Mapped[str] = mapped_column(primary_key=True)
    first_block: Mapped[int]
    block_number: Mapped[int]
