"""What a node's pool does to transactions that wait in it: it drops them, and its price rises above what they offer."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from itertools import pairwise

from chain.types import Wei
from models.statuses import IncidentKind
from models.tables.transactions import ChainAttempt
from tests.engine import until
from tests.faults.campaign import Part, Report
from tests.faults.grounds import Grounds
from tests.faults.lanes.incidents import kinds_of_incidents
from tests.faults.lanes.scenes import Scene, play
from tests.faults.lanes.yard import REST_SECONDS

GWEI = 10**9
CAP = Wei(300 * GWEI)
SPIKES = (5, 20, 80, 200, 250)
"""Gwei of base fee; the cap is above them all, so that a bump can follow."""
ABOVE_CAP = 400
RESEND_AFTER, BUMP_AFTER = timedelta(milliseconds=200), timedelta(milliseconds=300)
ROUNDS, FULL_PARTS, FULL_ROUNDS = 3, 4, 15


def _parts(name: str, *, full: bool) -> list[Part]:
    rounds = FULL_ROUNDS if full else ROUNDS
    return [Part(name, f"rounds-{rounds}-{number}", number) for number in range(FULL_PARTS if full else 1)]


def _rounds(part: Part) -> int:
    return int(part.name.split("-")[1])


class DroppedTransactions:
    name = "dropped-transactions"
    title = "dropped transactions"
    figure = "200 transactions dropped from the node's pool: each is sent again and mined once"
    unit = "transactions dropped"

    def parts(self, *, full: bool) -> list[Part]:
        return _parts(self.name, full=full)

    async def run(self, part: Part, grounds: Grounds) -> Report:
        return await play(part, grounds, _rounds(part), _Drops, resend_after=RESEND_AFTER)


class _Drops:
    def __init__(self, scene: Scene) -> None:
        self._yard = scene.yard
        self._dice = scene.dice
        self._scene = scene

    async def round(self) -> None:
        """Some of many waiting transactions are dropped; blocks come before and after the lane has missed them."""
        await self._yard.queue(self._dice.randint(4, 10))
        await self._yard.all_sent()
        waiting = [attempt.hash for its in await self._yard.unmined_attempts() for attempt in its]
        chosen = self._dice.sample(waiting, self._dice.randint(1, -(-len(waiting) // 3)))
        for tx_hash in chosen:
            await self._yard.client.rpc.call("anvil_dropTransaction", tx_hash)
        self._scene.hit("dropped", await self._gone(waiting))
        await self._yard.mine(self._dice.randint(0, 2))
        await self._yard.all_sent()
        await self._yard.mine()

    async def _gone(self, hashes: Sequence[str]) -> int:
        """How many the node does not know any more: with a transaction Anvil drops those of the same sender behind it."""
        answers = await self._yard.client.rpc.batch([("eth_getTransactionByHash", (tx_hash,)) for tx_hash in hashes])
        return sum(answer.value() is None for answer in answers)

    async def judge(self) -> list[str]:
        return []


class FeeSpikes:
    name = "fee-spikes"
    title = "fee spikes"
    figure = "200 transactions priced out by a base fee: outbid by a tenth at least, never above the cap, mined once"
    unit = "waiting transactions that a spike priced out"

    def parts(self, *, full: bool) -> list[Part]:
        return _parts(self.name, full=full)

    async def run(self, part: Part, grounds: Grounds) -> Report:
        lane = {"resend_after": RESEND_AFTER, "bump_after": BUMP_AFTER, "max_fee_cap": CAP}
        return await play(part, grounds, _rounds(part), _Spikes, **lane)


class _Spikes:
    def __init__(self, scene: Scene) -> None:
        self._yard = scene.yard
        self._dice = scene.dice
        self._scene = scene

    async def round(self) -> None:
        """The base fee jumps above what waits, in one round of three above the cap, stays for a while, and falls."""
        await self._yard.queue(self._dice.randint(4, 8))
        await self._yard.all_sent()
        above_cap = self._dice.random() < 1 / 3
        base_fee = Wei(GWEI * (ABOVE_CAP if above_cap else self._dice.choice(SPIKES)))
        await self._spike(base_fee)
        if above_cap:
            await self._wait_at_the_cap(base_fee)
            base_fee = Wei(GWEI)
        await until(partial(self._all_mined, base_fee), REST_SECONDS)
        await self._price(Wei(GWEI))

    async def _spike(self, base_fee: Wei) -> None:
        best = [max(each.max_fee_per_gas for each in its) for its in await self._yard.unmined_attempts()]
        priced_out = sum(fee < base_fee for fee in best)
        self._scene.hit("above the cap" if base_fee > CAP else "priced out", priced_out)
        await self._price(base_fee)

    async def _price(self, base_fee: Wei) -> None:
        await self._yard.client.rpc.call("anvil_setNextBlockBaseFeePerGas", hex(base_fee))
        await self._yard.mine()

    async def _wait_at_the_cap(self, base_fee: Wei) -> None:
        """A person is told, and what comes in meanwhile takes no nonce."""
        before = (await self._yard.signer_row()).next_nonce
        await self._yard.queue(2)
        await until(partial(self._is_told, base_fee), REST_SECONDS)
        taken = (await self._yard.signer_row()).next_nonce - before
        if taken:
            self._scene.report.breaches.append(f"{taken} nonces were taken while the base fee was above the cap")

    async def _is_told(self, base_fee: Wei) -> bool:
        await self._price(base_fee)
        return IncidentKind.FEE_CAP_REACHED in await kinds_of_incidents(self._yard)

    async def _all_mined(self, base_fee: Wei) -> bool:
        """The price stays where it is, block after block, until nothing waits."""
        await self._price(base_fee)
        return not await self._yard.waits()

    async def judge(self) -> list[str]:
        attempts = await self._yard.attempts()
        breaches = [breach for leg, its in attempts.items() for breach in _fee_breaches(leg, its)]
        open_incidents = await kinds_of_incidents(self._yard)
        return [*breaches, *(f"an incident {kind} is still open" for kind in sorted(open_incidents))]


def _fee_breaches(leg: int, attempts: Sequence[ChainAttempt]) -> Iterator[str]:
    """Each attempt offers a tenth more than the one before, on both fees, and none more than the cap."""
    for attempt in attempts:
        if attempt.max_fee_per_gas > CAP:
            yield f"leg {leg} offers {attempt.max_fee_per_gas}, above the cap of {CAP}"
    for before, after in pairwise(attempts):
        old = (before.max_fee_per_gas, before.max_priority_fee_per_gas)
        new = (after.max_fee_per_gas, after.max_priority_fee_per_gas)
        if any(10 * raised < 11 * fee for fee, raised in zip(old, new, strict=True)):
            yield f"leg {leg} was raised from {old} to {new}, by less than a tenth"
