"""A cancellation is asked for while the payload may be mined: one of the two wins, and the row says which."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from chain import transactions
from models.messages.operators import CancelEffect
from models.statuses import AttemptKind, LegName, TransactionState
from models.tables.transactions import ChainAttempt
from tests.engine import until
from tests.faults.campaign import Part, Report
from tests.faults.grounds import Grounds
from tests.faults.lanes.checks import OK
from tests.faults.lanes.scenes import Scene, play
from tests.faults.lanes.yard import REST_SECONDS

RESEND_AFTER, BUMP_AFTER = timedelta(milliseconds=200), timedelta(seconds=1)
ROUNDS, FULL_PARTS, FULL_ROUNDS = 3, 6, 15
ENDS = {
    CancelEffect.ABANDONED: frozenset({TransactionState.ABANDONED}),
    CancelEffect.TOO_LATE: OK,
    CancelEffect.ASKED: frozenset({TransactionState.FINAL_OK, TransactionState.FINAL_CANCELLED}),
}


class CancelRaces:
    name = "cancel-races"
    title = "cancel races"
    figure = "200 cancellations of transactions that may be mined: exactly one of the two wins, and the row says which"
    unit = "cancellations asked for while the payload was on its way"

    def parts(self, *, full: bool) -> list[Part]:
        rounds = FULL_ROUNDS if full else ROUNDS
        return [Part(self.name, f"rounds-{rounds}-{number}", number) for number in range(FULL_PARTS if full else 1)]

    async def run(self, part: Part, grounds: Grounds) -> Report:
        rounds = int(part.name.split("-")[1])
        return await play(part, grounds, rounds, _Races, resend_after=RESEND_AFTER, bump_after=BUMP_AFTER)


class _Races:
    def __init__(self, scene: Scene) -> None:
        self._yard = scene.yard
        self._dice = scene.dice
        self._scene = scene

    async def round(self) -> None:
        """Many legs, cancelled before their nonce, beside a block, or once both attempts are there to race each other."""
        operations = await self._yard.queue(self._dice.randint(4, 8))
        chosen = self._dice.sample(operations, self._dice.randint(2, len(operations)))
        await self._dice.choice([self._at_once, self._beside_a_block, self._face_to_face])(chosen)
        await self._yard.mine()
        await until(self._nothing_waits, REST_SECONDS)

    async def _at_once(self, operations: Sequence[str]) -> None:
        """The lane may not even have taken their nonces."""
        await asyncio.gather(*(self._ask(each) for each in operations))

    async def _beside_a_block(self, operations: Sequence[str]) -> None:
        """Some are asked before the block with the payloads is there, some after."""
        await self._yard.all_sent()
        place = self._dice.randint(0, len(operations))
        asks = [self._ask(each) for each in operations]
        await asyncio.gather(*asks[:place], self._yard.mine(), *asks[place:])

    async def _face_to_face(self, operations: Sequence[str]) -> None:
        """Once both attempts are stored the pool is emptied, and both are put into it, in either order, one perhaps alone."""
        await self._yard.all_sent()
        await asyncio.gather(*(self._ask(each) for each in operations))
        await until(partial(self._all_have_cancellations, set(operations)), REST_SECONDS)
        await self._yard.client.rpc.call("anvil_dropAllTransactions")
        attempts = await self._yard.unmined_attempts()
        await self._yard.client.send_raw([bytes(each.raw) for its in attempts for each in self._order(its)])

    def _order(self, attempts: Sequence[ChainAttempt]) -> Sequence[ChainAttempt]:
        shuffled = self._dice.sample(attempts, len(attempts))
        return shuffled[:1] if self._dice.random() < 1 / 2 else shuffled

    async def _ask(self, operation_id: str) -> None:
        async with self._yard.desk.transaction() as session:
            effect = await transactions.request_cancel(session, operation_id, LegName.SETTLE, "the campaign says so")
        if effect not in ENDS:
            self._scene.report.breaches.append(f"{operation_id} is there, and its cancellation answered {effect}")
            return
        self._scene.ends[operation_id] = ENDS[effect]
        self._scene.hit(str(effect), number=int(effect is not CancelEffect.ABANDONED))

    async def _all_have_cancellations(self, operations: set[str]) -> bool:
        attempts = await self._yard.attempts()
        legs = [row for row in await self._yard.rows() if row.operation_id in operations and row.nonce is not None]
        return all(any(each.kind is AttemptKind.CANCEL for each in attempts[leg.id]) for leg in legs)

    async def _nothing_waits(self) -> bool:
        await self._yard.mine()
        return not await self._yard.waits()

    async def judge(self) -> list[str]:
        return []
