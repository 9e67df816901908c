"""What anybody asked of this API: for administrators, failed authentications included."""

from typing import Annotated

from fastapi import APIRouter, Query

from api.auth import AdminDep
from api.deps import ReadSessionDep
from api.docs import KEYED, READS, problems
from api.errors import InvalidRequest
from api.gate import AdminRoute
from api.requests import AdminRequestFilters, AdminRequestsAnswer, all_requests

router = APIRouter(prefix="/v1/admin/requests", tags=["requests"], route_class=AdminRoute)


@router.get(
    "",
    operation_id="listAllRequests",
    summary="Everybody's calls, newest first",
    responses=problems(*KEYED, InvalidRequest, *READS),
)
async def list_all_requests(
    caller: AdminDep, session: ReadSessionDep, filters: Annotated[AdminRequestFilters, Query()]
) -> AdminRequestsAnswer:
    """Calls of partners, of administrators, and of those whom no key let in."""
    del caller  # asked for so that it is an administrator
    return await all_requests(session, filters)
