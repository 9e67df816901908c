"""Figures for administrators: what moves, how fast it is decided, who uses which limit, and why requests are refused."""

from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import APIRouter, Query

from api.admin_deps import ADMIN_READS, ADMINISTRATORS_ONLY, OF_A_PARTNER
from api.analytics.answers import LatencyAnswer, RefusalsAnswer, UtilisationAnswer, VolumeAnswer
from api.analytics.asked import LatencyAsked, RefusalsAsked, UtilisationAsked, VolumeAsked, span_of
from api.analytics.latency import latency
from api.analytics.refusals import refusals
from api.analytics.sources import check_partner
from api.analytics.utilisation import utilisation
from api.analytics.volume import volume
from api.deps import ReadSessionDep
from api.docs import problems
from api.gate import AdminRoute

router = APIRouter(
    prefix="/v1/admin/analytics", tags=["analytics"], dependencies=ADMINISTRATORS_ONLY, route_class=AdminRoute
)

_ANSWERS = problems(*ADMIN_READS)
_OF_PARTNERS = problems(*ADMIN_READS, *OF_A_PARTNER)


@router.get(
    "/volume", operation_id="getVolume", summary="Borrowed, owed, earned, repaid and undone", responses=_OF_PARTNERS
)
async def get_volume(session: ReadSessionDep, asked: Annotated[VolumeAsked, Query()]) -> VolumeAnswer:
    """A series of buckets for all partners, for each partner or for each tier. What happens late counts when it happens."""
    span = span_of(asked, _today())
    await check_partner(session, asked)
    series, following = await volume(session, asked, span)
    return VolumeAnswer(bucket=span.bucket, from_=span.first, to=span.last_day, series=series, next_cursor=following)


@router.get(
    "/utilisation",
    operation_id="getUtilisation",
    summary="How much of their limits partners use",
    responses=_OF_PARTNERS,
)
async def get_utilisation(session: ReadSessionDep, asked: Annotated[UtilisationAsked, Query()]) -> UtilisationAnswer:
    """As it is now, by the rows that decide about the next borrow."""
    await check_partner(session, asked)
    today = _today()
    partners, following = await utilisation(session, asked, today)
    return UtilisationAnswer(day=today, partners=partners, next_cursor=following)


@router.get("/latency", operation_id="getLatency", summary="How long decisions and operations take", responses=_ANSWERS)
async def get_latency(session: ReadSessionDep, asked: Annotated[LatencyAsked, Query()]) -> LatencyAnswer:
    """Percentiles over all partners, each at most 1/16 above the true one and never below it."""
    span = span_of(asked, _today())
    series = await latency(session, asked, span)
    return LatencyAnswer(bucket=span.bucket, from_=span.first, to=span.last_day, series=series)


@router.get(
    "/refusals", operation_id="getRefusals", summary="Why borrows and repayments are refused", responses=_OF_PARTNERS
)
async def get_refusals(session: ReadSessionDep, asked: Annotated[RefusalsAsked, Query()]) -> RefusalsAnswer:
    """Of requests that became an operation, by the day of the decision; what was malformed is in the request log."""
    span = span_of(asked, _today())
    await check_partner(session, asked)
    found = await refusals(session, asked, span)
    return RefusalsAnswer(bucket=span.bucket, from_=span.first, to=span.last_day, refusals=found)


def _today() -> date:
    return datetime.now(UTC).date()
