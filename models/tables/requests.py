"""Who called what and was answered what: kept by month partitions (api.md, "Request log")."""

from datetime import datetime

from sqlalchemy import Index, func, text
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import DateTime

from models.tables.base import Base, Uint256


class RequestLog(Base):
    """One authenticated call, or one failed authentication, committed before its answer leaves.

    Bodies are as they were received and sent, with secrets removed and cut at a size; they are text, since not all are JSON.
    No foreign keys: a failed authentication names a key that may not exist, and a partition is dropped as a whole.
    """

    __tablename__ = "request_log"
    __table_args__ = (
        Index("ix_request_log_partner", "partner_id", "at", "id"),
        Index("ix_request_log_errors", "partner_id", "at", "id", postgresql_where=text("status >= 400")),
        Index("ix_request_log_unauthenticated", "at", "id", postgresql_where=text("status = 401")),
        Index("ix_request_log_key", "key_prefix", "at", "id"),
        Index("ix_request_log_trace", "trace_id"),
        Index("ix_request_log_operation", "operation_id"),
        {"postgresql_partition_by": "RANGE (at)"},
    )

    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True, server_default=func.now())
    id: Mapped[str] = mapped_column(primary_key=True)
    partner_id: Mapped[str | None]
    administrator_id: Mapped[str | None]
    api_key_id: Mapped[str | None]
    key_prefix: Mapped[str | None]
    method: Mapped[str]
    route: Mapped[str]
    """The route's template, so that calls of one kind are found together; the path where no route matched."""
    path: Mapped[str]
    query: Mapped[str | None]
    status: Mapped[int]
    code: Mapped[str | None]
    """The problem's code where the answer is one."""
    duration_us: Mapped[int]
    address: Mapped[str | None]
    user_agent: Mapped[str | None]
    request_body: Mapped[str | None]
    response_body: Mapped[str | None]
    idempotency_key: Mapped[str | None]
    operation_id: Mapped[str | None]
    loan_id: Mapped[str | None]
    partner_loan_id: Mapped[str | None]
    user_wallet: Mapped[str | None]
    oaid_token_id: Mapped[int | None] = mapped_column(Uint256)
    trace_id: Mapped[str]
