"""Credit lines as OAID has them, with the score and the payment history that it keeps: nothing here is our own."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field

from api.answers import CreditLineAnswer, CreditLinesAnswer, CreditLineSummary, CreditProfileAnswer
from api.errors import NotThere
from api.fields import MAY_BE_ABSENT, AddressIn
from api.paging import PageQuery, cursor_in
from api.resources import Resources
from chain.codec import Call, attempt, checksum
from chain.contracts.oaid import CreditLine, CreditProfile, Oaid
from chain.errors import Reverted
from chain.types import Block
from models.errors import CreditLineNotFound

LinesCursor = Annotated[str, *cursor_in(r"^[1-9][0-9]{0,8}$")]


class CreditLinesQuery(PageQuery):
    """A list of OAID only grows at its end, so the cursor is how many lines are left: those before it never change place."""

    user_wallet: AddressIn
    limit: int = Field(default=20, ge=1, le=50, description="how many on a page", examples=[20])
    cursor: Annotated[LinesCursor | None, MAY_BE_ABSENT] = None


async def read_line(resources: Resources, oaid_token_id: int) -> CreditLineAnswer:
    """The line, and then the profile of the user that it names, both at one block. Raises NotThere."""
    chain, oaid = resources.chain, Oaid(resources.settings.oaid_address)
    head = await chain.head()
    line, available = await chain.read(
        oaid.get_credit_line(oaid_token_id), attempt(oaid.get_available_credit(oaid_token_id)), block=head.number
    )
    if not line.exists:
        raise NotThere(CreditLineNotFound(oaid_token_id))
    (profile,) = await chain.read(oaid.get_credit_profile(line.user), block=head.number)
    return CreditLineAnswer(**_fields(oaid_token_id, line, available), profile=_profile(profile), **as_of(head))


async def read_lines_of(resources: Resources, asked: CreditLinesQuery) -> CreditLinesAnswer:
    """A page of the wallet's lines, all at one block."""
    chain, oaid = resources.chain, Oaid(resources.settings.oaid_address)
    wallet = checksum(asked.user_wallet)
    head = await chain.head()
    ids, profile = await chain.read(
        oaid.get_user_credit_lines(wallet), oaid.get_credit_profile(wallet), block=head.number
    )
    end = len(ids) if asked.cursor is None else min(len(ids), int(asked.cursor))
    begin = max(0, end - asked.limit)
    return CreditLinesAnswer(
        user_wallet=wallet,
        profile=_profile(profile),
        credit_lines=await _summaries(resources, oaid, ids[begin:end][::-1], head),
        next_cursor=str(begin) if begin > 0 else None,
        **as_of(head),
    )


async def _summaries(resources: Resources, oaid: Oaid, ids: Sequence[int], head: Block) -> list[CreditLineSummary]:
    lines: list[Call[Any]] = [oaid.get_credit_line(each) for each in ids]
    available: list[Call[Any]] = [attempt(oaid.get_available_credit(each)) for each in ids]
    found = await resources.chain.read(*lines, *available, block=head.number)
    of_each = zip(ids, found[: len(ids)], found[len(ids) :], strict=True)
    return [CreditLineSummary(**_fields(*each)) for each in of_each]


def as_of(block: Block) -> dict[str, Any]:
    return {"as_of_block": block.number, "as_of": moment(block.timestamp)}


def moment(seconds: int) -> datetime:
    """A time of the chain."""
    return datetime.fromtimestamp(seconds, UTC)


def _fields(oaid_token_id: int, line: CreditLine, available: int | Reverted) -> dict[str, Any]:
    return {
        "oaid_token_id": str(oaid_token_id),
        "user_wallet": line.user,
        "position_id": str(line.solvency_position_id),
        "collateral_token": line.collateral_token,
        "collateral_amount": str(line.collateral_amount),
        "credit_limit": str(line.credit_limit),
        "credit_used": str(line.credit_used),
        "available_credit": "0" if isinstance(available, Reverted) else str(available),
        "active": line.active,
        "liquidated": line.liquidated,
        "issued_at": moment(line.issued_at),
        "total_payments": line.total_payments,
        "on_time_payments": line.on_time_payments,
        "late_payments": line.late_payments,
        "total_amount_repaid": str(line.total_amount_repaid),
    }


def _profile(profile: CreditProfile) -> CreditProfileAnswer:
    return CreditProfileAnswer(
        credit_score=profile.credit_score,
        active_credit_lines=profile.active_credit_lines,
        total_credit_limit=str(profile.total_credit_limit),
        total_payments=profile.total_payments,
        on_time_payments=profile.on_time_payments,
        late_payments=profile.late_payments,
        liquidations=profile.liquidations,
    )
