"""What anybody may read of the chain: credit lines and positions are public there, and here they are only put into words."""

from typing import Annotated

from fastapi import APIRouter, Query

from api.answers import CreditLineAnswer, CreditLinesAnswer, PositionAnswer
from api.credit_lines import CreditLinesQuery, read_line, read_lines_of
from api.deps import OnChainId, ResourcesDep
from api.docs import ALWAYS, ON_CHAIN, PUBLIC, problems
from api.errors import InternalError, InvalidRequest
from api.gate import PublicRoute
from api.positions import read_position
from models.errors import CreditLineNotFound, PositionNotFound

router = APIRouter(prefix="/v1", tags=["chain"], route_class=PublicRoute)


@router.get(
    "/credit-lines",
    operation_id="listCreditLines",
    summary="A wallet's credit lines, its score and its history",
    responses=problems(InvalidRequest, InternalError, *PUBLIC, *ON_CHAIN),
)
async def list_credit_lines(resources: ResourcesDep, asked: Annotated[CreditLinesQuery, Query()]) -> CreditLinesAnswer:
    return await read_lines_of(resources, asked)


@router.get(
    "/credit-lines/{oaid_token_id}",
    operation_id="getCreditLine",
    summary="A credit line as the chain has it, with its user's score and history",
    responses=problems(InvalidRequest, InternalError, *PUBLIC, *ON_CHAIN, also=((CreditLineNotFound, 404),)),
)
async def get_credit_line(oaid_token_id: OnChainId, resources: ResourcesDep) -> CreditLineAnswer:
    return await read_line(resources, oaid_token_id)


@router.get(
    "/positions/{position_id}",
    operation_id="getPosition",
    summary="A solvency position, its debt and its plan",
    responses=problems(InvalidRequest, PositionNotFound, *PUBLIC, *ON_CHAIN, *ALWAYS),
)
async def get_position(position_id: OnChainId, resources: ResourcesDep) -> PositionAnswer:
    """``total_partner_debt`` and ``outside_debt`` follow the chain's events, and may lag the block by some seconds."""
    return await read_position(resources, position_id)
