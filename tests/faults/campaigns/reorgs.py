"""Blocks with many legs in them leave the chain, one to ten deep, and come back in another way or not at all."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from chain.finality import Finality
from chain.types import TxHash
from models.statuses import AttemptKind, TransactionState
from models.tables.transactions import ChainAttempt, ChainTransaction
from tests.engine import until
from tests.faults.campaign import Part, Report
from tests.faults.grounds import Grounds
from tests.faults.lanes.rivals import store_rival
from tests.faults.lanes.scenes import Scene, play
from tests.faults.lanes.yard import REST_SECONDS

DEEPEST = 10
CONFIRMATIONS = DEEPEST + 2
"""Deeper than any reorg: what is final stays (money-safety's limit is a reorg past finality)."""
RESEND_AFTER = timedelta(milliseconds=200)
ROUNDS, FULL_PARTS, FULL_ROUNDS = 3, 5, 14
EMPTY, OURS = "removed", "ours"
ENDS = frozenset({TransactionState.FINAL_OK, TransactionState.FINAL_CANCELLED})


class Reorgs:
    name = "reorgs"
    title = "reorgs of depth 1-10, with and without a competing transaction"
    figure = "500 legs hit, in at least 100 reorgs"
    unit = "legs hit by a reorg"

    def parts(self, *, full: bool) -> list[Part]:
        numbers = range(FULL_PARTS if full else 1)
        return [
            Part(self.name, f"{kind}-{FULL_ROUNDS if full else ROUNDS}-{number}", 1_000 * (kind == OURS) + number)
            for kind in (EMPTY, OURS)
            for number in numbers
        ]

    async def run(self, part: Part, grounds: Grounds) -> Report:
        kind, rounds, _ = part.name.split("-")
        storm = partial(_Storm, kind=kind)
        lane: dict[str, Any] = {"finality": Finality(confirmations=CONFIRMATIONS), "resend_after": RESEND_AFTER}
        return await play(part, grounds, int(rounds), storm, **lane)


@dataclass(frozen=True, slots=True)
class _Hit:
    """A leg in a block that is about to leave the chain, with all its attempts, the one that was mined first."""

    leg: ChainTransaction
    attempts: Sequence[ChainAttempt]


class _Storm:
    def __init__(self, scene: Scene, kind: str) -> None:
        self._yard = scene.yard
        self._dice = scene.dice
        self._scene = scene
        self._kind = kind

    async def round(self) -> None:
        """A few blocks with legs in them, one reorg over some of them, and the lane's answer to it."""
        depth = self._dice.randint(1, DEEPEST)
        await self._fill(depth)
        if self._dice.random() < 0.7:  # else the lane has not even seen the receipts that it is about to lose
            await until(self._nothing_waits, REST_SECONDS)
        hit = await self._about_to_be_hit(depth)
        comeback = self._comeback(hit, depth) if self._kind == OURS else []
        await self._yard.client.rpc.call("anvil_reorg", depth, comeback)
        self._count(depth, len(hit), len(comeback))
        await self._yard.all_sent()

    async def judge(self) -> list[str]:
        return []

    async def _fill(self, depth: int) -> None:
        """So many blocks; most hold legs, some of which were mined before the reorg's depth and are left alone."""
        for _ in range(depth):
            if self._dice.random() < 2 / (1 + depth / 2):
                await self._yard.queue(self._dice.randint(2, 6))
                await self._yard.all_sent()
                if self._kind == OURS:
                    await self._store_rivals()
            await self._yard.mine()

    async def _store_rivals(self) -> None:
        """Every second leg in the pool gets another attempt beside, which the chain may see first after the reorg.

        As in the lane a cancellation, once there is one, is not outbid by a payload.
        """
        attempts = await self._yard.attempts()
        for leg in await self._yard.rows():
            if leg.state is TransactionState.BROADCAST and self._dice.random() < 1 / 2:
                cancelled = leg.operation_id in self._scene.ends
                kind = AttemptKind.CANCEL if cancelled or self._dice.random() < 1 / 4 else AttemptKind.PAYLOAD
                best = max(attempts[leg.id], key=lambda attempt: attempt.max_fee_per_gas)
                await store_rival(self._yard, leg, best, kind)
                if kind is AttemptKind.CANCEL:
                    self._scene.ends[leg.operation_id] = ENDS

    async def _nothing_waits(self) -> bool:
        return await self._yard.count_in({TransactionState.PREPARED, TransactionState.BROADCAST}) == 0

    async def _about_to_be_hit(self, depth: int) -> list[_Hit]:
        """In the order of their nonces."""
        stays = (await self._yard.client.head()).number - depth
        attempts = await self._yard.attempts()
        legs = [leg for leg in await self._yard.rows() if leg.id in attempts and not leg.state.startswith("FINAL")]
        every = [attempt for leg in legs for attempt in attempts[leg.id]]
        receipts = await self._yard.client.receipts([TxHash(attempt.hash) for attempt in every])
        leaving = {each.tx_hash for each in receipts if each is not None and each.block_number > stays}
        hit = [_hit(leg, attempts[leg.id], leaving) for leg in legs]
        return sorted((each for each in hit if each is not None), key=lambda each: each.leg.nonce or 0)

    def _comeback(self, hit: Sequence[_Hit], depth: int) -> list[tuple[str, int]]:
        """What the new blocks hold: of the first so many nonces any attempt, each in a block not before the last one's."""
        returning = hit[: self._dice.randint(0, len(hit))]
        blocks = sorted(self._dice.randrange(depth) for _ in returning)
        chosen = [self._dice.choice(each.attempts[-2:]) for each in returning]
        swapped = sum(attempt is not each.attempts[0] for attempt, each in zip(chosen, returning, strict=True))
        self._scene.report.faults["a competing attempt of ours mined instead"] += swapped
        return [(f"0x{bytes(attempt.raw).hex()}", block) for attempt, block in zip(chosen, blocks, strict=True)]

    def _count(self, depth: int, hit: int, comeback: int) -> None:
        faults = self._scene.report.faults
        faults["reorgs"] += 1
        faults[f"depth {depth}"] += 1
        self._scene.hit("legs not mined again by the reorg", hit - comeback)
        self._scene.hit("legs mined again by the reorg", comeback)


def _hit(leg: ChainTransaction, attempts: Sequence[ChainAttempt], leaving: Collection[str]) -> _Hit | None:
    mined = [attempt for attempt in attempts if attempt.hash in leaving]
    return _Hit(leg, [*mined, *(each for each in attempts if each not in mined)]) if mined else None
