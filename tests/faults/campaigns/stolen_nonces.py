"""Somebody else uses the wallet's key: a foreign transaction takes a nonce that a leg has, or was about to get.

No leg is sent at another nonce for that. It is HELD, the signer is paused, and a person who has looked names the foreign
transaction as evidence, after which the leg is known to be without effect, and the rest goes on.
"""

from datetime import timedelta
from functools import partial

from chain.finality import Finality
from chain.holds import resolve_hold
from chain.signers import resume_signer
from chain.types import TxHash, Wei
from models.messages.operators import HoldResolution
from models.statuses import IncidentKind, LegName, TransactionState
from models.tables.transactions import ChainTransaction
from tests.chain.lane.desk import CHAIN_ID
from tests.engine import until
from tests.faults.campaign import Part, Report
from tests.faults.grounds import Grounds
from tests.faults.lanes.incidents import kinds_of_incidents
from tests.faults.lanes.rivals import foreign
from tests.faults.lanes.scenes import Scene, play
from tests.faults.lanes.yard import REST_SECONDS

CONFIRMATIONS = 6
FEE = Wei(100 * 10**9)
RESEND_AFTER = timedelta(milliseconds=200)
ROUNDS, FULL_PARTS, FULL_ROUNDS = 1, 3, 8
CANCELLED = frozenset({TransactionState.FINAL_CANCELLED})


class StolenNonces:
    name = "stolen-nonces"
    title = "reorgs with a competing transaction that is not ours, and nonces used before we use them"
    figure = "20 of each: the leg HELD, the signer paused, nothing sent again until a person has named the evidence"
    unit = "nonces that a foreign transaction used"

    def parts(self, *, full: bool) -> list[Part]:
        rounds = FULL_ROUNDS if full else ROUNDS
        return [Part(self.name, f"rounds-{rounds}-{number}", number) for number in range(FULL_PARTS if full else 1)]

    async def run(self, part: Part, grounds: Grounds) -> Report:
        finality = Finality(confirmations=CONFIRMATIONS)
        rounds = int(part.name.split("-")[1])
        return await play(part, grounds, rounds, _Thefts, finality=finality, resend_after=RESEND_AFTER)


class _Thefts:
    def __init__(self, scene: Scene) -> None:
        self._yard = scene.yard
        self._dice = scene.dice
        self._scene = scene

    async def round(self) -> None:
        await self._after_a_reorg()
        await self._ahead_of_the_lane()

    async def _after_a_reorg(self) -> None:
        """The blocks with some legs leave the chain, and in the first new one the lowest of their nonces is a stranger's."""
        operations = await self._yard.queue(self._dice.randint(3, 6))
        await self._yard.all_sent()
        depth = self._dice.randint(1, CONFIRMATIONS - 2)
        await self._yard.mine(depth)
        first = (await self._yard.desk.row(operations[0])).nonce
        assert first is not None, "a leg that was sent has a nonce"
        theft = await foreign(self._yard, first, FEE)
        await self._yard.client.rpc.call("anvil_reorg", depth, [(f"0x{theft.raw.hex()}", 0)])
        self._scene.hit("a competing foreign transaction mined by the reorg")
        await self._held_until_resolved(theft.hash)

    async def _ahead_of_the_lane(self) -> None:
        """The account's next nonce is used before the lane gives it to a leg: the lane sees that, and asks a person."""
        theft = await foreign(self._yard, (await self._yard.signer_row()).next_nonce, FEE)
        await self._yard.client.send_raw([theft.raw])
        await self._yard.mine()
        queued = await self._yard.queue(self._dice.randint(2, 4))
        await until(self._is_paused, REST_SECONDS)
        self._scene.hit("a foreign transaction ahead of the lane")
        for operation_id in queued:
            state = (await self._yard.desk.row(operation_id)).state
            self._demand(state is TransactionState.QUEUED, f"{operation_id} is {state} in spite of a foreign nonce")
        await self._resume()
        await self._held_until_resolved(theft.hash)

    async def _held_until_resolved(self, theft: TxHash) -> None:
        await until(self._is_held, REST_SECONDS)
        (held,) = await self._held()
        self._demand(await self._is_paused(), f"the signer goes on, though nonce {held.nonce} was stolen")
        told = await kinds_of_incidents(self._yard)
        self._demand(IncidentKind.NONCE_STOLEN in told, f"nobody was told that nonce {held.nonce} was stolen")
        sent = await self._last_sent(held)
        (behind,) = await self._yard.queue(1)
        await self._yard.mine(CONFIRMATIONS)
        await until(partial(self._others_are_final, held.id, behind), REST_SECONDS)
        self._demand(await self._last_sent(held) == sent, f"{held.operation_id} was sent again while it was HELD")
        await self._resolve(held, theft)
        await self._resume()
        await until(self._nothing_is_open, REST_SECONDS)

    async def _resolve(self, held: ChainTransaction, theft: TxHash) -> None:
        client, desk = self._yard.client, self._yard.desk
        outcome = await resolve_hold(
            desk.transaction,
            self._yard.engine_chain(client),
            operation_id=held.operation_id,
            leg=LegName.SETTLE,
            generation=1,
            resolution=HoldResolution.ACCEPT,
            evidence_tx_hash=theft,
        )
        self._scene.ends[held.operation_id] = CANCELLED
        self._scene.stolen.add(held.nonce or 0)
        self._demand(outcome.state in CANCELLED, f"{held.operation_id} was resolved to {outcome.state}")

    async def _resume(self) -> None:
        async with self._yard.desk.transaction() as session:
            await resume_signer(session, CHAIN_ID, self._yard.desk.wallet)

    async def _is_paused(self) -> bool:
        return (await self._yard.signer_row()).paused_at is not None

    async def _is_held(self) -> bool:
        await self._yard.mine()
        return len(await self._held()) > 0

    async def _held(self) -> list[ChainTransaction]:
        return [row for row in await self._yard.rows() if row.state is TransactionState.HELD]

    async def _others_are_final(self, held: int, behind: str) -> bool:
        """All but the leg that is HELD and those without a nonce: the one that came while the signer is paused has none."""
        await self._yard.mine()
        others = [row for row in await self._yard.rows() if row.id != held and row.nonce is not None]
        self._demand(all(row.operation_id != behind for row in others), f"{behind} took a nonce of a paused signer")
        return all(row.state.startswith("FINAL") for row in others)

    async def _nothing_is_open(self) -> bool:
        await self._yard.mine()
        return not await self._yard.waits()

    async def _last_sent(self, leg: ChainTransaction) -> object:
        return [(attempt.hash, attempt.sent_at) for attempt in (await self._yard.attempts())[leg.id]]

    def _demand(self, holds: bool, breach: str) -> None:
        if not holds:
            self._scene.report.breaches.append(breach)

    async def judge(self) -> list[str]:
        return []
