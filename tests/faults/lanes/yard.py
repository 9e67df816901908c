"""A signer on a shared chain with any number of legs, and one reading of all that there is to check of them.

Built on the desk of the lane's tests. Where a campaign mines by hand, blocks come only when it says so.
"""

from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from typing import Any

from sqlalchemy import func, select

from chain.client import ChainClient
from chain.contracts.usdc import TRANSFER_EVENT
from chain.engine_chain import EngineChain
from chain.legs import address_topic
from chain.types import Receipt, TxHash
from models.statuses import IN_FLIGHT_STATES, UNMINED_STATES, TransactionState
from models.tables.session import open_database
from models.tables.transactions import ChainAttempt, ChainSigner, ChainTransaction
from tests.chain.lane.desk import SETTLEMENT, Desk, open_desk
from tests.chain.world import new_world
from tests.engine import until
from tests.faults.grounds import Grounds
from tests.faults.lanes.checks import Facts, LegFacts, MinedAttempt, breaches
from tests.faults.lanes.payments import queue_payment

REST_SECONDS = 60
_OPEN = frozenset({TransactionState.QUEUED, *IN_FLIGHT_STATES})


@dataclass
class Yard:
    desk: Desk
    client: ChainClient
    rpc_url: str
    database_url: str
    partner_id: str
    opened_with: int
    """USDC of the wallet at the start, in base units."""
    _amounts: "count[int]" = field(default_factory=lambda: count(1))

    # Legs

    async def queue(self, number: int) -> list[str]:
        """So many funded operations, each with a QUEUED payment of an amount of its own; their ids."""
        return await self.queue_amounts(self.amounts(number))

    async def queue_amounts(self, amounts: Sequence[int]) -> list[str]:
        async with self.desk.transaction() as session:
            return [await queue_payment(session, self.desk.config, self.partner_id, amount) for amount in amounts]

    def amounts(self, number: int) -> list[int]:
        """So many amounts that no other leg pays, in base units."""
        return [next(self._amounts) for _ in range(number)]

    async def rows(self) -> Sequence[ChainTransaction]:
        async with self.desk.transaction() as session:
            return (await session.scalars(select(ChainTransaction).order_by(ChainTransaction.id))).all()

    async def states(self) -> str:
        """How many legs are in which state, in words."""
        counted = Counter(str(row.state) for row in await self.rows())
        return ", ".join(f"{number} {state}" for state, number in sorted(counted.items()))

    async def count_in(self, states: Collection[TransactionState]) -> int:
        query = select(func.count()).select_from(ChainTransaction).where(ChainTransaction.state.in_(states))
        async with self.desk.transaction() as session:
            return await session.scalar(query) or 0

    async def attempts(self) -> dict[int, list[ChainAttempt]]:
        """By the id of their leg, the first stored first."""
        found: dict[int, list[ChainAttempt]] = {}
        for attempt in await self.desk.attempts():
            found.setdefault(attempt.transaction_id, []).append(attempt)
        return found

    async def unmined_attempts(self) -> list[list[ChainAttempt]]:
        """Of each leg that waits for a block, in the order of their nonces."""
        attempts = await self.attempts()
        legs = [row for row in await self.rows() if row.state in UNMINED_STATES]
        return [attempts[leg.id] for leg in sorted(legs, key=lambda leg: leg.nonce or 0)]

    async def waits(self) -> bool:
        """Whether any leg has a nonce to come or waits for a block."""
        return await self.count_in({TransactionState.QUEUED, *UNMINED_STATES}) > 0

    async def signer_row(self) -> ChainSigner:
        return await self.desk.signer_row()

    # Waiting

    async def all_sent(self) -> None:
        """Nothing is QUEUED or PREPARED, and the node has a transaction for every nonce given out."""
        await until(self._is_all_sent, REST_SECONDS)

    async def _is_all_sent(self) -> bool:
        if await self.count_in({TransactionState.QUEUED, TransactionState.PREPARED}) > 0:
            return False
        given_out = (await self.signer_row()).next_nonce
        return await self.client.nonce(self.desk.wallet, "pending") == given_out

    async def rests(self, seconds: int = REST_SECONDS, *, mining: bool = True) -> list[str]:
        """Waits, mining where nobody else does, until nothing is queued or in flight; or says what is left by then."""
        try:
            await until(self._mine_until_rest if mining else self._is_at_rest, seconds)
        except TimeoutError:
            return [f"the legs did not come to rest in {seconds} s: {await self.states()}"]
        return []

    async def _is_at_rest(self) -> bool:
        return await self.count_in(_OPEN) == 0

    async def _mine_until_rest(self) -> bool:
        if await self._is_at_rest():
            return True
        await self.mine()
        return False

    async def mine(self, blocks: int = 1) -> None:
        await self.client.rpc.call("anvil_mine", hex(blocks))

    def engine_chain(self, client: ChainClient) -> EngineChain:
        """The chain as activities and operators' hands see it, through this client."""
        contracts, config = self.desk.world.contracts, self.desk.config
        return EngineChain(
            client=client,
            chain_id=config.chain_id,
            usdc_address=contracts.usdc,
            oaid_address=contracts.oaid,
            vault_address=contracts.vault,
            pool_address=contracts.pool,
            wallet=config.wallet,
            probe_address=SETTLEMENT,
            debt_ceiling=0,
            finality=config.finality,
            has_operator_path=True,
        )

    # Checks

    async def breaches(
        self, ends: Mapping[str, Collection[TransactionState]] | None = None, stolen: Collection[int] = ()
    ) -> list[str]:
        """What is wrong with these legs now that they rest; ``ends`` are those of operations that may end otherwise."""
        return breaches(replace(await self.facts(), stolen=frozenset(stolen)), ends)

    async def facts(self) -> Facts:
        legs, signer = await self.rows(), await self.signer_row()
        mined = await self._mined()
        return Facts(
            legs=[_leg_facts(row, mined.get(row.id, ())) for row in legs],
            first_nonce=signer.first_nonce,
            next_nonce=signer.next_nonce,
            mined_nonces=await self.client.nonce(self.desk.wallet, "latest"),
            payments=await self._payments(),
            opened_with=self.opened_with,
            holds=await self.desk.world.balance(self.desk.wallet),
        )

    async def _mined(self) -> dict[int, tuple[MinedAttempt, ...]]:
        attempts = await self.desk.attempts()
        receipts = await self.client.receipts([TxHash(attempt.hash) for attempt in attempts])
        found: dict[int, tuple[MinedAttempt, ...]] = {}
        for attempt, receipt in zip(attempts, receipts, strict=True):
            if receipt is not None:
                mined = _mined_attempt(attempt, receipt)
                found[attempt.transaction_id] = (*found.get(attempt.transaction_id, ()), mined)
        return found

    async def _payments(self) -> list[int]:
        topics = [TRANSFER_EVENT.topic0, address_topic(self.desk.wallet)]
        logs = await self.client.logs(self.desk.config.usdc, topics, 0, "latest")
        return [int(log.data, 16) for log in logs]


