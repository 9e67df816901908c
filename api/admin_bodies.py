"""What administrators' requests may hold. Fields that are not named here are refused."""

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from api.admin_fields import Email, HttpsUrl, LimitIn, Line, Networks, Scopes, Tier
from api.administration import NewKey, NewPartner
from api.changes import Changes
from api.fields import AddressIn, AmountIn, CreditLineIdIn, MomentIn
from models.ids import PublicId
from models.money import BASIS_POINTS
from models.statuses import Scope

_DAY = 86_400
_ADDRESS = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
_REASON = "asked for in writing on 3 May"

FeeBps = Annotated[int, Field(ge=0, lt=BASIS_POINTS, description="basis points of the principal")]
RequestsPerMinute = Annotated[int, Field(ge=1, le=1_000_000)]
Reason = Annotated[Line, Field(description="kept in the audit trail")]


def _example(**fields: Any) -> ConfigDict:
    return ConfigDict(extra="forbid", strict=True, frozen=True, json_schema_extra={"examples": [fields]})


class PartnerBody(BaseModel):
    """A partner. What is left out of fee, limits and requests_per_minute is its tier's."""

    model_config = _example(
        partner_id="acme",
        name="Acme Lending",
        tier="PREMIUM",
        daily_borrow_limit="150000000000",
        settlement_address=_ADDRESS,
        contact_email="ops@acme.example",
        kyc_verified=True,
        contract_signed=True,
    )

    partner_id: PublicId
    name: Line
    tier: Tier
    fee_bps: FeeBps | None = None
    daily_borrow_limit: LimitIn | None = None
    total_borrow_limit: LimitIn | None = None
    requests_per_minute: RequestsPerMinute | None = None
    settlement_address: AddressIn
    contact_email: Email | None = None
    webhook_url: HttpsUrl | None = None
    kyc_verified: bool
    contract_signed: bool

    def new(self) -> NewPartner:
        return NewPartner(**self.model_dump())


class ChangePartnerBody(Changes):
    """null in fee, limits or requests_per_minute takes an override back: what then counts is the tier's."""

    model_config = _example(tier="ENTERPRISE", fee_bps=None, reason=_REASON)
    _NEVER_NULL: ClassVar[frozenset[str]] = frozenset({"name", "tier", "kyc_verified", "contract_signed"})

    name: Line | None = None
    tier: Tier | None = None
    fee_bps: FeeBps | None = None
    daily_borrow_limit: LimitIn | None = None
    total_borrow_limit: LimitIn | None = None
    requests_per_minute: RequestsPerMinute | None = None
    contact_email: Email | None = None
    webhook_url: HttpsUrl | None = None
    kyc_verified: bool | None = None
    contract_signed: bool | None = None
    reason: Reason | None = None


class ReasonBody(BaseModel):
    model_config = _example(reason=_REASON)

    reason: Reason


class KeyBody(BaseModel):
    """A key. ``must_sign`` brings a signing secret with it; ``with_signing_secret`` one that the key may use or not."""

    model_config = _example(scopes=["borrow", "read"], label="back office", allowed_networks=["203.0.113.0/24"])

    scopes: Scopes = Field(default_factory=lambda: list(Scope))
    label: Line | None = None
    expires_at: MomentIn | None = None
    allowed_networks: Networks = Field(default_factory=list)
    with_signing_secret: bool = False
    must_sign: bool = False

    def new(self) -> NewKey:
        return NewKey(**self.model_dump())


class ChangeKeyBody(Changes):
    """Takes effect on the key's next request."""

    model_config = _example(label="front office", allowed_networks=[])
    _NEVER_NULL: ClassVar[frozenset[str]] = frozenset({"scopes", "allowed_networks", "must_sign"})

    label: Line | None = None
    scopes: Scopes | None = None
    allowed_networks: Networks | None = None
    must_sign: bool | None = None
    reason: Reason | None = None

    def given(self) -> dict[str, Any]:
        changes = super().given()
        return changes | {"scopes": sorted(map(str, set(changes["scopes"])))} if "scopes" in changes else changes


class RotateKeyBody(BaseModel):
    """``expires_at`` is the new key's, and the old one's where it is left out; null: it never expires."""

    model_config = _example(overlap_seconds=86_400)

    overlap_seconds: int = Field(
        default=_DAY, ge=0, le=90 * _DAY, description="how long the old key works on; 0: not at all"
    )
    expires_at: MomentIn | None = None
    with_signing_secret: bool = False
    reason: Reason | None = None


class AdministratorBody(BaseModel):
    model_config = _example(name="Grace Hopper")

    name: Line


class AdminKeyBody(BaseModel):
    model_config = _example(expires_at="2030-01-01T00:00:00Z")

    expires_at: MomentIn | None = None


class RecordGrantBody(BaseModel):
    """What is on record that a user lets a partner borrow on his line. The position is the line's own."""

    model_config = _example(
        oaid_token_id="1",  # noqa: S106 - the id of a credit line, not a secret
        user_wallet=_ADDRESS,
        max_amount="10000000000",
        expires_at="2030-01-01T00:00:00Z",
        reason="the user's letter of 3 May",
    )

    oaid_token_id: CreditLineIdIn
    user_wallet: AddressIn
    max_amount: AmountIn
    expires_at: MomentIn
    reason: Reason


class SettlementChangeBody(BaseModel):
    model_config = _example(address=_ADDRESS, reason=_REASON)

    address: AddressIn
    reason: Reason
