"""The ledger: one immutable row for each movement of USDC (money.md section 7)."""

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.statuses import LedgerKind, LedgerPhase
from models.tables.base import Base, CreatedAt, Words, in_words


class LedgerTransfer(Base):
    """A movement from one account to another, in base units. UPDATE and DELETE are refused by a trigger.

    A PENDING row waits for exactly one POSTED or VOIDED row that names it in ``pending_id``. ``counterparty`` says who
    outside the engine gave or received the USDC; the outside has no account, since its balance is not ours to state.
    """

    __tablename__ = "ledger_transfers"
    __table_args__ = (
        in_words("phase", LedgerPhase),
        in_words("kind", LedgerKind),
        CheckConstraint("amount > 0", name="amount_positive"),
        CheckConstraint("debit_account <> credit_account", name="two_accounts"),
        CheckConstraint("(phase IN ('POSTED', 'VOIDED')) = (pending_id IS NOT NULL)", name="resolves_a_pending_row"),
        Index("ix_ledger_transfers_operation", "operation_id"),
        Index("ix_ledger_transfers_debit", "debit_account"),
        Index("ix_ledger_transfers_credit", "credit_account"),
        Index(
            "uq_ledger_transfers_one_pending",
            "operation_id",
            "leg",
            "generation",
            "kind",
            unique=True,
            postgresql_where=text("phase = 'PENDING'"),
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    operation_id: Mapped[str | None] = mapped_column(ForeignKey("operations.id"))
    inbound_id: Mapped[int | None] = mapped_column(ForeignKey("inbound_transfers.id"))
    leg: Mapped[str | None]
    generation: Mapped[int | None]
    phase: Mapped[LedgerPhase] = mapped_column(Words(LedgerPhase))
    kind: Mapped[LedgerKind] = mapped_column(Words(LedgerKind))
    debit_account: Mapped[str]
    credit_account: Mapped[str]
    counterparty: Mapped[str | None]
    amount: Mapped[int]
    pending_id: Mapped[int | None] = mapped_column(ForeignKey("ledger_transfers.id"), unique=True)
    at: Mapped[CreatedAt]


class LedgerBalance(Base):
    """A cached balance, for the accounts that must be read under a lock; the ledger itself is the truth.

    ``posted`` is credits less debits; ``pending_out`` is what unresolved PENDING rows would debit.
    """

    __tablename__ = "ledger_balances"

    account: Mapped[str] = mapped_column(primary_key=True)
    posted: Mapped[int] = mapped_column(server_default="0")
    pending_out: Mapped[int] = mapped_column(server_default="0")