def _leg_facts(row: ChainTransaction, mined: tuple[MinedAttempt, ...]) -> LegFacts:
    return LegFacts(
        row.operation_id, row.state, row.nonce, row.amount, row.result_tx_hash, row.result_block_hash, mined
    )


def _mined_attempt(attempt: ChainAttempt, receipt: Receipt) -> MinedAttempt:
    return MinedAttempt(attempt.hash, attempt.kind, receipt.succeeded, receipt.block_hash)


@asynccontextmanager
async def open_yard(grounds: Grounds, block_time: timedelta | None = None, **lane: Any) -> AsyncIterator[Yard]:
    """A yard on the chain that mines by this clock, or at once; ``lane`` is what its lanes are told otherwise."""
    anvil, database_url = await grounds.anvil(block_time), await grounds.database()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(ChainClient(anvil.url))
        database = open_database(database_url, pool_size=20)
        stack.push_async_callback(database.dispose)
        desk = await open_desk(await new_world(client), database)
        desk.config = replace(desk.config, **lane)
        partner_id = (await desk.operation()).split(":")[1]
        await desk.lane_known()
        yield Yard(desk, client, anvil.url, database_url, partner_id, await desk.world.balance(desk.wallet))


@asynccontextmanager
async def mining_by_hand(yard: Yard) -> AsyncIterator[None]:
    """Blocks come only when the campaign mines them."""
    call = yard.client.rpc.call
    await call("evm_setAutomine", False)
    try:
        yield
    finally:
        await call("evm_setAutomine", True)
        await call("evm_mine")
