"""The partner itself."""

from fastapi import APIRouter

from api.answers import MeAnswer, StatsAnswer
from api.auth import Reader
from api.deps import ResourcesDep
from api.docs import ALWAYS, KEYED, READS, problems
from api.gate import PartnerRoute
from api.me import me_answer, stats_answer
from api.reads import reading

router = APIRouter(prefix="/v1/me", tags=["me"], route_class=PartnerRoute)


@router.get(
    "",
    operation_id="getMe",
    summary="The partner, its key, its fee and its limits",
    responses=problems(*KEYED, *ALWAYS),
)
async def get_me(caller: Reader, resources: ResourcesDep) -> MeAnswer:
    """The limits as they are now; another borrow may take them in the next moment."""
    async with resources.statements() as session:
        return await me_answer(session, caller)


@router.get(
    "/stats", operation_id="getStats", summary="The partner's lifetime figures", responses=problems(*KEYED, *READS)
)
async def get_stats(caller: Reader, resources: ResourcesDep) -> StatsAnswer:
    async with reading(resources) as session:
        return await stats_answer(session, caller.partner_id)
