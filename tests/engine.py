"""The whole engine in one process, for tests: real PostgreSQL, Temporal and Anvil, the real lane, workers and API.

Each test has a database, a Temporal namespace, contracts and a signer of its own, so tests share servers and nothing else.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import httpx
import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_typing import ChecksumAddress
from sqlalchemy import select
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from api.administration import IssuedKey, create_partner
from api.app import create_app
from chain.client import ChainClient
from chain.codec import Function
from chain.contracts.usdc import encode_approve, encode_transfer
from chain.engine_chain import EngineChain
from chain.errors import Reverted, RpcUnavailable
from chain.signer import KeyFileSigner
from chain.types import BlockRef, CallRequest
from chain.waiter import LegWaiter
from contracts.deploy import Contracts, Sender, Transaction, deploy
from contracts.funding import OpenedLine, fund_gas, fund_pool, mint_usdc, open_line, set_operator
from models import accounts
from models.messages.operators import OperatorAnswer, OperatorCommand
from models.statuses import LegName, PartnerTier, TransactionState
from models.tables import book
from models.tables import session as database
from models.tables.operations import Event, Operation
from models.tables.partners import Partner, PartnerDay
from models.tables.transactions import ChainSigner, ChainTransaction
from sandbox.services import Anvil, Temporal
from settings import Settings
from startup import describe_chain
from tests.chain.world import USD, new_sender
from tests.invariants import breaches
from wiring import Parts, loans_workers
from worker import lane_of

FLOAT = 1_000 * USD
SETTLEMENT_USDC = 100_000 * USD
NO_RATE_LIMIT = 1_000_000
"""For partners that ask as fast as they can; the limit itself has tests of its own."""
COMMAND = OperatorCommand(operator="tests", reason="the test says so")


class WatchedClient(ChainClient):
    """A client that lets a test act at the very moment before or after a leg is simulated, or once when that refuses it."""

    before_simulation: Callable[[CallRequest], Awaitable[None]] | None = None
    after_simulation: Callable[[CallRequest], Awaitable[None]] | None = None
    after_refusal: Callable[[], Awaitable[None]] | None = None

    async def simulate(self, request: CallRequest, block: BlockRef = "latest") -> int:
        if self.before_simulation is not None:
            await self.before_simulation(request)
        try:
            gas = await super().simulate(request, block)
        except Reverted:
            act, self.after_refusal = self.after_refusal, None
            if act is not None:
                await act()
            raise
        if self.after_simulation is not None:
            await self.after_simulation(request)
        return gas


@dataclass(frozen=True)
class PartnerAccount:
    """A partner, its key, and the signer of its settlement address."""

    issued: IssuedKey
    settlement: Sender

    @property
    def id(self) -> str:
        return self.issued.partner_id

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.issued.key}"}


@dataclass(frozen=True)
class Borrower:
    user: Sender
    key: str = field(repr=False)
    line: OpenedLine


async def keyed_sender(client: ChainClient) -> tuple[Sender, str]:
    """A new account with gas, and its private key."""
    key = Account.create().key.hex()
    sender = Sender(client, key)
    await fund_gas(client, sender.address)
    return sender, key


@dataclass
class Engine:
    """What a test drives. ``loans`` and ``lane`` start and stop the two roles, so that a test can have one be away."""

    settings: Settings
    parts: Parts
    temporal: Client
    api: httpx.AsyncClient
    contracts: Contracts
    owner: Sender
    treasury: Sender
    signer_file: Path
    partner: PartnerAccount
    custody: OpenedLine | None = None
    """Where the vault has no operators: a line on collateral that the platform wallet itself has deposited."""
    act_is_due: bool = False
    """Something was arranged to happen before a leg, and has not happened yet."""
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    @property
    def chain(self) -> EngineChain:
        return self.parts.chain

    @property
    def client(self) -> WatchedClient:
        client = self.parts.chain.client
        assert isinstance(client, WatchedClient)
        return client

    @property
    def transaction(self) -> database.Transaction:
        return database.transactions(self.parts.database)

    @asynccontextmanager
    async def loans(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            url = self.parts.database.url
            waiter = await stack.enter_async_context(LegWaiter(self.transaction, url))
            for worker in loans_workers(self.temporal, self.parts, waiter):
                await stack.enter_async_context(worker)
            yield

    def lane(self) -> AbstractAsyncContextManager[asyncio.Task[None]]:
        return lane_of(self.parts, KeyFileSigner.load(self.signer_file))

    async def signer_is_known(self) -> bool:
        """A lane has run once: legs can be queued from now on, whether one is running or not."""
        async with self.transaction() as session:
            return await session.scalar(select(ChainSigner.next_nonce)) is not None

    async def new_partner(self, **terms: Any) -> PartnerAccount:
        settlement = await new_sender(self.client)
        await mint_usdc(self.owner, self.contracts, settlement.address, SETTLEMENT_USDC)
        partner_id = f"partner-{next(self._numbers)}"
        async with self.transaction() as session:
            issued = await create_partner(
                session,
                partner_id=partner_id,
                name=partner_id,
                tier=PartnerTier.PREMIUM,
                settlement_address=settlement.address,
                mode="sandbox",
                **{"requests_per_minute": NO_RATE_LIMIT, **terms},
            )
        partner = PartnerAccount(issued, settlement)
        await self.approve_pull(partner, SETTLEMENT_USDC)
        return partner

    async def approve_pull(self, partner: PartnerAccount, amount: int) -> None:
        approve = Transaction(self.contracts.usdc, encode_approve(self.chain.wallet, amount))
        await partner.settlement.send(approve)

    async def new_borrower(
        self, value_usd: int = 10_000 * USD, *, grant: bool = True, operator: bool = True
    ) -> Borrower:
        """A user with collateral and a credit line, who has approved the engine and granted the partner the line."""
        user, key = await keyed_sender(self.client)
        line = await open_line(self.owner, self.contracts, user, value_usd)
        if operator:
            await set_operator(user, self.contracts, self.chain.wallet)
        borrower = Borrower(user, key, line)
        if grant:
            (await self.grant(borrower)).raise_for_status()
        return borrower

    async def grant(
        self, borrower: Borrower, *, partner: PartnerAccount | None = None, signed_by: str | None = None, **changed: Any
    ) -> httpx.Response:
        """Has the user sign a grant for the partner, and sends it."""
        headers = (partner or self.partner).headers
        asked = {
            "oaid_token_id": str(borrower.line.credit_line_id),
            "user_wallet": borrower.user.address,
            "max_amount": str(100_000 * USD),
            "expires_at": (datetime.now(UTC) + timedelta(days=30)).isoformat(),
            "nonce": str(next(self._numbers)),
            **changed,
        }
        typed = await self.api.post("/v1/grants/typed-data", json=asked, headers=headers)
        if typed.is_error:
            return typed
        message = encode_typed_data(full_message=typed.json())
        signature = Account.sign_message(message, signed_by or borrower.key).signature.to_0x_hex()
        return await self.api.post("/v1/grants", json={**asked, "signature": signature}, headers=headers)

    async def borrow(
        self,
        borrower: Borrower,
        amount: int = 5_000 * USD,
        *,
        partner: PartnerAccount | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
        **changed: Any,
    ) -> httpx.Response:
        body = {
            "oaid_token_id": str(borrower.line.credit_line_id),
            "user_wallet": borrower.user.address,
            "amount": str(amount),
            "partner_loan_id": f"loan-{borrower.line.credit_line_id}",
            **changed,
        }
        return await self.api.post("/v1/loans", json=body, headers={**(partner or self.partner).headers, **headers})

    async def repay(
        self, borrower: Borrower, body: dict[str, Any], *, partner: PartnerAccount | None = None, key: str | None = None
    ) -> httpx.Response:
        headers = (partner or self.partner).headers | {"Idempotency-Key": key or f"key-{next(self._numbers)}"}
        path = f"/v1/loans/loan-{borrower.line.credit_line_id}/repayments"
        return await self.api.post(path, json=body, headers=headers)

    async def operation(
        self, operation_id: str, *, wait: int = 20, partner: PartnerAccount | None = None
    ) -> dict[str, Any]:
        """The operation once it is DONE; the test fails where that takes longer than ``wait`` seconds."""
        answer = await self.api.get(
            f"/v1/operations/{operation_id}", params={"wait": wait}, headers=(partner or self.partner).headers
        )
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    async def finished(
        self, answer: httpx.Response, *, wait: int = 20, partner: PartnerAccount | None = None
    ) -> dict[str, Any]:
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        operation = await self.operation(answer.json()["operation_id"], wait=wait, partner=partner)
        assert operation["state"] == "DONE", operation
        return operation

    async def loan(self, borrower: Borrower) -> dict[str, Any]:
        answer = await self.api.get(f"/v1/loans/loan-{borrower.line.credit_line_id}", headers=self.partner.headers)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    async def active_loan(self, borrower: Borrower, amount: int = 5_000 * USD) -> dict[str, Any]:
        done = await self.finished(await self.borrow(borrower, amount))
        assert done["outcome"]["status"] == "ACTIVE", done
        return done

    async def transfer(self, sender: Sender, recipient: ChecksumAddress, amount: int) -> str:
        """An ordinary USDC transfer; returns its hash."""
        data = encode_transfer(recipient, amount)
        (receipt,) = await sender.send(Transaction(self.contracts.usdc, data))
        assert receipt.succeeded
        return receipt.tx_hash

    async def balance(self, address: ChecksumAddress) -> int:
        (balance,) = await self.client.read(self.chain.usdc.balance_of(address), block="latest")
        return balance

    async def debt(self, borrower: Borrower) -> int:
        (debt,) = await self.client.read(
            self.chain.pool.get_outstanding_debt(borrower.line.position_id), block="latest"
        )
        return debt

    def once_before(self, contract: ChecksumAddress, act: Callable[[], Awaitable[None]]) -> None:
        """Acts once, just before the next leg that calls this contract is simulated."""

        async def calls_it(request: CallRequest) -> bool:
            return request.to == contract

        self._act_once(calls_it, act)

    def once_before_leg(self, leg: LegName, act: Callable[[], Awaitable[None]]) -> None:
        """Acts once, just before a leg of this name is simulated for the first time: earlier ones are known by their rows."""
        preceding = {
            LegName.SETTLE: LegName.BORROW,
            LegName.REPAY: LegName.COLLECT,
            LegName.RESIDUE: LegName.REPAY,
        }[leg]
        final = select(ChainTransaction.id).where(
            ChainTransaction.leg == preceding, ChainTransaction.state == TransactionState.FINAL_OK
        )

        async def comes_next(_: CallRequest) -> bool:
            async with self.transaction() as session:
                return (await session.scalars(final.limit(1))).one_or_none() is not None

        self._act_once(comes_next, act)

    def _act_once(self, due: Callable[[CallRequest], Awaitable[bool]], act: Callable[[], Awaitable[None]]) -> None:
        """A step that gives up waiting does not end the act, and its next attempt waits for it, too."""
        assert not self.act_is_due, "one act at a time: a second one may be arranged for within the first"
        self.act_is_due = True
        acting: asyncio.Future[None] | None = None

        async def before(request: CallRequest) -> None:
            nonlocal acting
            if acting is None and await due(request):
                self.act_is_due = False
                acting = asyncio.ensure_future(act())
            if acting is not None:
                await asyncio.shield(acting)

        self.client.before_simulation = before

    def hold_submissions(self) -> None:
        """No leg is simulated, and so none is submitted, until ``release_submissions``: the node seems to be away."""

        async def hold(_: CallRequest) -> None:
            raise RpcUnavailable("the test holds submissions")

        self.client.before_simulation = hold

    def release_submissions(self) -> None:
        self.client.before_simulation = None

    async def reset_to_start(self, workflow_id: str) -> None:
        """Temporal's own reset, to the first workflow task: a new run under the same id."""
        await self.temporal.workflow_service.reset_workflow_execution(
            ResetWorkflowExecutionRequest(
                namespace=self.temporal.namespace,
                workflow_execution=WorkflowExecution(workflow_id=workflow_id),
                reason="the test says so",
                workflow_task_finish_event_id=4,
                request_id=uuid4().hex,
            )
        )

    async def fund_float(self) -> None:
        await self.transfer(self.treasury, self.chain.wallet, FLOAT)

    async def float_is_booked(self) -> bool:
        async with self.transaction() as session:
            return await book.balance(session, accounts.FLOAT) == FLOAT

    async def operator(self, operation_id: str, update: str, command: OperatorCommand = COMMAND) -> str:
        """What an operator is told who sends this update. Raises WorkflowUpdateFailedError where it is refused."""
        handle = self.temporal.get_workflow_handle(operation_id)
        answer: OperatorAnswer = await handle.execute_update(update, command, result_type=OperatorAnswer)
        return answer.said

    async def operation_row(self, operation_id: str) -> Operation:
        async with self.transaction() as session:
            return (await session.scalars(select(Operation).where(Operation.id == operation_id))).one()

    async def owner_calls(self, contract: ChecksumAddress, signature: str, *arguments: object) -> None:
        """The contracts' owner calls one of their sandbox functions, such as ``pause()`` or ``blacklist(address)``."""
        await self.owner.send(Transaction(contract, Function(signature).encode(*arguments)))

    async def partner_usage(self) -> tuple[int, int, int, int]:
        """Outstanding, reserved, and of the newest day borrowed and reserved, in base units."""
        async with self.transaction() as session:
            partner = (await session.scalars(select(Partner).where(Partner.id == self.partner.id))).one()
            days = select(PartnerDay).where(PartnerDay.partner_id == self.partner.id).order_by(PartnerDay.day.desc())
            day = (await session.scalars(days.limit(1))).one_or_none()
            borrowed, reserved = (day.borrowed, day.reserved) if day is not None else (0, 0)
            return partner.outstanding, partner.reserved, borrowed, reserved

    async def legs(self, operation_id: str) -> list[tuple[str, int, str]]:
        query = (
            select(ChainTransaction).where(ChainTransaction.operation_id == operation_id).order_by(ChainTransaction.id)
        )
        async with self.transaction() as session:
            return [(row.leg, row.generation, str(row.state)) for row in await session.scalars(query)]

    async def events(self, operation_id: str) -> list[str]:
        query = select(Event.type).where(Event.operation_id == operation_id).order_by(Event.sequence)
        async with self.transaction() as session:
            return [str(kind) for kind in await session.scalars(query)]

    async def assert_sound(self) -> None:
        """Every invariant holds."""
        assert await breaches(self.transaction, self.chain) == []


