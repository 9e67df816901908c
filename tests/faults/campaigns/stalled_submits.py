"""A submission stalls, its operation is given up, and then it wakes up: nothing may be sent.

It stalls in the activity between simulation and insert, or its leg stalls in the lane, read and signed, before the
transaction that would give it a nonce. Beside those that are given up as many go on, which must pay once.
"""

import asyncio
import random
from collections.abc import Awaitable, Collection, Sequence
from dataclasses import dataclass, field

from eth_typing import ChecksumAddress

from activities.transactions import TransactionActivities
from chain import transactions
from chain.client import ChainClient
from chain.signer import SignedTransaction, Signer, UnsignedTransaction
from chain.signers import pause_signer, resume_signer
from chain.types import BlockRef, CallRequest
from chain.waiter import LegWaiter
from models.messages.borrow import BorrowTerms
from models.messages.common import Pace
from models.messages.legs import LegOutcome, SubmitTransaction, TransferCall
from models.money import Quote
from models.statuses import LegName, TransactionState
from tests.chain.lane.desk import CHAIN_ID, SETTLEMENT
from tests.engine import until
from tests.faults.campaign import Part, Report
from tests.faults.grounds import Grounds
from tests.faults.lanes.payments import fund_operation
from tests.faults.lanes.yard import REST_SECONDS, Yard, open_yard

INTERLEAVINGS, FULL_PARTS, FULL_INTERLEAVINGS = 3, 5, 20
OPERATIONS = 12
BEFORE_INSERT, BEFORE_PREPARE = "between simulation and insert", "between insert and prepare"
RACED = "raced with its abandonment"
ABANDONED = frozenset({TransactionState.ABANDONED})
PATIENCE = Pace(leg_patience=60, settle_retry=1, settle_blocked=60, settle_deadline=60, proof_wait=60)


class StalledSubmits:
    name = "stalled-submits"
    title = (
        "a submit that stalls between simulation and insert, or insert and prepare, while the operation is abandoned"
    )
    figure = "100 interleavings of many operations: nothing is sent"
    unit = "submissions that stalled while their operation was abandoned"

    def parts(self, *, full: bool) -> list[Part]:
        number = FULL_INTERLEAVINGS if full else INTERLEAVINGS
        return [Part(self.name, f"interleavings-{number}-{seed}", seed) for seed in range(FULL_PARTS if full else 1)]

    async def run(self, part: Part, grounds: Grounds) -> Report:
        report = Report()
        async with open_yard(grounds) as yard, StallingClient(yard.rpc_url) as client:
            stage = _Stage(yard, client, _StallingSigner(yard.desk.signer), random.Random(part.seed), report)  # noqa: S311 - a seed plans the same again
            async with yard.desk.running(yard.desk.lane(signer=stage.signer)):
                for _ in range(int(part.name.split("-")[1])):
                    await stage.interleave()
                    report.breaches += await yard.rests(mining=False)
            report.breaches += await yard.breaches(stage.ends)
            report.operations = len(await yard.rows())
            return report


