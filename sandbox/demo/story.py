"""The demo's story: a user consents, the partner borrows for the user, and pays the loan off."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from eth_account.signers.local import LocalAccount
from sqlalchemy import func, select

from api.answers import LoanAnswer, OperationAnswer, TimelineEntry
from chain.contracts.senior_pool import SeniorPool
from chain.types import BlockNumber
from contracts.funding import OpenedLine
from models.money import format_usdc
from models.statuses import LIVE_STATES, EventType, LoanStatus, OperationKind, OperationState, TransactionState
from models.tables.operations import Operation
from models.tables.session import transactions
from sandbox.accounts import address_of
from sandbox.demo.partner import PartnerClient
from sandbox.demo.receiver import Receiver
from sandbox.demo.view import Step, View
from sandbox.errors import SandboxError
from sandbox.seed import USDC
from sandbox.world import Sandbox

AMOUNT = 5_000 * USDC
PATIENCE = timedelta(minutes=2)
POLL = timedelta(milliseconds=500)


class DemoFailed(SandboxError):
    """An operation of the demo did not end as it should."""


async def finish_interrupted(sandbox: Sandbox, view: View) -> None:
    """Wait for operations that an earlier start left in the middle: the engine takes them up again by itself."""
    if not await _open_operations(sandbox):
        return
    with view.doing("Finish what was interrupted") as step, suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while left := await _open_operations(sandbox):
                step.note = f"{left} to go"
                await asyncio.sleep(POLL.total_seconds())
            step.note = ""


async def _open_operations(sandbox: Sandbox) -> int:
    asked = select(func.count()).where(Operation.kind != OperationKind.SYSTEM, Operation.state == OperationState.OPEN)
    async with transactions(sandbox.database)() as session:
        return await session.scalar(asked) or 0


@dataclass(frozen=True)
class Balances:
    """USDC base units at one moment; the debt is the user's, interest to that second included."""

    pool: int
    platform_wallet: int
    settlement: int
    debt: int


@dataclass(frozen=True)
class Told:
    """What happened, for the checks and the links."""

    line: OpenedLine
    first_block: BlockNumber
    partner_loan_id: str
    borrow_operation: str
    repay_operation: str
    loan: LoanAnswer
    balances: Sequence[tuple[str, Balances]]


