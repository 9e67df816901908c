"""A platform wallet with a lane of its own on a shared chain, and the rows that legs hang on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import uuid4

from eth_account import Account
from eth_typing import ChecksumAddress
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from chain import transactions
from chain.codec import checksum
from chain.finality import Finality
from chain.holds import resolve_hold
from chain.lane import SignerLane
from chain.lane_config import LaneConfig, LaneNode
from chain.legs import PlannedLeg, plan_leg
from chain.signer import KeyFileSigner, Signer, UnsignedTransaction
from chain.signers import pause_signer, resume_signer
from chain.types import CallRequest, TxHash, Wei
from contracts.funding import fund_gas, mint_usdc, set_operator
from models import accounts
from models.messages.legs import BorrowCall, LegCall, LegOutcome, TransferCall
from models.messages.operators import CancelEffect, HoldResolution
from models.statuses import (
    IncidentKind,
    OperationKind,
    OperationState,
    Scope,
    TransactionState,
)
from models.tables import book
from models.tables.operations import Operation
from models.tables.operators import Incident
from models.tables.partners import ApiKey, SettlementAddress
from models.tables.session import Transaction
from models.tables.session import transactions as transactions_of
from models.tables.transactions import ChainAttempt, ChainSigner, ChainTransaction
from tests.chain.lane import rows
from tests.chain.world import DAY, USD, World

SETTLEMENT = checksum("0x" + "5e" * 20)
CHAIN_ID = 31337
GAS = 100_000
PATIENCE_SECONDS = 20
LOOK_EVERY_SECONDS = 0.02


@dataclass
class Desk:
    world: World
    config: LaneConfig
    signer: KeyFileSigner
    database: AsyncEngine
    numbers: Any = field(default_factory=count)

    @property
    def transaction(self) -> Transaction:
        return transactions_of(self.database)

    @property
    def wallet(self) -> ChecksumAddress:
        return self.config.wallet

    # Lanes

    def lane(self, node: LaneNode | None = None, signer: Signer | None = None, **changes: Any) -> SignerLane:
        config = replace(self.config, **changes)
        return SignerLane(config, self.database, node or self.world.client, signer or self.signer)

    @asynccontextmanager
    async def running(self, lane: SignerLane | None = None) -> AsyncIterator[SignerLane]:
        """The lane at work, and stopped as a process is on SIGTERM; a test that fails ends it at once, as by a kill."""
        lane = lane or self.lane()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(lane.run())
            yield lane
            await lane.stop()

    async def lane_known(self) -> None:
        """The signer's row, without which no leg can be inserted."""
        async with self.running() as lane:
            await asyncio.wait_for(lane.holding.wait(), PATIENCE_SECONDS)

    # Operations

    async def operation(self, **changes: Any) -> str:
        """An open borrow operation of a new partner, with a key, a grant and a loan."""
        partner_id = f"partner-{next(self.numbers)}"
        operation_id = f"borrow:{partner_id}:key"
        address = checksum(f"0x{uuid4().hex:0>40}")
        future = datetime.now(UTC) + timedelta(days=1)
        position = next(self.numbers) + 1_000
        async with self.transaction() as session:
            session.add(SettlementAddress(address=address, partner_id=partner_id))
            await session.flush()
            session.add(rows.partner_row(partner_id, address))
            await session.flush()
            session.add(
                ApiKey(
                    id=f"key-{partner_id}",
                    partner_id=partner_id,
                    prefix="k",
                    secret_hash=partner_id,
                    scopes=list(Scope),
                )
            )
            session.add(rows.grant_row(partner_id, position, self.wallet, future))
            session.add(rows.position_row(self.config, position, self.wallet))
            await session.flush()
            operation = {
                "id": operation_id,
                "kind": OperationKind.BORROW,
                "partner_id": partner_id,
                "api_key_id": f"key-{partner_id}",
                "idempotency_key": "key",
                "fingerprint": "print",
                "state": OperationState.OPEN,
            }
            session.add(Operation(**operation | changes))
            await session.flush()
            session.add(rows.loan_row(self.config, operation_id, partner_id, position, address))
        return operation_id

    async def funded(self, amount: int, account: str = accounts.IN_FLIGHT) -> str:
        """An operation whose account holds this much."""
        operation_id = await self.operation()
        async with self.transaction() as session:
            await book.record(session, rows.inflow_row(operation_id, amount, account))
        return operation_id

    # Legs

    def plan(
        self, operation_id: str, leg: str, call: LegCall, charges: str | None = None, generation: int = 1
    ) -> PlannedLeg:
        return plan_leg(
            call,
            operation_id=operation_id,
            leg=leg,
            generation=generation,
            wallet=self.wallet,
            usdc=self.config.usdc,
            vault=self.config.vault,
            charges_account=charges,
            chain_id=self.config.chain_id,
        )

    async def queue_simulated(self, planned: PlannedLeg) -> LegOutcome:
        """Submits the leg with the gas that the chain names."""
        request = CallRequest(self.wallet, planned.target, planned.calldata)
        return await self.queue(planned, await self.world.client.simulate(request))

    async def queue(self, planned: PlannedLeg, gas: int | None = GAS) -> LegOutcome:
        """Submits the leg; without gas the lane simulates it."""
        async with self.transaction() as session:
            return await transactions.insert_queued(session, planned, gas)

    async def settle(self, amount: int = 5 * USD, recipient: ChecksumAddress = SETTLEMENT) -> str:
        """A funded operation with a queued transfer."""
        operation_id = await self.funded(amount)
        await self.queue(self.transfer(operation_id, amount, recipient))
        return operation_id

    def transfer(
        self,
        operation_id: str,
        amount: int,
        recipient: ChecksumAddress = SETTLEMENT,
        leg: str = "settle",
        generation: int = 1,
    ) -> PlannedLeg:
        call = TransferCall(recipient=recipient, amount=amount)
        return self.plan(operation_id, leg, call, accounts.IN_FLIGHT, generation)

    def borrow(self, operation_id: str, amount: int = 1_000 * USD) -> PlannedLeg:
        call = BorrowCall(
            position_id=self.world.line.position_id, amount=amount, loan_duration=90 * DAY, number_of_installments=3
        )
        return self.plan(operation_id, "borrow", call)

    async def row(self, operation_id: str, leg: str = "settle", generation: int = 1) -> ChainTransaction:
        async with self.transaction() as session:
            row = await transactions.find(session, operation_id, leg, generation)
        assert row is not None
        return row

    async def until(self, operation_id: str, leg: str, *states: TransactionState) -> ChainTransaction:
        """The row of a leg once it is in one of these states."""
        await eventually(lambda: self._is_in(operation_id, leg, states))
        return await self.row(operation_id, leg)

    async def _is_in(self, operation_id: str, leg: str, states: Sequence[TransactionState]) -> bool:
        return (await self.row(operation_id, leg)).state in states

    async def attempts(self) -> Sequence[ChainAttempt]:
        async with self.transaction() as session:
            return (await session.scalars(select(ChainAttempt).order_by(ChainAttempt.stored_at))).all()

    async def answers(self) -> list[str]:
        """What nodes said last to each attempt, with the class of it."""
        return [attempt.last_answer or "" for attempt in await self.attempts()]

    async def incidents(self, *, standing: bool = True) -> set[tuple[IncidentKind, str]]:
        """Kind and subject of the incidents that are open, or were."""
        query = select(Incident.kind, Incident.subject).where(Incident.closed_at.is_(None) | (not standing))
        async with self.transaction() as session:
            return {(row.kind, row.subject) for row in (await session.execute(query)).all()}

    async def until_incident(self, kind: IncidentKind, subject: str, *, stands: bool = True) -> None:
        async def as_wanted() -> bool:
            return ((kind, subject) in await self.incidents()) is stands

        await eventually(as_wanted)

    async def cancel(self, operation_id: str, leg: str = "settle", reason: str = "a test") -> CancelEffect:
        async with self.transaction() as session:
            return await transactions.request_cancel(session, operation_id, leg, reason)

    async def resolve(
        self,
        operation_id: str,
        resolution: HoldResolution,
        evidence: str | None = None,
        *,
        leg: str = "settle",
        finality: Finality | None = None,
    ) -> LegOutcome:
        """What an operator does about the newest generation of a leg that is HELD."""
        return await resolve_hold(
            self.transaction,
            rows.engine_chain(self.world, self.wallet, finality or self.config.finality),
            operation_id=operation_id,
            leg=leg,
            generation=None,
            resolution=resolution,
            evidence_tx_hash=evidence,
        )

    async def pause(self) -> None:
        async with self.transaction() as session:
            await pause_signer(session, CHAIN_ID, self.wallet, reason="a test", by="test")

    async def resume(self) -> None:
        async with self.transaction() as session:
            await resume_signer(session, CHAIN_ID, self.wallet)

    async def use_key_elsewhere(self) -> TxHash:
        """A transaction of the wallet that the lane knows nothing of, at its next nonce."""
        client = self.world.client
        market = await client.market(self.wallet)
        fees = (Wei(4 * market.base_fee + market.tip), market.tip)
        unsigned = UnsignedTransaction(CHAIN_ID, market.nonce, SETTLEMENT, b"", Wei(1), 60_000, *fees)
        signed = await self.signer.sign(unsigned)
        await client.send_raw([signed.raw])
        return signed.hash

    async def signer_row(self) -> ChainSigner:
        async with self.transaction() as session:
            return (await session.scalars(select(ChainSigner))).one()

    async def sent_count(self) -> int:
        """How many transactions of the wallet the chain has mined."""
        return await self.world.client.nonce(self.wallet, "latest")


async def open_desk(world: World, database: AsyncEngine) -> Desk:
    account = Account.create()
    wallet = checksum(account.address)
    await fund_gas(world.client, wallet)
    await mint_usdc(world.owner, world.contracts, wallet, 100_000 * USD)
    await set_operator(world.user, world.contracts, wallet)
    config = LaneConfig(
        chain_id=CHAIN_ID,
        wallet=wallet,
        usdc=world.contracts.usdc,
        vault=world.contracts.vault,
        allowance_target=50_000 * USD,
        block_poll=timedelta(milliseconds=30),
        idle_poll=timedelta(milliseconds=100),
        queue_poll=timedelta(milliseconds=200),
        inbound_poll=timedelta(milliseconds=50),
        resend_after=timedelta(milliseconds=500),
        beat=timedelta(milliseconds=100),
        silence_limit=timedelta(seconds=2),
    )
    return Desk(world, config, KeyFileSigner(bytes(account.key)), database)


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Returns once the condition holds; a test that waits too long for it fails."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await holds():  # noqa: ASYNC110 - what is waited for happens in a database or on a chain
            await asyncio.sleep(LOOK_EVERY_SECONDS)
