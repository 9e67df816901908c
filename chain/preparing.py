"""From QUEUED to sent: nonces, signatures and stored bytes for a batch of legs, in one commit before one send.

A round reads, signs with the nonces that it foresees, and only then opens the transaction that decides. The holder of the
lane is the only one that takes nonces, so what it foresees comes true, unless a leg in the batch may not go: then the
nonces behind it shift, those signatures are thrown away, and the legs behind it are signed again in the next round.
Nothing was stored or sent of them, so a nonce is never given back and never chosen anew.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from itertools import takewhile

from sqlalchemy import BigInteger, Select, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from chain.allowance import AllowanceKeeper, Spender
from chain.broken import LegMisplanned
from chain.charges import Wanted, covered
from chain.codec import checksum
from chain.election import Office, TermOver
from chain.errors import Reverted, RpcError
from chain.fees import FeeReader, Fees, market_fees
from chain.gates import lock_and_judge
from chain.sending import Outbox, StoredAttempt
from chain.signer import Signer, UnsignedTransaction
from chain.transitions import NewAttempt, abandon_queued, prepare, refuse_queued
from chain.types import CallRequest, Wei
from models.statuses import IN_FLIGHT_STATES, AttemptKind, TransactionState
from models.tables.transactions import ChainSigner, ChainTransaction

_SPENDING = IN_FLIGHT_STATES | {TransactionState.HELD}


@dataclass(frozen=True, slots=True)
class _Queued:
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
    def wanted(self) -> Wanted:
        return Wanted(self.operation_id, self.leg, self.generation, self.charges_account or "", self.amount)


@dataclass(frozen=True, slots=True)
class _Queue:
    next_nonce: int
    legs: list[_Queued]
    spent_by_live: int


@dataclass(frozen=True, slots=True)
class _Stored:
    """What a round's transaction committed, and whether legs behind a gap want to be signed again."""

    attempts: list[StoredAttempt]
    again: bool


@dataclass(frozen=True, slots=True)
class Prepared:
    """How many legs went out, and whether there is more to do at once."""

    sent: int
    more: bool


_NOTHING = _Stored([], again=False)


