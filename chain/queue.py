"""What waits for its nonce, as rows: read in the order in which it came, and locked again when its nonce is taken."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, Select, exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from chain.charges import Wanted, covered
from chain.classifier import SendClass
from chain.lane_config import LaneConfig
from chain.types import Wei
from models.ids import leg_id
from models.statuses import IN_FLIGHT_STATES, UNMINED_STATES, TransactionState
from models.tables.transactions import ChainAttempt, ChainSigner, ChainTransaction

_SPENDING = IN_FLIGHT_STATES | {TransactionState.HELD}


@dataclass(frozen=True, slots=True)
class QueuedLeg:
    """A leg that waits for its nonce."""

    id: int
    operation_id: str
    leg: str
    generation: int
    amount: int
    target: str
    calldata: bytes
    value: int
    gas: int | None
    charges_account: str | None
    spends_allowance: bool

    @property
    def name(self) -> str:
        return leg_id(self.operation_id, self.leg, self.generation)

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.operation_id, self.leg, self.generation, self.charges_account or "", self.amount)


@dataclass(frozen=True, slots=True)
class Queue:
    """``spent_by_live`` is USDC that the vault may still pull, ``gas_in_flight`` wei that sent attempts may still cost.

    ``gas_refused`` says that a node has refused one of these for want of gas.
    """

    next_nonce: int
    legs: list[QueuedLeg]
    spent_by_live: int
    gas_in_flight: Wei
    gas_refused: bool


async def read_queue(session: AsyncSession, config: LaneConfig, parked: Collection[int]) -> Queue:
    """The oldest legs that may go next, none while the signer is paused."""
    signer = (await session.execute(_signer(config))).one()
    if signer.paused_at is not None:
        return Queue(signer.next_nonce, [], 0, Wei(signer.gas_in_flight), signer.gas_refused)
    columns = [getattr(ChainTransaction, each.name) for each in fields(QueuedLeg)]
    waiting = select(*columns).where(
        *_ours(config), ChainTransaction.state == TransactionState.QUEUED, ChainTransaction.id.not_in(parked)
    )
    rows = (await session.execute(waiting.order_by(ChainTransaction.id).limit(config.batch))).all()
    legs = [QueuedLeg(*row) for row in rows]
    spent = await _spent(session, config) if any(leg.spends_allowance for leg in legs) else 0
    return Queue(signer.next_nonce, legs, spent, Wei(signer.gas_in_flight), signer.gas_refused)


async def lock_queued(session: AsyncSession, ids: Collection[int]) -> set[int]:
    """The rows that are still QUEUED, locked in the order of their ids."""
    query = (
        select(ChainTransaction.id)
        .where(ChainTransaction.id.in_(ids), ChainTransaction.state == TransactionState.QUEUED)
        .order_by(ChainTransaction.id)
        .with_for_update()
    )
    return set((await session.scalars(query)).all())


async def not_covered(session: AsyncSession, legs: Sequence[QueuedLeg]) -> set[int]:
    """The legs whose account does not hold what they take out of it."""
    charging = [leg for leg in legs if leg.charges_account is not None]
    paid = await covered(session, [leg.wanted for leg in charging])
    return {leg.id for leg in charging if leg.wanted.key not in paid}


def _signer(config: LaneConfig) -> Select[*tuple[Any, ...]]:
    unmined = (*_ours(config), ChainTransaction.state.in_(UNMINED_STATES))
    attempts = select(ChainAttempt).join(ChainTransaction, ChainAttempt.transaction_id == ChainTransaction.id)
    dearest = attempts.with_only_columns(
        func.max(ChainAttempt.gas * ChainAttempt.max_fee_per_gas).label("cost"), maintain_column_froms=True
    ).where(*unmined)
    cost = dearest.group_by(ChainTransaction.id).subquery()
    refused = attempts.where(*unmined, ChainAttempt.last_answer.startswith(f"{SendClass.FUNDS}:"))
    return select(
        ChainSigner.next_nonce,
        ChainSigner.paused_at,
        select(func.coalesce(func.sum(cost.c.cost), 0)).scalar_subquery().label("gas_in_flight"),
        exists(refused).label("gas_refused"),
    ).where(ChainSigner.chain_id == config.chain_id, ChainSigner.address == config.wallet)


async def _spent(session: AsyncSession, config: LaneConfig) -> int:
    query = select(func.coalesce(func.sum(ChainTransaction.amount), 0)).where(
        *_ours(config), ChainTransaction.state.in_(_SPENDING), ChainTransaction.spends_allowance
    )
    return int(await session.scalar(query) or 0)


def _ours(config: LaneConfig) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return ChainTransaction.chain_id == config.chain_id, ChainTransaction.signer == config.wallet
