"""Whether the account that a leg charges covers it (money.md sections 2, 6 and 7).

An account that is read per operation (money in flight, a liability to a partner, suspense) obeys one rule, twice. What its
legs take that may still have their effect, or had it, is at most what went into the account for this operation, less what
was moved on inside the books:

- when a leg is inserted, under the operation's lock, what is promised to come in counts as well:
  repay + refund ≤ collected;
- when a nonce is taken, only what came in counts.

What leaves the wallet is counted by the legs themselves and not by their ledger rows, so a leg that is final and not yet
posted is never forgotten, and one that is posted never counted twice. A move inside the books that is only promised (the
fee, which goes with the payout) counts with its leg, and not when that leg is dead.

The platform float is one account for all operations. It covers a leg when what is posted, less what legs with a nonce take
that is not posted yet, is enough; the earlier leg goes first, and one that is too large keeps no smaller one waiting.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from chain.broken import LegMisplanned
from models import accounts
from models.statuses import IN_FLIGHT_STATES, LIVE_STATES, LedgerPhase, OperationState, TransactionState
from models.tables.ledger import LedgerBalance, LedgerTransfer
from models.tables.operations import Operation
from models.tables.transactions import ChainTransaction

_COUNTS_AT_INSERT = LIVE_STATES | {TransactionState.FINAL_OK}
_COUNTS_AT_PREPARE = IN_FLIGHT_STATES | {TransactionState.HELD, TransactionState.FINAL_OK}
"""QUEUED legs are left out: each waits until what is there covers it."""

LegKey = tuple[str | None, str | None, int | None]
"""Operation, leg and generation."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A leg, and the account that must pay for it, in base units."""

    operation_id: str
    leg: str
    generation: int
    account: str
    amount: int

    @property
    def key(self) -> LegKey:
        return self.operation_id, self.leg, self.generation


@dataclass(frozen=True, slots=True)
class _Flow:
    """What moved, or is promised to move, between two accounts for one leg of an operation."""

    key: LegKey
    debit: str
    credit: str
    promised: bool
    amount: int


@dataclass(frozen=True)
class _Books:
    """What the ledger and the legs say of some operations."""

    flows: Sequence[_Flow]
    legs: list[Wanted]

    def left(self, account: str, leg: Wanted, *, promised_too: bool) -> int:
        """What this leg may take from its operation's account."""
        counting = {other.key for other in self.legs} | {leg.key}
        came = sum(
            flow.amount
            for flow in self._of(leg.operation_id)
            if flow.credit == account and (promised_too or not flow.promised)
        )
        moved_on = sum(
            flow.amount
            for flow in self._of(leg.operation_id)
            if flow.debit == account
            and flow.credit != accounts.PLATFORM_WALLET
            and (not flow.promised or flow.key in counting)
        )
        taken = sum(
            other.amount for other in self.legs if other.operation_id == leg.operation_id and other.account == account
        )
        return came - moved_on - taken

    def promises(self, leg: Wanted) -> bool:
        """Whether the ledger has promised this very leg what it takes."""
        return any(
            flow.promised and flow.key == leg.key and flow.debit == leg.account and flow.amount >= leg.amount
            for flow in self.flows
        )

    def _of(self, operation_id: str) -> Iterable[_Flow]:
        return (flow for flow in self.flows if flow.key[0] == operation_id)


def of_one_operation(account: str) -> bool:
    """Whether the account is read per operation. Raises LegMisplanned for one that no leg may charge."""
    if account == accounts.FLOAT:
        return False
    if account in (accounts.IN_FLIGHT, accounts.SUSPENSE) or account.startswith(accounts.liability("")):
        return True
    raise LegMisplanned(f"no leg may charge the account '{account}'")


async def left_for(session: AsyncSession, leg: Wanted) -> int:
    """What a leg that is about to be inserted may take from its operation's account, in base units.

    The caller holds the operation's lock.
    """
    books = await _read_books(session, [leg.operation_id], _COUNTS_AT_INSERT)
    return books.left(leg.account, leg, promised_too=True)