@dataclass(frozen=True)
class Story:
    sandbox: Sandbox
    partner: PartnerClient
    view: View
    line: OpenedLine
    user: LocalAccount
    receiver: Receiver

    async def tell(self) -> Told:
        head = await self.sandbox.chain.client.head()
        loan_id = f"demo-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        before = await self.balances()
        with self.view.section("A user lets the partner borrow"):
            await self._consent()
        with self.view.section(f"Borrow {format_usdc(AMOUNT)} USDC as {loan_id}"):
            borrow = await self._borrow(loan_id)
        borrowed = await self.balances()
        with self.view.section("Pay the loan off"):
            repay = await self._pay_off(loan_id)
        balances = [("before", before), ("after the borrow", borrowed), ("after the payoff", await self.balances())]
        loan = await self.partner.loan(loan_id)
        return Told(self.line, BlockNumber(head.number + 1), loan_id, borrow, repay, loan, balances)

    async def balances(self) -> Balances:
        chain = self.sandbox.chain
        (debt,) = await chain.client.read(
            SeniorPool(chain.contracts.pool).get_outstanding_debt(self.line.position_id), block="latest"
        )
        return Balances(
            pool=await chain.balance(chain.contracts.pool),
            platform_wallet=await chain.balance(address_of(chain.accounts.platform)),
            settlement=await chain.balance(address_of(chain.accounts.settlement)),
            debt=debt,
        )

    async def _consent(self) -> None:
        with self.view.step("EIP-712 consent, signed by the user") as step:
            grant = await self.partner.grant(self.line, self.user, 2 * AMOUNT)
            step.note = (
                f"{grant.grant_id}: up to {format_usdc(int(grant.max_amount))} USDC on line {grant.oaid_token_id}"
            )

    async def _borrow(self, loan_id: str) -> str:
        with self.view.step("POST /v1/loans") as step:
            answer = await self.partner.borrow(self.line, AMOUNT, loan_id)
            step.note = str(answer.decision)
            if answer.quote is not None:
                fee, payout = format_usdc(int(answer.quote.fee)), format_usdc(int(answer.quote.payout))
                step.note += f": fee {fee}, payout {payout} USDC"
        await self._follow(answer.operation_id)
        await self._expect(loan_id, LoanStatus.ACTIVE)
        await self._hear(answer.operation_id, EventType.LOAN_BORROWED)
        return answer.operation_id

    async def _pay_off(self, loan_id: str) -> str:
        with self.view.step("GET /v1/loans/{id}/payoff") as step:
            payoff = await self.partner.payoff(loan_id)
            owed, interest = format_usdc(int(payoff.outstanding)), format_usdc(int(payoff.interest))
            step.note = f"{owed} USDC are owed, {interest} of them interest"
        with self.view.step("POST /v1/loans/{id}/repayments") as step:
            answer = await self.partner.pay_off(loan_id, f"payoff-{loan_id}")
            step.note = f"{answer.decision}: pulled from the settlement address"
        await self._follow(answer.operation_id)
        await self._expect(loan_id, LoanStatus.REPAID)
        for kind in (EventType.REPAYMENT_APPLIED, EventType.LOAN_REPAID):
            await self._hear(answer.operation_id, kind)
        return answer.operation_id

    async def _follow(self, operation_id: str) -> OperationAnswer:
        """Show each leg as the operation tells of it, until it is done."""
        legs: dict[tuple[str, int], Step] = {}
        try:
            async with asyncio.timeout(PATIENCE.total_seconds()):
                while True:
                    operation = await self.partner.operation(operation_id)
                    for entry in operation.timeline:
                        self._show(legs, entry)
                    if operation.state is OperationState.DONE:
                        return operation
        except TimeoutError:
            raise DemoFailed(f"{operation_id} was not done within {PATIENCE}") from None

    def _show(self, legs: dict[tuple[str, int], Step], entry: TimelineEntry) -> None:
        key = (entry.leg, entry.generation)
        step = legs.get(key)
        if step is None:
            step = legs[key] = self.view.begin(_title(entry))
        step.note, step.tx_hash = entry.reason or _standing(entry), entry.tx_hash or ""
        if entry.state in LIVE_STATES:
            return
        step.took = None if entry.final_at is None else entry.final_at - entry.queued_at
        self.view.end(step, failed=entry.state is not TransactionState.FINAL_OK)

    async def _expect(self, loan_id: str, status: LoanStatus) -> None:
        with self.view.step("GET /v1/loans/{id}") as step:
            loan = await self.partner.loan(loan_id)
            step.note = str(loan.status)
            if loan.status is not status:
                raise DemoFailed(f"the loan is {loan.status}, where it should be {status}")

    async def _hear(self, operation_id: str, kind: EventType) -> None:
        """The event that the engine sends to the partner's own receiver, which verifies it."""
        with self.view.step(f"webhook: {kind}") as step:
            try:
                async with asyncio.timeout(PATIENCE.total_seconds()):
                    heard = await self.receiver.wait_for(operation_id, kind)
            except TimeoutError:
                raise DemoFailed(f"no {kind} of {operation_id} came within {PATIENCE}") from None
            step.note = f"{heard.id}: the signature holds"


_WAYS = {
    "borrow": "pool → platform wallet",
    "settle": "platform wallet → partner",
    "unwind": "platform wallet → pool",
    "collect": "partner → platform wallet",
    "repay": "platform wallet → pool",
    "residue": "platform float → pool",
    "refund": "platform wallet → partner",
}


def _standing(entry: TimelineEntry) -> str:
    return entry.state.lower() if entry.block_number is None else f"block {entry.block_number}"


def _title(entry: TimelineEntry) -> str:
    return f"{entry.leg}: {_WAYS.get(entry.leg.partition('-')[0], 'on chain')}"
