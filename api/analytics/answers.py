"""What administrators are told in figures. Amounts are strings of USDC base units; each figure is defined in docs/analytics.md."""

from datetime import date
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from models.statuses import Bucket, OperationKind, PartnerStatus, PartnerTier

Amount = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]*)$", examples=["5000000000"])]
Number = Annotated[int, Field(ge=0, examples=[42])]
Microseconds = Annotated[int, Field(ge=0, examples=[47103])]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class VolumePoint(_Answer):
    start: date = Field(description="the first day of the bucket, in UTC")
    borrowed: Amount = Field(description="principal of the loans that became ACTIVE in the bucket")
    loans: Number = Field(description="how many became ACTIVE")
    fees: Amount = Field(description="platform fees of those loans")
    outstanding: Amount = Field(description="principal owed when the bucket ended; now, where it has not")
    repaid_principal: Amount = Field(description="of the repayments that were applied in the bucket")
    repaid_interest: Amount
    repayments: Number = Field(description="how many were applied")
    loans_failed: Number = Field(description="accepted, and nothing was borrowed")
    failed_principal: Amount
    loans_reversed: Number = Field(description="borrowed, never paid out, and undone on chain")
    reversed_principal: Amount
    repayments_failed: Number = Field(description="nothing could be collected")
    repayments_rejected: Number = Field(description="the transfer that was named could not be claimed")
    repayments_refunded: Number = Field(description="collected, refused by the vault, and given back")


class VolumeSeries(_Answer):
    partner_id: str | None = Field(description="null where partners are not told apart")
    tier: PartnerTier | None = Field(description="the one that the partner has now; null where all are in one series")
    points: list[VolumePoint] = Field(description="one for each bucket, oldest first")


class _SpanAnswer(_Answer):
    model_config = ConfigDict(frozen=True, populate_by_name=True, serialize_by_alias=True)

    bucket: Bucket
    from_: date = Field(alias="from", description="the first day")
    to: date = Field(description="the last day")


class VolumeAnswer(_SpanAnswer):
    series: list[VolumeSeries]
    next_cursor: str | None = Field(description="send it as ?cursor= for the next partners; null at the end")


class LimitUse(_Answer):
    limit: Amount
    used: Amount = Field(description="what was borrowed and what is reserved")
    reserved: Amount = Field(description="the part of it that is not on chain yet")
    remaining: Amount
    used_bps: int | None = Field(ge=0, description="basis points of the limit, cut off; null where the limit is zero")


class PartnerUse(_Answer):
    partner_id: str
    name: str
    tier: PartnerTier
    status: PartnerStatus
    daily: LimitUse
    total: LimitUse


class UtilisationAnswer(_Answer):
    day: date = Field(description="the UTC day that the daily figures are of")
    partners: list[PartnerUse]
    next_cursor: str | None = Field(description="send it as ?cursor= for the next page; null at the end")


class Percentiles(_Answer):
    """Each is at most 1/16 above the true one, and never below it."""

    count: Number
    p50_us: Microseconds | None = Field(description="microseconds; null where there were none")
    p90_us: Microseconds | None
    p99_us: Microseconds | None


class LatencyPoint(_Answer):
    start: date
    decision: Percentiles = Field(description="from the request's arrival to its decision, by the day of the decision")
    completion: Percentiles = Field(description="from arrival to the end, of what was accepted, by the day of the end")


class LatencySeries(_Answer):
    kind: OperationKind
    points: list[LatencyPoint]


class LatencyAnswer(_SpanAnswer):
    series: list[LatencySeries]


class RefusalCount(_Answer):
    code: str = Field(examples=["daily_limit_exceeded"])
    kind: OperationKind
    partner_id: str | None = Field(description="null where partners are not told apart")
    count: Number


class RefusalsAnswer(_SpanAnswer):
    refusals: list[RefusalCount] = Field(description="the most frequent first")