class StallingClient(ChainClient):
    """A simulation that is done is kept from its caller while the payment's recipient and amount are in ``stalled``."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.stalled: set[int] = set()
        self.waiting: set[int] = set()
        self.wake = asyncio.Event()

    async def simulate(self, request: CallRequest, block: BlockRef = "latest") -> int:
        gas = await super().simulate(request, block)
        amount = int.from_bytes(request.data[-32:])
        if amount in self.stalled:
            self.waiting.add(amount)
            await self.wake.wait()
        return gas


@dataclass
class _StallingSigner:
    """A lane that has read its batch and signs it does not go on until it is told to."""

    signer: Signer
    stalls: bool = False
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def address(self) -> ChecksumAddress:
        return self.signer.address

    async def sign(self, transaction: UnsignedTransaction) -> SignedTransaction:
        if self.stalls:
            self.reached.set()
            await self.wake.wait()
        return await self.signer.sign(transaction)


@dataclass(frozen=True, slots=True)
class _Submission:
    operation_id: str
    amount: int
    stalls: str
    given_up: bool


class _Stage:
    def __init__(
        self, yard: Yard, client: StallingClient, signer: _StallingSigner, dice: random.Random, report: Report
    ) -> None:
        self._yard = yard
        self._client = client
        self.signer = signer
        self._dice = dice
        self._report = report
        waiter = LegWaiter(yard.desk.transaction, yard.desk.database.url)
        self._activities = TransactionActivities(yard.desk.transaction, yard.engine_chain(client), waiter)
        self.ends: dict[str, Collection[TransactionState]] = {}

    async def interleave(self) -> None:
        """Many submissions stall at once; some are given up, before they wake up or while they do; then all go on."""
        submissions = await self._submissions()
        self._stall(submissions)
        submits = await self._submit_all(submissions)
        raced = self._dice.random() < 1 / 3
        give_up = [self._abandon(each, raced=raced) for each in submissions if each.given_up]
        self._dice.shuffle(give_up)
        if raced:
            await asyncio.gather(*self._woken_among(give_up))
        else:
            await asyncio.gather(*give_up)
            await self._wake()
        outcomes = await asyncio.gather(*submits)
        await asyncio.gather(*(self._submit(each) for each in submissions))  # as an activity that is tried again does
        self._judge(submissions, outcomes, raced=raced)

    async def _submissions(self) -> list[_Submission]:
        async with self._yard.desk.transaction() as session:
            return [
                _Submission(
                    await fund_operation(session, self._yard.partner_id, amount, _terms(self._yard, amount)),
                    amount,
                    self._dice.choice([BEFORE_INSERT, BEFORE_PREPARE]),
                    given_up=self._dice.random() < 2 / 3,
                )
                for amount in self._yard.amounts(OPERATIONS)
            ]

    def _stall(self, submissions: Sequence[_Submission]) -> None:
        self._client.stalled = {each.amount for each in submissions if each.stalls == BEFORE_INSERT}
        self._client.waiting = set()
        for event in (self._client.wake, self.signer.wake, self.signer.reached):
            event.clear()
        self.signer.stalls = True

    async def _submit_all(self, submissions: Sequence[_Submission]) -> list[asyncio.Task[LegOutcome]]:
        """Returns when all of them have stalled; the signer is paused meanwhile, so that the lane reads all in one batch."""
        desk, inserted = self._yard.desk, sum(each.stalls == BEFORE_PREPARE for each in submissions)

        async def all_are_there() -> bool:
            queued = await self._yard.count_in({TransactionState.QUEUED})
            return queued == inserted and self._client.waiting == self._client.stalled

        async with desk.transaction() as session:
            await pause_signer(session, CHAIN_ID, desk.wallet, reason="legs are collected", by="campaign")
        submits = [asyncio.create_task(self._submit(each)) for each in submissions]
        await until(all_are_there, REST_SECONDS)
        async with desk.transaction() as session:
            await resume_signer(session, CHAIN_ID, desk.wallet)
        if inserted > 0:
            async with asyncio.timeout(REST_SECONDS):
                await self.signer.reached.wait()
        return submits

    async def _wake(self) -> None:
        self.signer.stalls = False
        self.signer.wake.set()
        self._client.wake.set()

    def _woken_among(self, give_up: Sequence[Awaitable[None]]) -> list[Awaitable[None]]:
        place = self._dice.randint(0, len(give_up))
        return [*give_up[:place], self._wake(), *give_up[place:]]

    async def _submit(self, submission: _Submission) -> LegOutcome:
        call = TransferCall(recipient=SETTLEMENT, amount=submission.amount)
        asked = SubmitTransaction(operation_id=submission.operation_id, leg=LegName.SETTLE, call=call)
        return await self._activities.submit_transaction(asked)

    async def _abandon(self, submission: _Submission, *, raced: bool) -> None:
        async with self._yard.desk.transaction() as session:
            gone = await transactions.abandon(session, submission.operation_id, LegName.SETTLE, "given up")
        if gone:
            self.ends[submission.operation_id] = ABANDONED
        elif not raced:
            self._report.breaches.append(f"{submission.operation_id} has no nonce, and could not be given up")

    def _judge(self, submissions: Sequence[_Submission], outcomes: Sequence[LegOutcome], *, raced: bool) -> None:
        for submission, outcome in zip(submissions, outcomes, strict=True):
            late = submission.stalls == BEFORE_INSERT and submission.given_up and not raced
            if late and outcome.state is not TransactionState.ABANDONED:
                self._report.breaches.append(f"{submission.operation_id} was given up, and submitted {outcome.state}")
            if submission.given_up:
                self._report.injections += 1
                self._report.faults[submission.stalls] += 1
                self._report.faults[RACED] += raced


def _terms(yard: Yard, amount: int) -> dict[str, object]:
    terms = BorrowTerms(
        loan_id="loan",
        quote=Quote(principal=amount, fee=0, payout=amount),
        fee_bps=0,
        position_id=1,
        oaid_token_id=1,
        user_wallet=yard.desk.wallet,
        settlement_address=SETTLEMENT,
        vault_address=yard.desk.config.vault,
        loan_duration=1,
        number_of_installments=1,
        residue_cap=0,
        pace=PATIENCE,
    )
    return terms.model_dump(mode="json")
