"""What partners do while an engine is being broken: borrow, and repay in each way, asking again until they are answered."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count
from typing import Any

import httpx
from sqlalchemy import select

from contracts.funding import fund_pool, mint_usdc
from models.statuses import LoanStatus, OperationState, RepaymentState
from models.tables.operations import Operation
from tests.chain.world import USD
from tests.engine import Borrower, PartnerAccount
from tests.faults.processes import Running

Request = Callable[[], Awaitable[httpx.Response]]
"""One request of a partner, the same however often it is made."""

PARTNERS = 5
LINES_AT_ONCE = 20
PRINCIPAL = 5_000 * USD
A_PART = 100 * USD
"""So little that a loan lasts for many of them."""
PLENTY = 50_000_000 * USD
LENT_SECONDS = 120
"""An engine that is left alone and has not lent by then stands still."""
_ASK_AGAIN_SECONDS = 0.1
_DONE_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Subject:
    """One credit line, and the partner that may lend on it."""

    partner: PartnerAccount
    borrower: Borrower


@dataclass(frozen=True)
class Story:
    """One kind of operation: what it needs, how it is asked for, and how it ends when nothing but the engine fails."""

    name: str
    ends: str
    on_a_loan: bool
    send: Callable[[Running, Subject, str], Awaitable[Request]]
    """Does what comes before the request, and returns the request, which is the same each time."""


async def _borrow(running: Running, subject: Subject, _: str) -> Request:
    return lambda: running.engine.borrow(subject.borrower, PRINCIPAL, partner=subject.partner)


def _repay(running: Running, subject: Subject, key: str, **body: Any) -> Request:
    return lambda: running.engine.repay(subject.borrower, body, partner=subject.partner, key=key)


async def _payoff(running: Running, subject: Subject, key: str) -> Request:
    return _repay(running, subject, key, payoff=True)


async def _part(running: Running, subject: Subject, key: str) -> Request:
    return _repay(running, subject, key, amount=str(A_PART))


async def _proof(running: Running, subject: Subject, key: str) -> Request:
    """A payoff by a transfer of more than is owed, whose excess goes back."""
    engine = running.engine
    tx_hash = await engine.transfer(subject.partner.settlement, engine.chain.wallet, PRINCIPAL + 1_000 * USD)
    return _repay(running, subject, key, payoff=True, transfer_tx_hash=tx_hash)


BORROW = Story("borrow", LoanStatus.ACTIVE, on_a_loan=False, send=_borrow)
PAYOFF = Story("payoff", RepaymentState.APPLIED, on_a_loan=True, send=_payoff)
PART = Story("part", RepaymentState.APPLIED, on_a_loan=True, send=_part)
PROOF = Story("proof", RepaymentState.APPLIED, on_a_loan=True, send=_proof)
STORIES = {story.name: story for story in (BORROW, PAYOFF, PART, PROOF)}


@dataclass
class Business:
    """Partners of a running engine, with credit lines that nobody borrowed on yet and loans that are ACTIVE."""

    running: Running
    partners: Sequence[PartnerAccount]
    _fresh: list[Subject] = field(default_factory=list)
    _indebted: list[Subject] = field(default_factory=list)
    _keys: "count[int]" = field(default_factory=count)

    @classmethod
    async def open(cls, running: Running) -> "Business":
        """The engine runs already. Limits, liquidity and settlement addresses hold more than any campaign moves."""
        engine = running.engine
        await fund_pool(engine.owner, engine.contracts, PLENTY)
        partners = [await _rich_partner(running) for _ in range(PARTNERS)]
        return cls(running, partners)

    async def subjects(self, story: Story, number: int) -> list[Subject]:
        """So many that the story can happen to, of as many partners as there are."""
        if story.on_a_loan:
            return await self._with_loans(number)
        while len(self._fresh) < number:
            self._fresh += await self._new_lines()
        taken, self._fresh = self._fresh[:number], self._fresh[number:]
        return taken

    def returned(self, story: Story, subjects: Sequence[Subject]) -> None:
        """Those whose loan is ACTIVE afterwards can be in a repayment's story next."""
        if story in (BORROW, PART):
            self._indebted += subjects

    async def prepare(self, story: Story, subject: Subject) -> Request:
        """What comes before the request is done, and the request can be made, any number of times."""
        return await story.send(self.running, subject, f"{story.name}-{next(self._keys)}")

    async def begin(self, story: Story, subject: Subject) -> str:
        """The operation's id, once the engine has answered for it."""
        return await answered(await self.prepare(story, subject))

    async def done(self, operation_ids: Sequence[str]) -> None:
        """Returns when all of them are DONE."""
        query = select(Operation.id).where(Operation.id.in_(operation_ids), Operation.state == OperationState.DONE)
        while True:
            async with self.running.engine.transaction() as session:
                if len((await session.scalars(query)).all()) == len(operation_ids):
                    return
            await asyncio.sleep(_DONE_POLL_SECONDS)

    async def outcome(self, operation_id: str) -> str:
        """The status that the engine tells of it."""
        row = await self.running.engine.operation_row(operation_id)
        return str((row.outcome or {}).get("status"))

    async def _with_loans(self, number: int) -> list[Subject]:
        while len(self._indebted) < number:
            subjects = await self.subjects(BORROW, 2 * PARTNERS)
            async with asyncio.timeout(LENT_SECONDS):
                await self.done(await asyncio.gather(*(self.begin(BORROW, subject) for subject in subjects)))
            self.returned(BORROW, subjects)
        return [self._indebted.pop(0) for _ in range(number)]

    async def _new_lines(self) -> list[Subject]:
        """In turns of partners, so that any few in a row are of different ones."""
        lines = [await self.running.many_lines(partner, LINES_AT_ONCE) for partner in self.partners]
        return [
            Subject(partner, borrower)
            for turn in zip(*lines, strict=True)
            for partner, borrower in zip(self.partners, turn, strict=True)
        ]


async def _rich_partner(running: Running) -> PartnerAccount:
    engine = running.engine
    partner = await engine.new_partner(daily_limit=PLENTY, total_limit=PLENTY)
    await mint_usdc(engine.owner, engine.contracts, partner.settlement.address, PLENTY)
    await engine.approve_pull(partner, PLENTY)
    return partner


async def answered(request: Request) -> str:
    """The id of an accepted operation. Who gets no answer, or is told to come back, asks the same again."""
    while True:
        try:
            answer = await request()
        except httpx.TransportError:
            await asyncio.sleep(_ASK_AGAIN_SECONDS)
            continue
        if answer.status_code == HTTPStatus.ACCEPTED:
            operation_id: str = answer.json()["operation_id"]
            return operation_id
        if answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
            raise AssertionError(f"the engine answered {answer.status_code}: {answer.text}")
        await asyncio.sleep(_ASK_AGAIN_SECONDS)
