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
from chain.lane import SignerLane
from chain.lane_config import LaneConfig, LaneNode
from chain.legs import PlannedLeg, plan_leg
from chain.signer import KeyFileSigner, SignedTransaction, Signer, UnsignedTransaction
from chain.types import CallRequest
from contracts.funding import fund_gas, mint_usdc, set_operator
from models import accounts
from models.messages.legs import BorrowCall, LegCall, LegOutcome, TransferCall
from models.statuses import (
    GrantEvidence,
    LedgerKind,
    LoanStatus,
    OperationKind,
    OperationState,
    PartnerStatus,
    PartnerTier,
    TransactionState,
)
from models.tables import book
from models.tables.book import Entry
from models.tables.loans import Loan, SolvencyPosition
from models.tables.operations import Operation
from models.tables.partners import ApiKey, CreditLineGrant, Partner, SettlementAddress
from models.tables.session import Transaction
from models.tables.session import transactions as transactions_of
from models.tables.transactions import ChainAttempt, ChainSigner, ChainTransaction
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
            session.add(_partner(partner_id, address))
            await session.flush()
            session.add(
                ApiKey(id=f"key-{partner_id}", partner_id=partner_id, prefix="k", secret_hash=partner_id, scopes=[])
            )
            session.add(_grant(partner_id, position, self.wallet, future))
            session.add(_position(self.config, position, self.wallet))
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
            session.add(_loan(self.config, operation_id, partner_id, position, address))
        return operation_id

    async def funded(self, amount: int, account: str = accounts.IN_FLIGHT) -> str:
        """An operation whose account holds this much."""
        operation_id = await self.operation()
        async with self.transaction() as session:
            await book.record(session, _inflow(operation_id, amount, account))
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

    async def signer_row(self) -> ChainSigner:
        async with self.transaction() as session:
            return (await session.scalars(select(ChainSigner))).one()

    async def sent_count(self) -> int:
        """How many transactions of the wallet the chain has mined."""
        return await self.world.client.nonce(self.wallet, "latest")


@dataclass
class Interrupted:
    """A signer in whose first signature something else happens, as it may between any two transactions of a lane."""

    signer: Signer
    meanwhile: Callable[[], Awaitable[None]]
    calls: int = 0

    @property
    def address(self) -> ChecksumAddress:
        return self.signer.address

    async def sign(self, transaction: UnsignedTransaction) -> SignedTransaction:
        self.calls += 1
        if self.calls == 1:
            await self.meanwhile()
        return await self.signer.sign(transaction)


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


def _inflow(operation_id: str, amount: int, account: str) -> Entry:
    return Entry(
        kind=LedgerKind.BORROW,
        debit=accounts.PLATFORM_WALLET,
        credit=account,
        amount=amount,
        operation_id=operation_id,
    )


def _partner(partner_id: str, settlement: str) -> Partner:
    return Partner(
        id=partner_id,
        name=partner_id,
        status=PartnerStatus.ACTIVE,
        tier=PartnerTier.BASIC,
        fee_bps=50,
        daily_borrow_limit=10**12,
        total_borrow_limit=10**12,
        settlement_address=settlement,
    )


def _grant(partner_id: str, position: int, wallet: str, expires_at: datetime) -> CreditLineGrant:
    return CreditLineGrant(
        id=f"grant-{partner_id}",
        partner_id=partner_id,
        chain_id=CHAIN_ID,
        oaid_address=wallet,
        oaid_token_id=1,
        position_id=position,
        user_wallet=wallet,
        max_amount=10**12,
        expires_at=expires_at,
        evidence_kind=GrantEvidence.ADMINISTRATOR,
        evidence={},
    )


def _position(config: LaneConfig, position: int, wallet: str) -> SolvencyPosition:
    return SolvencyPosition(
        chain_id=config.chain_id,
        vault_address=config.vault,
        position_id=position,
        oaid_token_id=1,
        user_wallet=wallet,
        collateral_token=wallet,
        collateral_amount=1,
        collateral_value=1,
        credit_limit=1,
        seen_at_block=1,
    )


def _loan(config: LaneConfig, operation_id: str, partner_id: str, position: int, settlement: str) -> Loan:
    return Loan(
        id=f"loan-{partner_id}",
        operation_id=operation_id,
        partner_id=partner_id,
        partner_loan_id="L1",
        user_wallet=config.wallet,
        oaid_token_id=1,
        chain_id=config.chain_id,
        vault_address=config.vault,
        position_id=position,
        status=LoanStatus.PENDING,
        principal=1_000 * USD,
        fee=5 * USD,
        payout=995 * USD,
        settlement_address=settlement,
        loan_duration=90 * DAY,
        number_of_installments=3,
        grant_id=f"grant-{partner_id}",
    )
