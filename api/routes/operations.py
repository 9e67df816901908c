"""Where an operation stands. What a partner polls, or waits on."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query

from api.answers import OperationAnswer, OperationsAnswer
from api.auth import Caller, Reader
from api.deps import ResourcesDep
from api.docs import ALWAYS, KEYED, READS, problems
from api.errors import InvalidRequest
from api.gate import PartnerRoute
from api.operation_list import OperationsQuery, operations_page
from api.operations import find_operation, legs_of, operation_answer
from api.reads import reading
from api.resources import Resources
from models.errors import OperationNotFound
from models.statuses import OperationState

router = APIRouter(prefix="/v1/operations", tags=["operations"], route_class=PartnerRoute)

OperationId = Annotated[
    str,
    Path(
        pattern=r"^[a-z]+:[A-Za-z0-9._-]{1,64}:[A-Za-z0-9._~-]{1,80}$",
        description="as the answer to the request named it",
        examples=["borrow:acme:loan~loan-2026-000042"],
    ),
]
Wait = Annotated[int, Query(ge=0, le=30, description="seconds to wait for the operation to be DONE", examples=[20])]


@router.get(
    "",
    operation_id="listOperations",
    summary="The partner's operations, newest first",
    responses=problems(*KEYED, InvalidRequest, *READS),
)
async def list_operations(
    caller: Reader, resources: ResourcesDep, asked: Annotated[OperationsQuery, Query()]
) -> OperationsAnswer:
    """Without the timelines, which each operation has by itself. One that is started anew moves to the front."""
    async with reading(resources) as session:
        return await operations_page(session, caller.partner_id, asked, resources.settings.problem_base)


@router.get(
    "/{operation_id}",
    operation_id="getOperation",
    summary="State, promise, end and timeline of an operation",
    responses=problems(*KEYED, InvalidRequest, OperationNotFound, *ALWAYS),
)
async def get_operation(
    operation_id: OperationId, caller: Reader, resources: ResourcesDep, wait: Wait = 0
) -> OperationAnswer:
    """With ``wait`` the answer comes as soon as the operation is DONE, at the latest after so many seconds."""
    answer = await _look(resources, caller, operation_id)
    if wait == 0 or answer.state is OperationState.DONE:
        return answer
    await resources.watch.wait(operation_id, timedelta(seconds=wait))
    return await _look(resources, caller, operation_id)


async def _look(resources: Resources, caller: Caller, operation_id: str) -> OperationAnswer:
    async with resources.transaction() as session:
        operation = await find_operation(session, caller.partner_id, operation_id)
        legs = await legs_of(session, operation)
    return operation_answer(operation, legs, resources.settings.problem_base)
