"""What a partner asked of this API, and what it was answered."""

from typing import Annotated

from fastapi import APIRouter, Query

from api.auth import Reader
from api.deps import ReadSessionDep
from api.docs import KEYED, READS, problems
from api.errors import InvalidRequest
from api.gate import PartnerRoute
from api.requests import RequestFilters, RequestsAnswer, partners_requests

router = APIRouter(prefix="/v1/me/requests", tags=["requests"], route_class=PartnerRoute)


@router.get(
    "",
    operation_id="listRequests",
    summary="The partner's own calls, newest first",
    responses=problems(*KEYED, InvalidRequest, *READS),
)
async def list_requests(
    caller: Reader, session: ReadSessionDep, filters: Annotated[RequestFilters, Query()]
) -> RequestsAnswer:
    """Each call with one of the partner's keys, refused ones included; it is here before its answer left."""
    return await partners_requests(session, caller.partner_id, filters)
