"""Legs that wait for a block and want a look, and what each of them wants: read from the rows, decided without the world."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from eth_typing import ChecksumAddress
from sqlalchemy import ColumnElement, Select, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from chain.attempts import Effect, StoredAttempt, meaning_of
from chain.classifier import SendClass
from chain.codec import checksum
from chain.fees import Fees, lowest_price
from chain.lane_config import LaneConfig
from chain.types import Market, TxHash, Wei
from models.ids import leg_id
from models.statuses import UNMINED_STATES, AttemptKind
from models.tables.transactions import ChainAttempt, ChainSigner, ChainTransaction

_LOOK_AT_MOST = 256
"""Legs in one look, the lowest nonces first: the higher ones cannot be mined before them."""
_TO_ACT_UPON = (SendClass.REPRICE, SendClass.RECONCILE, SendClass.OURS_IS_LIVE)


@dataclass(frozen=True, slots=True)
class Attempt:
    """``old``: it was stored so long ago that it may be replaced. ``stale``: sent so long ago that it may be sent again."""

    hash: TxHash
    kind: AttemptKind
    raw: bytes
    gas: int
    fees: Fees
    means: SendClass | None
    old: bool
    stale: bool


@dataclass(frozen=True, slots=True, eq=False)
class Stuck:
    """A leg that is PREPARED or BROADCAST, with its attempts in the order in which they were stored."""

    id: int
    operation_id: str
    leg: str
    generation: int
    nonce: int
    target: ChecksumAddress
    calldata: bytes
    value: Wei
    cancel_reason: str | None
    attempts: Sequence[Attempt]

    @property
    def name(self) -> str:
        return leg_id(self.operation_id, self.leg, self.generation)

    @property
    def best(self) -> Attempt:
        """The attempt that pays most, which is the one that may replace the others in a pool."""
        return max(self.attempts, key=lambda attempt: attempt.fees.most)

    @property
    def stale(self) -> bool:
        return all(attempt.stale for attempt in self.attempts)

    @property
    def nonce_seems_used(self) -> bool:
        return any(attempt.means is SendClass.RECONCILE for attempt in self.attempts)

    @property
    def kind(self) -> AttemptKind:
        """What may be sent for it from now on: once there is a cancellation, only that."""
        return max(self.attempts, key=lambda attempt: attempt.kind is AttemptKind.CANCEL).kind

    def payload(self) -> Effect:
        """What every attempt to have the leg mined does, to the last unit of gas."""
        return Effect(AttemptKind.PAYLOAD, self.target, self.calldata, self.value, self.attempts[0].gas)

    def again(self) -> StoredAttempt:
        return StoredAttempt(self.id, self.nonce, self.best.hash, self.best.raw)


@dataclass(frozen=True, slots=True)
class Waiting:
    """``lowest_nonce``: of all that wait for a block, the only one that the chain can take next."""

    legs: Sequence[Stuck]
    lowest_nonce: int
    paused: bool


_NOTHING = Waiting([], 0, paused=False)


def replacement_for(leg: Stuck, lowest_nonce: int, market: Market) -> AttemptKind | None:
    """What a new attempt of the leg should be; None where the ones that it has may still do (money.md section 2).

    A nonce that seems used is not outbid, since no price could win it back, and neither is what the wallet cannot pay for.
    """
    best = leg.best
    if best.means is SendClass.RECONCILE:
        return None
    if leg.cancel_reason is not None and leg.kind is AttemptKind.PAYLOAD:
        return AttemptKind.CANCEL
    if best.means is SendClass.FUNDS:
        return None
    outbid = best.means is SendClass.OURS_IS_LIVE and len(leg.attempts) > 1
    if best.means is SendClass.REPRICE or outbid:
        return leg.kind
    held_up = leg.nonce == lowest_nonce or best.fees.most < lowest_price(market)
    return leg.kind if leg.attempts[-1].old and held_up else None


async def read_waiting(session: AsyncSession, config: LaneConfig) -> Waiting:
    """The legs that want a look, in the order of their nonces."""
    rows = (await session.execute(_query(config))).all()
    if not rows:
        return _NOTHING
    attempts: dict[int, list[Attempt]] = {}
    legs: dict[int, Stuck] = {}
    for row in rows:
        found = attempts.setdefault(row.id, [])
        fees = Fees(Wei(row.max_fee_per_gas), Wei(row.max_priority_fee_per_gas))
        means = meaning_of(row.last_answer)
        found.append(Attempt(TxHash(row.hash), row.kind, row.raw, row.gas, fees, means, row.old, row.stale))
        name = (row.operation_id, row.leg, row.generation)
        effect = (checksum(row.target), row.calldata, Wei(row.value))
        legs[row.id] = Stuck(row.id, *name, row.nonce, *effect, row.cancel_reason, found)
    return Waiting(list(legs.values()), rows[0].lowest_nonce, rows[0].paused)


def _query(config: LaneConfig) -> Select[*tuple[Any, ...]]:
    ours = (ChainTransaction.chain_id == config.chain_id, ChainTransaction.signer == config.wallet)
    unmined = (*ours, ChainTransaction.state.in_(UNMINED_STATES))
    signer = (ChainSigner.chain_id == config.chain_id, ChainSigner.address == config.wallet)
    wanting = select(ChainTransaction.id).where(*unmined, _wants_a_look(config))
    return (
        select(
            ChainTransaction.id,
            ChainTransaction.operation_id,
            ChainTransaction.leg,
            ChainTransaction.generation,
            ChainTransaction.nonce,
            ChainTransaction.target,
            ChainTransaction.calldata,
            ChainTransaction.value,
            ChainTransaction.cancel_reason,
            ChainAttempt.hash,
            ChainAttempt.kind,
            ChainAttempt.raw,
            ChainAttempt.gas,
            ChainAttempt.max_fee_per_gas,
            ChainAttempt.max_priority_fee_per_gas,
            ChainAttempt.last_answer,
            (ChainAttempt.stored_at < _ago(config.bump_after)).label("old"),
            (_last_sent() < _ago(config.resend_after)).label("stale"),
            select(func.min(ChainTransaction.nonce)).where(*unmined).scalar_subquery().label("lowest_nonce"),
            select(ChainSigner.paused_at.is_not(None)).where(*signer).scalar_subquery().label("paused"),
        )
        .join(ChainAttempt, ChainAttempt.transaction_id == ChainTransaction.id)
        .where(ChainTransaction.id.in_(wanting.order_by(ChainTransaction.nonce).limit(_LOOK_AT_MOST)))
        .order_by(ChainTransaction.nonce, ChainAttempt.stored_at, ChainAttempt.max_fee_per_gas)
    )


def _wants_a_look(config: LaneConfig) -> ColumnElement[bool]:
    its = ChainAttempt.transaction_id == ChainTransaction.id
    to_act_upon = or_(*(ChainAttempt.last_answer.startswith(f"{means}:") for means in _TO_ACT_UPON))
    return or_(
        ChainTransaction.cancel_reason.is_not(None),
        ~exists().where(its, _last_sent() >= _ago(config.resend_after)),
        ~exists().where(its, ChainAttempt.stored_at >= _ago(config.bump_after)),
        exists().where(its, to_act_upon),
    )


def _last_sent() -> ColumnElement[datetime]:
    return func.coalesce(ChainAttempt.sent_at, ChainAttempt.stored_at)


def _ago(duration: timedelta) -> ColumnElement[datetime]:
    return func.clock_timestamp() - duration
