"""From QUEUED to sent: nonces, signatures and stored bytes for a batch of legs, in one commit before one send.

A round reads, signs with the nonces that it foresees, and only then opens the transaction that decides. The holder of the
lane is the only one that takes nonces, so what it foresees comes true, unless a leg in the batch may not go: then the
nonces behind it shift, those signatures are thrown away, and the legs behind it are signed again in the next round.
Nothing was stored or sent of them, so a nonce is never given back and never chosen anew.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from chain.allowance import AllowanceKeeper, Spender
from chain.attempts import AttemptSigner, Effect, StoredAttempt
from chain.broken import LegMisplanned
from chain.codec import checksum
from chain.election import Office, lock_signer
from chain.errors import Reverted, RpcError
from chain.fees import Fees
from chain.gas import GasGuard
from chain.gates import lock_and_judge
from chain.leg_lines import looked_up
from chain.queue import Queue, QueuedLeg, lock_queued, not_covered, read_queue
from chain.reconcile import report_foreign_nonces
from chain.sending import Outbox
from chain.simulating import simulate_spender
from chain.transitions import NewAttempt, abandon_queued, prepare, refuse_queued
from chain.types import BlockNumber, CallRequest, Market, Wei
from models.log_lines import whose
from models.statuses import AttemptKind
from models.tables.transactions import ChainSigner


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
        self, office: Office, signer: AttemptSigner, outbox: Outbox, allowance: AllowanceKeeper, guard: GasGuard
    ) -> None:
        self._office = office
        self._term = office.term
        self._node = office.node
        self._config = office.config
        self._log = office.log
        self._signer = signer
        self._outbox = outbox
        self._allowance = allowance
        self._guard = guard
        self._nonces_checked = False
        self._parked: set[int] = set()
        """Legs that were not covered a moment ago, so that they keep no others waiting. Only a matter of pace."""

    def retry_all(self) -> None:
        """Looks at once at every leg again that was not covered."""
        self._parked.clear()

    async def prepare_batch(self) -> Prepared:
        """Takes one batch as far as it goes."""
        async with self._term.transaction() as session:
            queue = await read_queue(session, self._config, self._parked)
        legs = await self._with_gas(await self._with_allowance(queue))
        stored = await self._take_nonces(queue, legs)
        await self._outbox.send(stored.attempts)
        full = len(queue.legs) == self._config.batch and len(stored.attempts) > 0
        return Prepared(len(stored.attempts), more=stored.again or full)

    async def _take_nonces(self, queue: Queue, legs: Sequence[QueuedLeg]) -> _Stored:
        if not legs and self._nonces_checked and not await self._guard.alarmed():
            return _NOTHING
        market = await self._guard.market()
        if not await self._nonces_are_ours(market, queue.next_nonce):
            return _NOTHING
        fees = await self._guard.fees(market)
        if fees is None:
            return _NOTHING
        going = await self._guard.payable(queue, legs, market, fees)
        attempts = [await self._sign(leg, queue.next_nonce + place, fees) for place, leg in enumerate(going)]
        return await self._store(going, attempts, queue.next_nonce) if going else _NOTHING

    async def _nonces_are_ours(self, market: Market, next_nonce: int) -> bool:
        """False where somebody else has used the key: then the signer is paused before it takes another nonce."""
        self._nonces_checked = True
        if market.nonce <= next_nonce:
            return True
        async with self._term.transaction() as session:
            return not await report_foreign_nonces(session, self._office, market.nonce, next_nonce)

    async def _with_allowance(self, queue: Queue) -> list[QueuedLeg]:
        """The legs less those for which the vault's allowance does not suffice yet."""
        spenders = [Spender(leg.id, leg.amount) for leg in queue.legs if leg.spends_allowance]
        if not spenders:
            return queue.legs
        admitted = await self._allowance.admit(spenders, queue.spent_by_live)
        self._park(spender.id for spender in spenders if spender.id not in admitted)
        return [leg for leg in queue.legs if not leg.spends_allowance or leg.id in admitted]

    async def _with_gas(self, legs: list[QueuedLeg]) -> list[QueuedLeg]:
        """Simulates the legs that could not be simulated without their allowance; what the contract refuses is REFUSED."""
        unknown = [leg for leg in legs if leg.gas is None]
        if not unknown:
            return legs
        block = (await self._node.head()).number
        gases = await asyncio.gather(*(self._gas_of(leg, block) for leg in unknown))
        found = dict(zip(unknown, gases, strict=True))
        refused = {leg.id: str(gas) for leg, gas in found.items() if isinstance(gas, Reverted)}
        unsettled = {leg.id for leg, gas in found.items() if gas is None}
        self._park(unsettled)
        async with self._term.transaction() as session:
            still_queued = await lock_queued(session, list(refused))
            await refuse_queued(session, {row_id: refused[row_id] for row_id in still_queued})
        known = {leg.id: gas for leg, gas in found.items() if isinstance(gas, int)}
        left_out = refused.keys() | unsettled
        return [replace(leg, gas=known.get(leg.id, leg.gas)) for leg in legs if leg.id not in left_out]

    async def _gas_of(self, leg: QueuedLeg, block: BlockNumber) -> int | Reverted | None:
        """None where the node could not say, or has not seen the allowance yet: then the leg waits, and holds up no other."""
        request = CallRequest(self._config.wallet, checksum(leg.target), leg.calldata, Wei(leg.value))
        try:
            if leg.spends_allowance:
                return await simulate_spender(self._node, request, self._allowance.question, leg.amount, block)
            return await self._node.simulate(request, block)
        except Reverted as refusal:
            return refusal
        except RpcError as error:
            self._log.warning("leg_not_simulated", leg=leg.name, error=str(error), **whose(leg.operation_id))
            return None

    async def _sign(self, leg: QueuedLeg, nonce: int, fees: Fees) -> NewAttempt:
        if leg.gas is None:
            raise LegMisplanned(f"leg {leg.leg} of {leg.operation_id} was not simulated")
        gas = self._config.with_gas_margin(leg.gas)
        effect = Effect(AttemptKind.PAYLOAD, checksum(leg.target), leg.calldata, Wei(leg.value), gas)
        return await self._signer.sign(leg.id, nonce, effect, fees)

    async def _store(self, legs: Sequence[QueuedLeg], attempts: Sequence[NewAttempt], first_nonce: int) -> _Stored:
        """The transaction that decides: each leg is judged again under locks, and what passes gets its nonce."""
        async with self._term.transaction() as session:
            forbidden = await self._judge(session, legs)
            standing = await lock_signer(session, self._config)
            if standing.paused or standing.next_nonce != first_nonce:
                return _NOTHING
            queued = await lock_queued(session, [leg.id for leg in legs])
            here = [leg for leg in legs if leg.id in queued]
            refused = {leg.id: reason for leg in here if (reason := forbidden.get((leg.operation_id, leg.leg)))}
            unpaid = await not_covered(session, [leg for leg in here if leg.id not in refused])
            passed = queued - refused.keys() - unpaid
            going = list(takewhile(lambda attempt: attempt.transaction_id in passed, attempts))
            await abandon_queued(session, refused)
            await prepare(session, going)
            await self._move_next_nonce(session, first_nonce + len(going))
        self._park(unpaid)
        await self._tell([leg for leg in legs if leg.id in refused], refused, unpaid)
        return _Stored([StoredAttempt.of(each) for each in going], again=len(going) < len(passed))

    async def _judge(self, session: AsyncSession, legs: Sequence[QueuedLeg]) -> dict[tuple[str, str], str]:
        pairs = [(leg.operation_id, leg.leg) for leg in legs]
        return await lock_and_judge(session, pairs, demands_clearance=self._config.demands_clearance)

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

    async def _tell(self, gone: Sequence[QueuedLeg], why: Mapping[int, str], unpaid: Collection[int]) -> None:
        names = await looked_up(self._term.transaction, {leg.operation_id for leg in gone})
        for leg in gone:
            self._log.info("leg_abandoned", leg=leg.name, reason=why[leg.id], **names[leg.operation_id])
        if unpaid:
            self._log.warning("legs_not_covered", transaction_ids=sorted(unpaid))