async def covered(session: AsyncSession, legs: Sequence[Wanted]) -> set[LegKey]:
    """Which QUEUED legs their accounts cover, the earlier ones first. The caller holds the locks of their operations."""
    if not legs:
        return set()
    by_operation: dict[str, _Books] = {}
    whole = await _read_books(session, {leg.operation_id for leg in legs}, _COUNTS_AT_PREPARE)
    for operation_id in {leg.operation_id for leg in legs}:
        flows = [flow for flow in whole.flows if flow.key[0] == operation_id]
        by_operation[operation_id] = _Books(flows, [leg for leg in whole.legs if leg.operation_id == operation_id])
    float_left = await _float_left(session)
    passed: set[LegKey] = set()
    for leg in legs:
        books = by_operation[leg.operation_id]
        if of_one_operation(leg.account):
            covers = books.left(leg.account, leg, promised_too=False) >= leg.amount
        else:
            covers = leg.amount <= float_left and books.promises(leg)
            float_left -= leg.amount if covers else 0
        if covers:
            books.legs.append(leg)
            passed.add(leg.key)
    return passed


async def _read_books(
    session: AsyncSession, operation_ids: Collection[str], states: Collection[TransactionState]
) -> _Books:
    return _Books(await _read_flows(session, operation_ids), await _read_legs(session, operation_ids, states))


async def _read_flows(session: AsyncSession, operation_ids: Collection[str]) -> list[_Flow]:
    resolution = aliased(LedgerTransfer)
    promised = LedgerTransfer.phase == LedgerPhase.PENDING
    columns = (
        LedgerTransfer.operation_id,
        LedgerTransfer.leg,
        LedgerTransfer.generation,
        LedgerTransfer.debit_account,
        LedgerTransfer.credit_account,
        promised,
    )
    query = (
        select(*columns, func.sum(LedgerTransfer.amount))
        .outerjoin(resolution, resolution.pending_id == LedgerTransfer.id)
        .where(
            LedgerTransfer.operation_id.in_(operation_ids),
            or_(
                LedgerTransfer.phase.in_((LedgerPhase.POSTED, LedgerPhase.SINGLE)),
                promised & resolution.id.is_(None),
            ),
        )
        .group_by(*columns)
    )
    return [
        _Flow((operation_id, leg, generation), debit, credit, is_promised, int(amount))
        for operation_id, leg, generation, debit, credit, is_promised, amount in (await session.execute(query)).all()
    ]


async def _read_legs(
    session: AsyncSession, operation_ids: Collection[str], states: Collection[TransactionState]
) -> list[Wanted]:
    query = select(
        ChainTransaction.operation_id,
        ChainTransaction.leg,
        ChainTransaction.generation,
        func.coalesce(ChainTransaction.charges_account, ""),
        ChainTransaction.amount,
    ).where(ChainTransaction.operation_id.in_(operation_ids), ChainTransaction.state.in_(states))
    return [Wanted(*row) for row in (await session.execute(query)).all()]


async def _float_left(session: AsyncSession) -> int:
    """The platform float less what the legs take that may still have their effect, or had it and are not posted yet.

    A leg on the float is posted in the transaction that makes its operation DONE. One statement reads both, since between
    two a leg could be posted, and be missed by both.
    """
    posted = select(LedgerBalance.posted).where(LedgerBalance.account == accounts.FLOAT).scalar_subquery()
    taken = (
        select(func.sum(ChainTransaction.amount))
        .join(Operation, Operation.id == ChainTransaction.operation_id)
        .where(
            Operation.state == OperationState.OPEN,
            ChainTransaction.charges_account == accounts.FLOAT,
            ChainTransaction.state.in_(_COUNTS_AT_PREPARE),
        )
        .scalar_subquery()
    )
    return int(await session.scalar(select(func.coalesce(posted, 0) - func.coalesce(taken, 0))) or 0)
