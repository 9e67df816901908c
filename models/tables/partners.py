"""Partners, what they may do, and who let them."""

from datetime import date, datetime

from sqlalchemy import CheckConstraint, Date, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import Text

from models.statuses import GrantEvidence, PartnerStatus, PartnerTier
from models.tables.base import Base, CreatedAt, JsonObject, Uint256, Words, in_words


class Partner(Base):
    """A lending platform. ``outstanding`` and ``reserved`` are base units and change only with a reservation or repayment."""

    __tablename__ = "partners"
    __table_args__ = (
        in_words("status", PartnerStatus),
        in_words("tier", PartnerTier),
        CheckConstraint("fee_bps BETWEEN 0 AND 9999", name="fee_leaves_a_payout"),
        CheckConstraint("daily_borrow_limit >= 0 AND total_borrow_limit >= 0", name="limits_not_negative"),
        CheckConstraint("outstanding >= 0 AND reserved >= 0", name="usage_not_negative"),
        CheckConstraint("requests_per_minute > 0", name="requests_per_minute_positive"),
        ForeignKeyConstraint(
            ["id", "settlement_address"],
            ["settlement_addresses.partner_id", "settlement_addresses.address"],
            name="fk_partners_own_settlement_address",
            use_alter=True,
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    status: Mapped[PartnerStatus] = mapped_column(Words(PartnerStatus))
    tier: Mapped[PartnerTier] = mapped_column(Words(PartnerTier))
    fee_bps: Mapped[int]
    daily_borrow_limit: Mapped[int]
    total_borrow_limit: Mapped[int]
    outstanding: Mapped[int] = mapped_column(server_default="0")
    reserved: Mapped[int] = mapped_column(server_default="0")
    settlement_address: Mapped[str]
    contact_email: Mapped[str | None]
    kyc_verified: Mapped[bool] = mapped_column(server_default="false")
    contract_signed: Mapped[bool] = mapped_column(server_default="false")
    requests_per_minute: Mapped[int | None]
    """Where it is set it stands in place of the tier's."""
    webhook_url: Mapped[str | None]
    public_key: Mapped[str | None]
    external_key_prefix: Mapped[str | None]
    """What an imported list calls the partner's API key; no key of ours."""
    created_at: Mapped[CreatedAt]
    changed_at: Mapped[CreatedAt]

    @property
    def cleared(self) -> bool:
        return self.kyc_verified and self.contract_signed


class SettlementAddress(Base):
    """An address belongs to one partner for ever, so that a transfer from it names its partner (money.md section 5)."""

    __tablename__ = "settlement_addresses"
    __table_args__ = (UniqueConstraint("partner_id", "address"),)

    address: Mapped[str] = mapped_column(primary_key=True)
    partner_id: Mapped[str] = mapped_column(
        ForeignKey("partners.id", deferrable=True, initially="DEFERRED"), index=True
    )
    registered_at: Mapped[CreatedAt]


class ApiKey(Base):
    """An API key: only the hash of its secret, and a prefix to show.

    ``allowed_networks`` are CIDR blocks, from which alone the key may be used; empty: from anywhere. ``signing_secret`` is
    sealed (models/sealing.py, bound to the key's id) and proves signed requests, which are demanded where ``must_sign``.
    """

    __tablename__ = "api_keys"
    __table_args__ = (CheckConstraint("NOT must_sign OR signing_secret IS NOT NULL", name="signs_with_a_secret"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    partner_id: Mapped[str] = mapped_column(ForeignKey("partners.id"), index=True)
    prefix: Mapped[str]
    secret_hash: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    label: Mapped[str | None]
    allowed_networks: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    signing_secret: Mapped[bytes | None]
    must_sign: Mapped[bool] = mapped_column(server_default="false")
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    """To the minute or so: it is not written with each request."""


class PartnerDay(Base):
    """What one partner borrowed and reserved on one UTC day, in base units."""

    __tablename__ = "partner_days"
    __table_args__ = (CheckConstraint("borrowed >= 0 AND reserved >= 0", name="usage_not_negative"),)

    partner_id: Mapped[str] = mapped_column(ForeignKey("partners.id"), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    borrowed: Mapped[int] = mapped_column(server_default="0")
    reserved: Mapped[int] = mapped_column(server_default="0")


class CreditLineGrant(Base):
    """A user's consent, or an administrator's record of it, that a partner may borrow on a credit line (money.md section 3)."""

    __tablename__ = "credit_line_grants"
    __table_args__ = (
        in_words("evidence_kind", GrantEvidence),
        CheckConstraint("max_amount > 0", name="max_amount_positive"),
        CheckConstraint("evidence_kind <> 'USER_SIGNATURE' OR nonce IS NOT NULL", name="signed_with_a_nonce"),
        UniqueConstraint("chain_id", "oaid_address", "user_wallet", "nonce"),
        Index("ix_credit_line_grants_lookup", "partner_id", "oaid_token_id", "user_wallet"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    partner_id: Mapped[str] = mapped_column(ForeignKey("partners.id"))
    chain_id: Mapped[int]
    oaid_address: Mapped[str]
    oaid_token_id: Mapped[int] = mapped_column(Uint256)
    position_id: Mapped[int] = mapped_column(Uint256)
    user_wallet: Mapped[str]
    max_amount: Mapped[int]
    expires_at: Mapped[datetime]
    nonce: Mapped[int | None] = mapped_column(Uint256)
    evidence_kind: Mapped[GrantEvidence] = mapped_column(Words(GrantEvidence))
    evidence: Mapped[JsonObject] = mapped_column(JSONB)
    created_at: Mapped[CreatedAt]
    revoked_at: Mapped[datetime | None]
