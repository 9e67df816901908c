"""What the activities need of an operation's legs, inside the caller's transaction."""

from eth_utils.address import to_checksum_address
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from activities.movements import leg_name
from chain import transactions
from chain.contracts.vault_events import (
    LoanRepaid,
    RepaymentPlanCreated,
    decode_loan_repaid,
    decode_repayment_plan_created,
)
from chain.legs import is_expected
from chain.types import BlockHash, BlockNumber, Log, TxHash
from models.errors import InvariantBroken
from models.statuses import WITHOUT_EFFECT_STATES, LegName, TransactionState
from models.tables import book
from models.tables.transactions import ChainTransaction


async def final_leg(session: AsyncSession, operation_id: str, leg: LegName) -> ChainTransaction:
    """The generation of a leg that succeeded; its absence is a bug, since only a final leg is ever recorded."""
    query = select(ChainTransaction).where(
        ChainTransaction.operation_id == operation_id,
        ChainTransaction.leg == leg,
        ChainTransaction.state == TransactionState.FINAL_OK,
    )
    row = await session.scalar(query)
    if row is None:
        raise InvariantBroken(f"{operation_id} has no final leg {leg}")
    return row


async def post_final_legs(session: AsyncSession, operation_id: str) -> list[ChainTransaction]:
    """Posts what every final leg moved and voids what the others promised; returns the legs that succeeded.

    An operation ends here, so a leg that may still have its effect is a bug.
    """
    succeeded = []
    for row in await transactions.legs_of(session, operation_id):
        if row.state is TransactionState.FINAL_OK:
            await book.post(session, operation_id, row.leg, row.generation)
            succeeded.append(row)
        elif row.state in WITHOUT_EFFECT_STATES:
            await book.void(session, operation_id, row.leg, row.generation)
        else:
            raise InvariantBroken(f"{operation_id} would end while its leg {row.leg} is {row.state}")
    return succeeded


async def least_left(session: AsyncSession, operation_id: str) -> int | None:
    """The least that a final repayment of this operation left owing, in base units; None where there is none.

    A repayment pays interest first, so what it leaves is principal, and principal grows only by another borrow. The least
    and not the last, since a residue that met another borrow would take that for its own.
    """
    to_vault = (LegName.REPAY, LegName.RESIDUE, LegName.UNWIND)
    rows = await transactions.legs_of(session, operation_id)
    final = [row for row in rows if row.state is TransactionState.FINAL_OK and leg_name(row.leg) in to_vault]
    return min((loan_repaid(row).remaining_debt for row in final), default=None)


def loan_repaid(leg: ChainTransaction) -> LoanRepaid:
    """Principal, interest and remaining debt as the vault's own event says: never computed (contracts.md, trap 4).

    The event is the one that the leg was expected to show, and that made it FINAL_OK: others of the receipt are none of its.
    """
    logs = [log for stored in leg.logs or [] if is_expected(leg.expected_logs, log := _log(leg, stored))]
    events = [event for log in logs if (event := decode_loan_repaid(log)) is not None]
    if len(events) != 1:
        raise InvariantBroken(f"leg {leg.leg} of {leg.operation_id} has {len(events)} LoanRepaid events, expected one")
    return events[0]


def plan_created(leg: ChainTransaction) -> RepaymentPlanCreated | None:
    """The repayment plan that a final borrow began, as the vault's own event says; None where its receipt shows none."""
    events = (decode_repayment_plan_created(_log(leg, log)) for log in leg.logs or [])
    return next((event for event in events if event is not None), None)


def _log(leg: ChainTransaction, stored: dict[str, object]) -> Log:
    topics = stored["topics"]
    if not isinstance(topics, list):
        raise InvariantBroken(f"leg {leg.leg} of {leg.operation_id} has a log without topics")
    return Log(
        address=to_checksum_address(str(stored["address"])),
        topics=tuple(map(str, topics)),
        data=str(stored["data"]),
        block_number=BlockNumber(leg.result_block or 0),
        block_hash=BlockHash(leg.result_block_hash or ""),
        tx_hash=TxHash(leg.result_tx_hash or ""),
        log_index=int(str(stored["log_index"])),
    )
