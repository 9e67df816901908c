"""The list of a partner's operations, by which it reconciles what it asked for with what became of it."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import Select, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from api.answers import OperationsAnswer
from api.fields import MAY_BE_ABSENT
from api.operations import operation_summary
from api.paging import Order, PageQuery, Place, cursor_in, cut
from models.statuses import OperationKind, OperationState
from models.tables.operations import Operation

OPERATIONS = Order("operation", Operation.received_at, Operation.id)
OperationCursor = Annotated[str, *cursor_in(OPERATIONS.pattern)]


class PartnersKind(StrEnum):
    """The kinds of operations that partners ask for; the engine's own are not theirs to see."""

    BORROW = "BORROW"
    REPAY = "REPAY"


class OperationsQuery(PageQuery):
    kind: Annotated[PartnersKind | None, MAY_BE_ABSENT] = None
    state: list[OperationState] = Field(
        default=[],
        max_length=len(OperationState),
        description="may be given several times",
        examples=[["OPEN", "RECEIVED"]],
    )
    cursor: Annotated[OperationCursor | None, MAY_BE_ABSENT] = None


async def operations_page(
    session: AsyncSession, partner_id: str, asked: OperationsQuery, problem_base: str
) -> OperationsAnswer:
    rows = list(await session.scalars(operations_statement(partner_id, asked)))
    page, following = cut(rows, asked.limit, OPERATIONS, lambda each: Place(each.received_at, each.id))
    return OperationsAnswer(
        operations=[operation_summary(operation, problem_base) for operation in page], next_cursor=following
    )


def operations_statement(partner_id: str, asked: OperationsQuery) -> Select[Any]:
    """One page of operations: of each kind a page, since its index is sorted within one kind only, and these merged."""
    kinds = [asked.kind] if asked.kind is not None else list(PartnersKind)
    pages = []
    for kind in kinds:
        found = select(Operation.id).where(Operation.partner_id == partner_id, Operation.kind == OperationKind(kind))
        if asked.state:
            found = found.where(Operation.state.in_(asked.state))
        pages.append(OPERATIONS.page(found, asked.cursor, asked.limit))
    found_ids = union_all(*pages).subquery()
    return OPERATIONS.page(select(Operation).join(found_ids, found_ids.c.id == Operation.id), None, asked.limit)
