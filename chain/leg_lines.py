"""What the lane's lines about one leg name: its operation and partner, and where a person will read them, its loan and trace.

The lane works on the legs of many operations in one task, so each line is told whose it is.
"""

from collections.abc import Collection, Mapping

from sqlalchemy import select

from models.log_lines import whose
from models.tables.operations import Operation
from models.tables.session import Transaction

Names = Mapping[str, str]


async def looked_up(transaction: Transaction, operation_ids: Collection[str]) -> Mapping[str, Names]:
    """By operation: for lines that are rare, since it reads the rows."""
    if not operation_ids:
        return {}
    query = select(Operation.id, Operation.loan_id, Operation.trace_id).where(Operation.id.in_(operation_ids))
    async with transaction() as session:
        rows = (await session.execute(query)).all()
    return {row.id: {**whose(row.id), **_known(loan_id=row.loan_id, trace_id=row.trace_id)} for row in rows}


def _known(**names: str | None) -> dict[str, str]:
    return {name: value for name, value in names.items() if value is not None}
