"""Whether the process lives, and whether what it needs answers."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta

from fastapi import APIRouter
from sqlalchemy import text

from api.answers import HealthAnswer, ReadinessAnswer
from api.deps import ResourcesDep
from api.docs import problems
from api.errors import InternalError, NotReady
from api.resources import Resources

router = APIRouter(prefix="/v1/health", tags=["health"])
PATIENCE = timedelta(seconds=3)


@router.get("/live", operation_id="live", summary="The process answers", responses=problems(InternalError))
async def live() -> HealthAnswer:
    return HealthAnswer(status="ok")


@router.get(
    "/ready",
    operation_id="ready",
    summary="PostgreSQL, Temporal and the node answer",
    responses=problems(InternalError, NotReady),
)
async def ready(resources: ResourcesDep) -> ReadinessAnswer:
    """Without one of them the answer is 503, and its ``figures`` name what is away."""
    names = ("postgresql", "temporal", "rpc")
    states = await asyncio.gather(
        _state(_ask_database(resources)), _state(resources.starter.check()), _state(_ask_node(resources))
    )
    checks = dict(zip(names, states, strict=True))
    if any(state != "ok" for state in states):
        raise NotReady(checks)
    return ReadinessAnswer(status="ok", checks=checks)


async def _state(check: Awaitable[None]) -> str:
    try:
        await asyncio.wait_for(check, PATIENCE.total_seconds())
    except Exception:  # noqa: BLE001 - whatever went wrong, the answer is that it does not answer
        return "away"
    return "ok"


async def _ask_database(resources: Resources) -> None:
    async with resources.statements() as session:
        await session.execute(text("SELECT 1"))


async def _ask_node(resources: Resources) -> None:
    await resources.chain.head()
