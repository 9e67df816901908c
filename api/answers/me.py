"""What a partner is, what it may do, and what it has done."""

from datetime import datetime

from pydantic import Field

from api.answers.common import Amount, Answer
from models.statuses import LoanStatus, OperationKind, PartnerStatus, PartnerTier, Scope


class OwnKeyAnswer(Answer):
    """The key of this very request; its secret is not kept and cannot be shown."""

    key_id: str
    prefix: str
    label: str | None
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None


class LimitAnswer(Answer):
    """``remaining = limit - used - reserved``, and zero where a limit was lowered below what is taken."""

    limit: Amount
    used: Amount = Field(description="principal that is on chain: owed (total), or borrowed today (daily)")
    reserved: Amount = Field(description="by borrows that are accepted and not on chain yet")
    remaining: Amount


class LimitsAnswer(Answer):
    daily: LimitAnswer
    total: LimitAnswer
    day_turns_at: datetime = Field(description="when the daily limit is whole again")


class MeAnswer(Answer):
    partner_id: str
    name: str
    status: PartnerStatus
    tier: PartnerTier
    fee_bps: int = Field(description="basis points of the principal, kept from each payout")
    requests_per_minute: int
    settlement_address: str
    key: OwnKeyAnswer
    limits: LimitsAnswer


class RepaidAnswer(Answer):
    """Through the engine: what users repaid themselves, or a liquidation brought, is not part of it."""

    repayments: int = Field(description="that were applied")
    principal: Amount
    interest: Amount
    residue: Amount = Field(description="the part of both that the platform added to bring payoffs to zero")


class RefusedAnswer(Answer):
    kind: OperationKind
    code: str
    count: int


class StatsAnswer(Answer):
    """Since the partner is here."""

    loans: dict[LoanStatus, int] = Field(description="how many there are of each status, those without any included")
    borrowed: Amount = Field(description="principal of all loans that were on chain and not reversed")
    fees: Amount = Field(description="kept from payouts that were made")
    outstanding: Amount = Field(description="principal still owed")
    written_off: Amount
    repaid: RepaidAnswer
    refused: list[RefusedAnswer] = Field(description="the most frequent first")
