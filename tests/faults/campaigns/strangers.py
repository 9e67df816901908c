"""What people outside do to the engine under load: dust, direct repayments and borrows, claims that are late or not theirs.

None of it may stop the engine or lose a unit, and all of it is accounted.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy import select

from chain.contracts.solvency_vault import encode_borrow_usdc, encode_repay_loan
from chain.contracts.usdc import encode_approve
from contracts.deploy import SandboxError, Sender, Transaction
from contracts.funding import mint_usdc
from models.statuses import InboundState
from models.tables.transactions import ChainSigner, InboundTransfer
from tests.chain.world import DAY, USD, new_sender
from tests.engine import Borrower, until
from tests.faults.asking import Request, Told
from tests.faults.campaign import Grounds, Part, Report
from tests.faults.driver import QUIET_SECONDS, Driven, driven
from tests.faults.processes import Site
from tests.faults.scenes import PART, PRINCIPAL, House

BLOCK_TIME = timedelta(milliseconds=200)
PARTS, ROUNDS, ROUNDS_OF_THE_SLICE = 4, 8, 1
SCENES_OF_A_ROUND, ACTS_OF_A_ROUND = 5, 8
RICH = 1_000_000 * USD


class Strangers:
    name = "strangers"
    title = (
        "base units sent to the platform wallet, direct repayments and borrows by users, transfers before their claim"
    )
    figure = "no pause, no loss, all accounted"
    unit = "acts of strangers"

    def parts(self, *, full: bool) -> list[Part]:
        if not full:
            return [Part(self.name, f"{ROUNDS_OF_THE_SLICE} round", 1)]
        return [Part(self.name, f"{ROUNDS} rounds, {number}", number) for number in range(1, PARTS + 1)]

    async def run(self, part: Part, grounds: Grounds) -> Report:
        rounds = int(part.name.partition(" ")[0])
        anvil = await grounds.anvil(BLOCK_TIME)
        site = Site(grounds.folder("strangers"), await grounds.database(), await grounds.temporal(), anvil)
        lines = rounds * (ACTS_OF_A_ROUND + SCENES_OF_A_ROUND)
        async with driven(site, part.seed, houses=2, lines=lines) as engine:
            crowd = await _Crowd.gather(engine)
            for _ in range(rounds):
                await crowd.round()
            crowd.report.breaches += await engine.comes_to_rest()
            crowd.report.breaches += await crowd.paused()
            crowd.report.operations = len({request.operation_id for request, _ in engine.partners.told})
            crowd.report.notes.append(f"the vault refused {crowd.refused} of the users' own transactions")
            return crowd.report


@dataclass
class _Crowd:
    engine: Driven
    stranger: Sender
    report: Report = field(default_factory=Report)
    refused: int = 0
    _sending: asyncio.Lock = field(default_factory=asyncio.Lock)

    @classmethod
    async def gather(cls, engine: Driven) -> "_Crowd":
        """A stranger with USDC, and users with some of their own."""
        driver = engine.running.engine
        stranger = await new_sender(driver.client)
        for holder in (stranger, *(house.free[0].user for house in engine.scenes.houses)):
            await mint_usdc(driver.owner, driver.contracts, holder.address, RICH)
        for house in engine.scenes.houses:
            approve = Transaction(driver.contracts.usdc, encode_approve(driver.contracts.vault, RICH))
            await house.free[0].user.send(approve)
        return cls(engine, stranger)

    async def round(self) -> None:
        """Everybody at once, partners with their own operations among them."""
        one, other = self.engine.scenes.houses
        acts: dict[str, Callable[[], Awaitable[None]]] = {
            "dust": self._dust,
            "direct repayment": partial(self._repays_directly, one),
            "direct repayment during ours": partial(self._repays_during_ours, other),
            "direct borrow": partial(self._borrows_directly, one),
            "direct borrow during ours": partial(self._borrows_during_ours, other),
            "late claim": partial(self._claims_late, one),
            "double claim": partial(self._claims_twice, other),
            "claim of another's transfer": partial(self._claims_anothers, one, other),
        }
        await asyncio.gather(self.engine.scenes.play(SCENES_OF_A_ROUND), *(act() for act in acts.values()))
        self.report.injections += len(acts)
        self.report.faults.update(acts.keys())

    async def paused(self) -> list[str]:
        async with self.engine.running.engine.transaction() as session:
            signers = await session.scalars(select(ChainSigner).where(ChainSigner.paused_at.is_not(None)))
            return [f"{signer.address} is paused: {signer.paused_reason}" for signer in signers]

    # On chain, past the engine

    async def _dust(self) -> None:
        driver = self.engine.running.engine
        await driver.transfer(self.stranger, driver.chain.wallet, 1)

    async def _repays_directly(self, house: House) -> None:
        if (line := await self._active(house)) is not None:
            await self._on_vault(line, encode_repay_loan(line.line.position_id, PART))

    async def _repays_during_ours(self, house: House) -> None:
        """The user repays while a payoff of the same loan is under way."""
        if (line := await self._active(house)) is not None:
            payoff = self._repayment(house, line, {"payoff": True})
            direct = self._on_vault(line, encode_repay_loan(line.line.position_id, PART))
            await asyncio.gather(self.engine.partners.ask(payoff), direct)

    async def _borrows_directly(self, house: House) -> None:
        """The user has borrowed before the partner asks."""
        if (line := house.line()) is not None:
            await self._on_vault(line, encode_borrow_usdc(line.line.position_id, PART, 30 * DAY, 1))
            await self.engine.partners.ask(Request.borrow(house.account, line, PRINCIPAL))

    async def _borrows_during_ours(self, house: House) -> None:
        if (line := house.line()) is not None:
            direct = self._on_vault(line, encode_borrow_usdc(line.line.position_id, PART, 30 * DAY, 1))
            await asyncio.gather(self.engine.partners.ask(Request.borrow(house.account, line, PRINCIPAL)), direct)

    async def _on_vault(self, line: Borrower, data: bytes) -> None:
        """The user's own transaction, which the vault may refuse: what the engine did may have come first."""
        async with self._sending:
            try:
                await line.user.send(Transaction(self.engine.running.engine.contracts.vault, data))
            except SandboxError:
                self.refused += 1

    # Claims

    async def _claims_late(self, house: House) -> None:
        """The transfer is booked as nobody's before it is claimed."""
        if (line := await self._active(house)) is not None:
            tx_hash = await self.engine.scenes.transfer(house, PART)
            await until(partial(self._is_booked, tx_hash), QUIET_SECONDS)
            await self._ends_as(self._proof(house, line, tx_hash), "APPLIED")

    async def _claims_twice(self, house: House) -> None:
        """For two loans at once: one of the two repayments has it."""
        lines = [await self._active(house) for _ in range(2)]
        tx_hash = await self.engine.scenes.transfer(house, PART)
        claims = [self._proof(house, line, tx_hash) for line in lines if line is not None]
        told = await asyncio.gather(*map(self.engine.partners.ask, claims))
        ends = [await self._end(claim, each) for claim, each in zip(claims, told, strict=True)]
        if len(claims) > 1 and ends.count("APPLIED") != 1:
            self.report.breaches.append(f"{tx_hash} was claimed for two loans, which ended as {ends}")

    async def _claims_anothers(self, house: House, other: House) -> None:
        """It stays its own partner's, who claims it afterwards."""
        theirs, ours = await self._active(other), await self._active(house)
        if theirs is None or ours is None:
            return
        tx_hash = await self.engine.scenes.transfer(house, PART)
        stolen = self._proof(other, theirs, tx_hash)
        end = await self._end(stolen, await self.engine.partners.ask(stolen))
        if end not in ("REFUSED", "REJECTED"):
            self.report.breaches.append(f"{stolen.operation_id} claimed another partner's transfer: {end}")
        await self._ends_as(self._proof(house, ours, tx_hash), "APPLIED")

    async def _ends_as(self, request: Request, wanted: str) -> None:
        end = await self._end(request, await self.engine.partners.ask(request))
        if end != wanted:
            self.report.breaches.append(f"{request.operation_id} ended as {end}, not {wanted}")

    async def _end(self, request: Request, told: Told) -> str:
        if not told.accepted:
            return "REFUSED"
        done = await self.engine.running.finishes(request.operation_id, QUIET_SECONDS, partner=request.partner)
        status: str = done["outcome"]["status"]
        return status

    def _proof(self, house: House, line: Borrower, tx_hash: str) -> Request:
        return self._repayment(house, line, {"amount": str(PART), "transfer_tx_hash": tx_hash})

    def _repayment(self, house: House, line: Borrower, body: dict[str, Any]) -> Request:
        name = f"loan-{line.line.credit_line_id}"
        return Request.repay(house.account, name, body, self.engine.scenes.new_key())

    async def _active(self, house: House) -> Borrower | None:
        """A loan of this act's own, paid out."""
        if (line := house.line()) is None:
            return None
        request = Request.borrow(house.account, line, PRINCIPAL)
        await self._ends_as(request, "ACTIVE")
        return line

    async def _is_booked(self, tx_hash: str) -> bool:
        query = select(InboundTransfer.state).where(InboundTransfer.tx_hash == tx_hash)
        async with self.engine.running.engine.transaction() as session:
            return await session.scalar(query) is InboundState.UNCLAIMED