class Preparer:
    def __init__(
        self, office: Office, signer: Signer, outbox: Outbox, allowance: AllowanceKeeper, fees: FeeReader
    ) -> None:
        self._term = office.term
        self._node = office.node
        self._config = office.config
        self._log = office.log
        self._signer = signer
        self._outbox = outbox
        self._allowance = allowance
        self._fees = fees
        self._parked: set[int] = set()
        """Legs that were not covered a moment ago, so that they keep no others waiting. Only a matter of pace."""

    def retry_all(self) -> None:
        """Looks at once at every leg again that was not covered."""
        self._parked.clear()

    async def prepare_batch(self) -> Prepared:
        """Takes one batch as far as it goes."""
        queue = await self._read_queue()
        legs = await self._with_gas(await self._with_allowance(queue))
        attempts = await self._sign(legs, queue.next_nonce)
        stored = await self._store(legs, attempts, queue.next_nonce) if legs else _NOTHING
        await self._outbox.send(stored.attempts)
        return Prepared(len(stored.attempts), more=stored.again or len(queue.legs) == self._config.batch)

    async def _read_queue(self) -> _Queue:
        config = self._config
        columns = [getattr(ChainTransaction, each.name) for each in fields(_Queued)]
        ours = (ChainTransaction.chain_id == config.chain_id, ChainTransaction.signer == config.wallet)
        waiting = select(*columns).where(
            *ours, ChainTransaction.state == TransactionState.QUEUED, ChainTransaction.id.not_in(self._parked)
        )
        spent = select(func.coalesce(func.sum(ChainTransaction.amount), 0)).where(
            *ours, ChainTransaction.state.in_(_SPENDING), ChainTransaction.spends_allowance
        )
        async with self._term.transaction() as session:
            signer = (await session.execute(self._signer_row())).one()
            if signer.paused_at is not None:
                return _Queue(signer.next_nonce, [], 0)
            rows = (await session.execute(waiting.order_by(ChainTransaction.id).limit(config.batch))).all()
            legs = [_Queued(*row) for row in rows]
            spends = any(leg.spends_allowance for leg in legs)
            return _Queue(signer.next_nonce, legs, int(await session.scalar(spent) or 0) if spends else 0)

    async def _with_allowance(self, queue: _Queue) -> list[_Queued]:
        """The legs less those for which the vault's allowance does not suffice yet."""
        spenders = [Spender(leg.id, leg.amount) for leg in queue.legs if leg.spends_allowance]
        if not spenders:
            return queue.legs
        admitted = await self._allowance.admit(spenders, queue.spent_by_live)
        self._park(spender.id for spender in spenders if spender.id not in admitted)
        return [leg for leg in queue.legs if not leg.spends_allowance or leg.id in admitted]

    async def _with_gas(self, legs: list[_Queued]) -> list[_Queued]:
        """Simulates the legs that could not be simulated without their allowance; what the contract refuses is REFUSED."""
        unknown = [leg for leg in legs if leg.gas is None]
        if not unknown:
            return legs
        found = dict(zip(unknown, await asyncio.gather(*map(self._gas_of, unknown)), strict=True))
        refused = {leg.id: str(gas) for leg, gas in found.items() if isinstance(gas, Reverted)}
        unsettled = {leg.id for leg, gas in found.items() if gas is None}
        self._park(unsettled)
        async with self._term.transaction() as session:
            still_queued = await _lock_queued(session, list(refused))
            await refuse_queued(session, {row_id: refused[row_id] for row_id in still_queued})
        known = {leg.id: gas for leg, gas in found.items() if isinstance(gas, int)}
        left_out = refused.keys() | unsettled
        return [replace(leg, gas=known.get(leg.id, leg.gas)) for leg in legs if leg.id not in left_out]

    async def _gas_of(self, leg: _Queued) -> int | Reverted | None:
        """None where the node could not say: then the leg waits, and holds up no other."""
        request = CallRequest(self._config.wallet, checksum(leg.target), leg.calldata, Wei(leg.value))
        try:
            return await self._node.simulate(request)
        except Reverted as refusal:
            return refusal
        except RpcError as error:
            self._log.warning("leg_not_simulated", transaction_id=leg.id, error=str(error))
            return None

    async def _sign(self, legs: Sequence[_Queued], first_nonce: int) -> list[NewAttempt]:
        if not legs:
            return []
        fees = market_fees(await self._fees.market(), self._config.max_fee_cap)
        if fees is None:
            return []
        return [await self._sign_one(leg, first_nonce + place, fees) for place, leg in enumerate(legs)]

    async def _sign_one(self, leg: _Queued, nonce: int, fees: Fees) -> NewAttempt:
        if leg.gas is None:
            raise LegMisplanned(f"leg {leg.leg} of {leg.operation_id} was not simulated")
        gas = self._config.with_gas_margin(leg.gas)
        unsigned = UnsignedTransaction(
            chain_id=self._config.chain_id,
            nonce=nonce,
            to=checksum(leg.target),
            data=leg.calldata,
            value=Wei(leg.value),
            gas=gas,
            max_fee_per_gas=fees.most,
            max_priority_fee_per_gas=fees.priority,
        )
        signed = await self._signer.sign(unsigned)
        return NewAttempt(leg.id, nonce, AttemptKind.PAYLOAD, signed.hash, signed.raw, gas, fees.most, fees.priority)

    async def _store(self, legs: Sequence[_Queued], attempts: Sequence[NewAttempt], first_nonce: int) -> _Stored:
        """The transaction that decides: each leg is judged again under locks, and what passes gets its nonce."""
        async with self._term.transaction() as session:
            forbidden = await lock_and_judge(session, [(leg.operation_id, leg.leg) for leg in legs])
            if not await self._lock_signer(session, first_nonce):
                return _NOTHING
            queued = await _lock_queued(session, [leg.id for leg in legs])
            here = [leg for leg in legs if leg.id in queued]
            refused = {leg.id: reason for leg in here if (reason := forbidden.get((leg.operation_id, leg.leg)))}
            unpaid = await _not_covered(session, [leg for leg in here if leg.id not in refused])
            passed = queued - refused.keys() - unpaid
            going = list(takewhile(lambda attempt: attempt.transaction_id in passed, attempts))
            await abandon_queued(session, refused)
            await prepare(session, going)
            await self._move_next_nonce(session, first_nonce + len(going))
        self._park(unpaid)
        self._tell(refused, unpaid)
        sent = [StoredAttempt(each.transaction_id, each.nonce, each.hash, each.raw) for each in going]
        return _Stored(sent, again=len(going) < len(passed))

    async def _lock_signer(self, session: AsyncSession, first_nonce: int) -> bool:
        """Whether nonces may be taken. The signer's row names this very session, or the term is over."""
        # FOR NO KEY UPDATE lets submissions go on, whose foreign key needs the row to stay.
        signer = (await session.execute(self._signer_row().with_for_update(key_share=True))).one()
        if signer.lane_backend_pid != signer.own_pid:
            raise TermOver
        return signer.paused_at is None and signer.next_nonce == first_nonce

    def _signer_row(self) -> Select[int, datetime | None, int | None, int]:
        return select(
            ChainSigner.next_nonce,
            ChainSigner.paused_at,
            ChainSigner.lane_backend_pid,
            func.pg_backend_pid(type_=BigInteger).label("own_pid"),
        ).where(ChainSigner.chain_id == self._config.chain_id, ChainSigner.address == self._config.wallet)

    async def _move_next_nonce(self, session: AsyncSession, nonce: int) -> None:
        statement = (
            update(ChainSigner)
            .where(ChainSigner.chain_id == self._config.chain_id, ChainSigner.address == self._config.wallet)
            .values(next_nonce=nonce)
        )
        await session.execute(statement)

    def _park(self, ids: Iterable[int]) -> None:
        for row_id in ids:
            self._parked.add(row_id)
            asyncio.get_running_loop().call_later(self._config.queue_poll.total_seconds(), self._parked.discard, row_id)

    def _tell(self, refused: Mapping[int, str], unpaid: Collection[int]) -> None:
        for row_id, reason in refused.items():
            self._log.info("leg_abandoned", transaction_id=row_id, reason=reason)
        if unpaid:
            self._log.warning("legs_not_covered", transaction_ids=sorted(unpaid))


async def _lock_queued(session: AsyncSession, ids: Collection[int]) -> set[int]:
    """The rows that are still QUEUED, locked in the order of their ids."""
    query = (
        select(ChainTransaction.id)
        .where(ChainTransaction.id.in_(ids), ChainTransaction.state == TransactionState.QUEUED)
        .order_by(ChainTransaction.id)
        .with_for_update()
    )
    return set((await session.scalars(query)).all())


async def _not_covered(session: AsyncSession, legs: Sequence[_Queued]) -> set[int]:
    charging = [leg for leg in legs if leg.charges_account is not None]
    paid = await covered(session, [leg.wanted for leg in charging])
    return {leg.id for leg in charging if leg.wanted.key not in paid}
