"""What the admin API answers. No answer holds the hash of a key, and the key itself only where it was just made."""

from datetime import datetime
from typing import Any

from pydantic import ConfigDict, Field

from api.answers import Amount, Answer
from models.statuses import AdminActionKind, PartnerStatus, PartnerTier, Scope, SettlementChangeState

NEXT = "send it as ?cursor= for the next page; null at the end"
ONCE = "its plain text, shown this once"


class AdminPartnerAnswer(Answer):
    partner_id: str
    name: str
    status: PartnerStatus
    tier: PartnerTier
    fee_bps: int
    daily_borrow_limit: Amount
    total_borrow_limit: Amount
    requests_per_minute: int
    overrides: list[str] = Field(description="which of fee, limits and requests_per_minute are not the tier's")
    settlement_address: str
    contact_email: str | None
    webhook_url: str | None
    kyc_verified: bool
    contract_signed: bool
    public_key: str | None
    external_key_prefix: str | None
    created_at: datetime
    changed_at: datetime


class PartnersAnswer(Answer):
    partners: list[AdminPartnerAnswer]
    next_cursor: str | None = Field(description=NEXT)


class UsageAnswer(Answer):
    """What counts against the limits now; the day is UTC's."""

    outstanding: Amount
    reserved: Amount
    total_remaining: Amount
    borrowed_today: Amount
    reserved_today: Amount
    daily_remaining: Amount


class LifetimeAnswer(Answer):
    """Of all loans whose USDC left the pool and was not brought back by an unwind."""

    loans: int
    borrowed: Amount
    fees: Amount
    principal_repaid: Amount
    interest_repaid: Amount


class PartnerKeysAnswer(Answer):
    live: int
    last_used_at: datetime | None


class PartnerDetailAnswer(AdminPartnerAnswer):
    usage: UsageAnswer
    keys: PartnerKeysAnswer
    lifetime: LifetimeAnswer


class ChangedAnswer(Answer):
    """The fields that changed: empty where all was so already."""

    before: dict[str, Any]
    after: dict[str, Any]


class ChangedPartnerAnswer(Answer):
    partner: AdminPartnerAnswer
    changed: ChangedAnswer


class KeyAnswer(Answer):
    key_id: str
    prefix: str
    label: str | None
    scopes: list[Scope]
    allowed_networks: list[str]
    has_signing_secret: bool
    must_sign: bool
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="to the minute or so")


class KeysAnswer(Answer):
    keys: list[KeyAnswer]


class ChangedKeyAnswer(Answer):
    key: KeyAnswer
    changed: ChangedAnswer


class IssuedKeyAnswer(Answer):
    partner_id: str
    key_id: str
    prefix: str
    key: str = Field(description=ONCE, repr=False)
    signing_secret: str | None = Field(description=f"{ONCE}; the HMAC key is its bytes as text", repr=False)


class AdminKeyAnswer(Answer):
    key_id: str
    prefix: str
    issued_by: str | None = Field(description="the administrator who issued it, and so has seen it; null: by command")
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class AdministratorAnswer(Answer):
    administrator_id: str
    name: str
    created_at: datetime
    disabled_at: datetime | None
    keys: list[AdminKeyAnswer]


class AdministratorsAnswer(Answer):
    administrators: list[AdministratorAnswer]


class IssuedAdminKeyAnswer(Answer):
    administrator_id: str
    key_id: str
    prefix: str
    key: str = Field(description=ONCE, repr=False)


class SettlementChangeAnswer(Answer):
    change_id: str
    partner_id: str
    address: str
    state: SettlementChangeState
    reason: str
    requested_by: str
    requested_at: datetime
    approved_by: str | None
    approved_at: datetime | None
    not_before: datetime | None = Field(description="when it applies, or soon after")
    applied_at: datetime | None
    cancelled_at: datetime | None


class SettlementChangesAnswer(Answer):
    changes: list[SettlementChangeAnswer]


class Fields(Answer):
    """Fields by their names: which ones depends on what was changed."""

    model_config = ConfigDict(extra="allow")


class ActionAnswer(Answer):
    """One change: what was so before and is since, never a secret."""

    action_id: str
    at: datetime
    action: AdminActionKind
    actor: str = Field(description="the administrator's name at that time, or the command")
    administrator_id: str | None
    partner_id: str | None
    subject: str = Field(description="the id of what was changed")
    reason: str | None
    before: Fields | None
    after: Fields | None
    trace_id: str | None


class ActionsAnswer(Answer):
    actions: list[ActionAnswer]
    next_cursor: str | None = Field(description=NEXT)
