"""The signer lane: the one process that turns QUEUED legs into transactions on chain (money.md section 2).

A lane waits to be elected, and then runs five loops until its term ends: it beats, prepares what is queued, watches what
is in flight, scans for USDC that comes in by itself, and gives back what nobody claims. Whatever happens to it, what it knew is in rows, and the next
term, here or in another process, goes on from there.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.typing import FilteringBoundLogger

from chain.alarms import Alarms
from chain.allowance import AllowanceKeeper
from chain.attempts import AttemptSigner
from chain.election import Office, Term, TermOver, beat, elected, take_office
from chain.errors import ChainError
from chain.fees import FeeReader
from chain.gas import GasGuard
from chain.inbound import InboundScan
from chain.lane_config import LaneConfig, LaneNode
from chain.mending import Mender
from chain.notifications import Listener
from chain.preparing import Preparer
from chain.refunds import RefundKeeper
from chain.sending import Outbox
from chain.signer import Signer
from chain.watching import Watcher
from models.errors import EngineError

_NOW = timedelta()
_BETWEEN_TERMS = timedelta(seconds=1)

Step = Callable[[], Awaitable[timedelta]]
"""One turn of a loop, which answers how long the loop may sleep unless it is woken."""


class SignerLane:
    """``run`` until ``stop``. Any number of lanes of one signer may run: one of them works, the others wait."""

    def __init__(
        self,
        config: LaneConfig,
        engine: AsyncEngine,
        node: LaneNode,
        signer: Signer,
        log: FilteringBoundLogger | None = None,
    ) -> None:
        if signer.address != config.wallet:
            raise ValueError(
                f"the signer's key is that of {signer.address}, and the platform wallet is {config.wallet}"
            )
        self._config = config
        self._engine = engine
        self._node = node
        self._signer = signer
        self._log = (log or structlog.get_logger()).bind(lane=config.lock_name)
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._ended.set()
        self._queued = asyncio.Event()
        self._sent = asyncio.Event()
        self.holding = asyncio.Event()
        """Set while this lane is the one that works."""

    async def run(self) -> None:
        """Works whenever elected. Returns after ``stop``; raises what is not foreseen, which is a bug."""
        self._ended.clear()
        listener = Listener(
            self._engine.url, "leg_queued", heard=self._heard, connected=self._queued.set, log=self._log
        )
        try:
            async with listener:
                while not self._stopping.is_set():
                    await self._serve_one_term()
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """Lets each loop finish its turn, gives the lock back, and returns when that is done."""
        self._stopping.set()
        self._queued.set()
        self._sent.set()
        await self._ended.wait()

    def _heard(self, payload: str) -> None:
        if payload == self._config.lock_name:
            self._queued.set()

    async def _serve_one_term(self) -> None:
        try:
            async with elected(self._engine, self._config, self._stopping, self._log) as term:
                if term is not None:
                    await self._serve(term)
        except* (TermOver, DBAPIError, PoolTimeout, ChainError) as ended:
            self._log.warning("term_ended", why=[repr(error) for error in ended.exceptions])
            await self._sleep(self._stopping, _BETWEEN_TERMS)

    async def _serve(self, term: Term) -> None:
        office = Office(term, self._node, self._config, self._log)
        await take_office(office)
        self._log.info("term_began")
        alarms, fees = Alarms(office), FeeReader(self._node, self._config)
        outbox, allowance = Outbox(office, alarms), AllowanceKeeper(office, alarms)
        signer = AttemptSigner(self._signer, self._config.chain_id)
        preparer = Preparer(office, signer, outbox, allowance, GasGuard(self._config, fees, alarms))
        watcher = Watcher(office, outbox, allowance, alarms)
        mender = Mender(office, signer, outbox, fees, alarms)
        inbound, refunds = InboundScan(office), RefundKeeper(office)
        self.holding.set()
        try:
            async with asyncio.TaskGroup() as loops:
                loops.create_task(self._repeat(lambda: self._beat(office), self._stopping))
                loops.create_task(self._resume_and_prepare(outbox, allowance, preparer))
                loops.create_task(self._repeat(lambda: self._watch(watcher, mender, preparer), self._sent))
                loops.create_task(self._repeat(lambda: self._scan(inbound), self._stopping))
                loops.create_task(self._repeat(lambda: self._tend(refunds, allowance), self._stopping))
        finally:
            self.holding.clear()

    async def _resume_and_prepare(self, outbox: Outbox, allowance: AllowanceKeeper, preparer: Preparer) -> None:
        """What an earlier term stored and perhaps did not send goes first: its nonces are the lower ones."""
        await outbox.resend_prepared()
        await allowance.close_operations()
        await self._repeat(lambda: self._prepare(preparer), self._queued)

    async def _beat(self, office: Office) -> timedelta:
        await beat(office)
        return self._config.beat

    async def _prepare(self, preparer: Preparer) -> timedelta:
        prepared = await preparer.prepare_batch()
        if prepared.sent > 0:
            self._sent.set()
        return _NOW if prepared.more else self._config.queue_poll

    async def _watch(self, watcher: Watcher, mender: Mender, preparer: Preparer) -> timedelta:
        looked = await watcher.look()
        if looked.approval_ended:
            preparer.retry_all()
            self._queued.set()
        if not looked.busy:
            return self._config.idle_poll
        await mender.mend()
        # While something is in flight the pace is that of blocks, however much is being sent.
        await self._sleep(self._stopping, self._config.block_poll)
        return _NOW

    async def _scan(self, inbound: InboundScan) -> timedelta:
        more = await inbound.scan()
        return _NOW if more else self._config.inbound_poll

    async def _tend(self, refunds: RefundKeeper, allowance: AllowanceKeeper) -> timedelta:
        """The lane's own operations: also those whose leg a person has led to its end."""
        await allowance.close_operations()
        await refunds.tend()
        return self._config.refund_poll

    async def _repeat(self, step: Step, wake: asyncio.Event) -> None:
        """Turns until the lane stops. What may pass by itself is logged and tried again; a lost session ends the term."""
        while not self._stopping.is_set():
            if wake is not self._stopping:
                wake.clear()
            try:
                pause = await step()
            except ChainError as error:
                self._log.warning("chain_not_answering", error=repr(error))
                pause = self._config.block_poll
            except EngineError:
                self._log.exception("invariant_broken")
                pause = self._config.idle_poll
            except DBAPIError as error:
                self._log.warning("database_refused", error=repr(error.orig))
                pause = self._config.block_poll
            await self._sleep(wake, pause)

    async def _sleep(self, wake: asyncio.Event, duration: timedelta) -> None:
        try:
            async with asyncio.timeout(duration.total_seconds()):
                await wake.wait()
        except TimeoutError:
            return