async def until(holds: Callable[[], Awaitable[bool]], seconds: int = 60) -> None:
    """Waits on a condition; the test fails where it does not come true in time, which is longer than any retry waits."""
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 - what is waited for is in other processes' hands
            await asyncio.sleep(0.05)


BuildEngine = Callable[..., AbstractAsyncContextManager[Engine]]


@pytest.fixture
def build_engine(anvil: Anvil, temporal_server: Temporal, database_url: str, tmp_path: Path) -> BuildEngine:
    return engine_builder(anvil, temporal_server, database_url, tmp_path)


def engine_builder(anvil: Anvil, temporal_server: Temporal, database_url: str, tmp_path: Path) -> BuildEngine:
    """Builds engines that are not running yet; keywords are settings, or ``custodial`` for the vault without operators."""

    @asynccontextmanager
    async def build(*, custodial: bool = False, rpc_url: str | None = None, **settings: Any) -> AsyncIterator[Engine]:
        async with AsyncExitStack() as stack:
            chain = await stack.enter_async_context(ChainClient(anvil.url))
            owner, treasury = [await new_sender(chain) for _ in range(2)]
            wallet, wallet_key = await keyed_sender(chain)
            contracts = await deploy(owner, custodial=custodial)
            await fund_pool(owner, contracts, 10_000_000 * USD)
            await mint_usdc(owner, contracts, treasury.address, 10 * FLOAT)
            namespace = f"test-{uuid4().hex}"
            await temporal_server.create_namespace(namespace)
            signer_file = tmp_path / f"signer-{wallet.address}"
            signer_file.write_text(wallet_key)
            signer_file.chmod(0o600)
            configured = Settings(
                database_url=database_url,
                temporal_address=temporal_server.address,
                temporal_namespace=namespace,
                rpc_url=rpc_url or anvil.url,
                chain_id=anvil.chain_id,
                usdc_address=contracts.usdc,
                oaid_address=contracts.oaid,
                vault_address=contracts.vault,
                pool_address=contracts.pool,
                platform_wallet=wallet.address,
                treasury_addresses=(treasury.address,),
                key_mode="sandbox",
                **{"confirmations": 1, "inbound_from_block": (await chain.head()).number, **TEST_PACE, **settings},
            )
            engines_client = await stack.enter_async_context(WatchedClient(configured.rpc_url.get_secret_value()))
            opened = database.open_database(configured.database_url.get_secret_value())
            stack.push_async_callback(opened.dispose)
            parts = Parts(configured, opened, await describe_chain(configured, engines_client))
            temporal = await Client.connect(
                temporal_server.address, namespace=namespace, data_converter=pydantic_data_converter
            )
            app = create_app(configured)
            await stack.enter_async_context(app.router.lifespan_context(app))
            api = await stack.enter_async_context(
                httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://engine", timeout=60)
            )
            engine = Engine(
                settings=configured,
                parts=parts,
                temporal=temporal,
                api=api,
                contracts=contracts,
                owner=owner,
                treasury=treasury,
                signer_file=signer_file,
                partner=None,  # type: ignore[arg-type]  # made by the next line, with the engine's own means
            )
            if custodial:
                engine.custody = await open_line(owner, contracts, wallet, 10_000 * USD)
            engine.partner = await engine.new_partner()
            async with engine.lane():
                await until(engine.signer_is_known)
            yield engine
            await temporal_server.delete_namespace(namespace)

    return build


TEST_PACE = {
    "block_poll": timedelta(milliseconds=50),
    "leg_patience": timedelta(seconds=30),
    "settle_retry": timedelta(seconds=1),
    "settle_blocked": timedelta(seconds=2),
    "settle_deadline": timedelta(seconds=60),
    "proof_wait": timedelta(seconds=3),
}


@pytest.fixture
async def engine(build_engine: BuildEngine) -> AsyncIterator[Engine]:
    """An engine with both roles running and a funded platform float."""
    async with build_engine() as built, built.lane(), built.loans():
        await built.fund_float()
        await until(built.float_is_booked)
        yield built
