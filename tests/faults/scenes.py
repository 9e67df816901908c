"""What partners do: a seeded mix of borrows and repayments, with the mistakes and the haste of real ones."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

from contracts.deploy import Sender
from tests.chain.world import USD
from tests.engine import Borrower, PartnerAccount
from tests.faults.asking import Partners, Request, Told
from tests.faults.processes import Running

PRINCIPAL = 1_000 * USD
PART = 100 * USD
TOO_MUCH = 50_000 * USD


@dataclass
class House:
    """A partner with its credit lines, some of which nobody has borrowed on yet."""

    account: PartnerAccount
    free: list[Borrower]
    used: list[Borrower] = field(default_factory=list)
    loans: list[str] = field(default_factory=list)
    """Those that it was told it has, by the names that it gave them, and has not asked to pay off."""
    transferring: asyncio.Lock = field(default_factory=asyncio.Lock)
    """An account of the sandbox sends one thing at a time."""

    def line(self) -> Borrower | None:
        """One that nobody has borrowed on."""
        if not self.free:
            return None
        self.used.append(self.free.pop())
        return self.used[-1]


@dataclass
class Scenes:
    """Every scene asks until it is told, and says what was wrong with what it was told."""

    running: Running
    partners: Partners
    houses: list[House]
    random: Random
    breaches: list[str] = field(default_factory=list)
    played: Counter[str] = field(default_factory=Counter)
    to_be_active: set[str] = field(default_factory=set)
    """Borrows that must have been paid out in the end."""
    _keys: int = 0

    async def play(self, number: int) -> None:
        """So many scenes at once; where there is nothing to repay, borrows."""
        chosen = [self._choose() for _ in range(number)]
        await asyncio.gather(*(scene(house) for scene, house in chosen))

    def _choose(self) -> tuple[Callable[[House], Awaitable[None]], House]:
        borrows = [self.borrows, self.borrows, self.borrows, self.asks_twice, self.reuses_a_key, self.wants_too_much]
        repays = [self.repays_a_part, self.pays_off, self.proves_a_part, self.proves_a_payoff, self.repays_too_much]
        scene = self.random.choice([*borrows, *repays, self.repays_twice_at_once])
        self.played[scene.__name__] += 1
        return scene, self.random.choice(self.houses)

    # Borrows

    async def borrows(self, house: House) -> None:
        if (line := house.line()) is not None:
            await self._borrow(house, Request.borrow(house.account, line, PRINCIPAL))

    async def asks_twice(self, house: House) -> None:
        """Two equal requests at once are told the same."""
        if (line := house.line()) is not None:
            request = Request.borrow(house.account, line, PRINCIPAL)
            one, other = await asyncio.gather(self._borrow(house, request), self.partners.ask(request))
            if one != other:
                self.breaches.append(f"{request.operation_id} was told {one} and {other}")

    async def reuses_a_key(self, house: House) -> None:
        """Of two requests under one key one is the operation, and the other a conflict."""
        if (line := house.line()) is not None:
            key = self.new_key()
            requests = [Request.borrow(house.account, line, amount, key) for amount in (PRINCIPAL, 2 * PRINCIPAL)]
            told = await asyncio.gather(*map(self.partners.ask, requests))
            if sum(each.conflicts for each in told) != 1:
                self.breaches.append(f"{requests[0].operation_id} had two bodies and was told {told}")

    async def wants_too_much(self, house: House) -> None:
        if (line := house.line()) is not None:
            self._refused(await self.partners.ask(Request.borrow(house.account, line, TOO_MUCH)))

    async def _borrow(self, house: House, request: Request) -> Told:
        """A borrow that nothing stands against: whatever goes wrong on the way, it is accepted and paid out."""
        told = await self.partners.ask(request)
        if told.accepted:
            house.loans.append(request.body["partner_loan_id"])
            self.to_be_active.add(request.operation_id)
        else:
            self.breaches.append(f"{request.operation_id} was refused: {told}")
        return told

    # Repayments

    async def repays_a_part(self, house: House) -> None:
        await self._repay(house, {"amount": str(PART)})

    async def pays_off(self, house: House) -> None:
        await self._repay(house, {"payoff": True})

    async def repays_too_much(self, house: House) -> None:
        if (told := await self._repay(house, {"amount": str(TOO_MUCH)})) is not None:
            self._refused(told)

    async def repays_twice_at_once(self, house: House) -> None:
        """On one loan, under two keys: at most one is in flight, the other waits its turn or is refused."""
        if (loan := await self._a_loan(house)) is not None:
            requests = [self._repayment(house, loan, {"amount": str(PART)}) for _ in range(2)]
            await asyncio.gather(*map(self.partners.ask, requests))

    async def proves_a_part(self, house: House) -> None:
        await self._prove(house, PART, {"amount": str(PART)})

    async def proves_a_payoff(self, house: House) -> None:
        """With more than is owed: the excess comes back."""
        await self._prove(house, PRINCIPAL + PART, {"payoff": True})

    async def _prove(self, house: House, amount: int, body: dict[str, object]) -> None:
        if (loan := await self._a_loan(house, for_good="payoff" in body)) is not None:
            tx_hash = await self.transfer(house, amount)
            await self.partners.ask(self._repayment(house, loan, {**body, "transfer_tx_hash": tx_hash}))

    async def transfer(self, house: House, amount: int, sender: Sender | None = None) -> str:
        """USDC to the platform wallet, past the proxy: the partner has a node of its own."""
        engine = self.running.engine
        async with house.transferring:
            return await engine.transfer(sender or house.account.settlement, engine.chain.wallet, amount)

    async def _repay(self, house: House, body: dict[str, object]) -> Told | None:
        loan = await self._a_loan(house, for_good="payoff" in body)
        return None if loan is None else await self.partners.ask(self._repayment(house, loan, body))

    def _repayment(self, house: House, partner_loan_id: str, body: dict[str, object]) -> Request:
        return Request.repay(house.account, partner_loan_id, body, self.new_key())

    async def _a_loan(self, house: House, *, for_good: bool = False) -> str | None:
        """One that the house has. Without one it borrows instead, so that there will be some."""
        if not house.loans:
            await self.borrows(house)
            return None
        loan = self.random.choice(house.loans)
        if for_good:
            house.loans.remove(loan)
        return loan

    def _refused(self, told: Told) -> None:
        if told.accepted:
            self.breaches.append(f"{told.operation_id} was accepted above what it may be")

    def new_key(self) -> str:
        self._keys += 1
        return f"key-{self._keys}"
