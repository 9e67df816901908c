"""What must be true after the demo: on the chain, in the database, and between the two."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import TypeVar

from eth_typing import ChecksumAddress
from sqlalchemy import select

from chain.codec import Event
from chain.contracts.senior_pool import SeniorPool
from chain.contracts.solvency_vault import SolvencyVault
from chain.contracts.usdc import TRANSFER_EVENT, decode_transfer
from chain.contracts.vault_events import (
    LOAN_REPAID_EVENT,
    USDC_BORROWED_EVENT,
    decode_loan_repaid,
    decode_usdc_borrowed,
)
from chain.types import Log
from models import accounts as ledger_accounts
from models.money import format_usdc
from models.statuses import LoanStatus
from models.tables.book import balance
from models.tables.loans import Reservation
from models.tables.partners import Partner, PartnerDay
from models.tables.session import transactions
from sandbox.accounts import address_of
from sandbox.demo.story import Told
from sandbox.seed import PARTNER_ID
from sandbox.world import Sandbox

T = TypeVar("T")


@dataclass(frozen=True)
class Check:
    what: str
    right: bool
    found: str


@dataclass(frozen=True)
class Limits:
    """What of the partner's limits was in use at one moment, in base units."""

    total: int
    borrowed_on: dict[date, int]


async def read_limits(sandbox: Sandbox) -> Limits:
    async with transactions(sandbox.database)() as session:
        partner = await session.get_one(Partner, PARTNER_ID)
        days = await session.scalars(select(PartnerDay).where(PartnerDay.partner_id == PARTNER_ID))
        return Limits(partner.outstanding + partner.reserved, {day.day: day.borrowed for day in days})


async def check(sandbox: Sandbox, told: Told, before: Limits) -> list[Check]:
    """The second line of what the demo promises, one check for each of its claims."""
    return [*await _on_chain(sandbox, told), *await _in_database(sandbox, told, before)]


async def _on_chain(sandbox: Sandbox, told: Told) -> list[Check]:
    chain, loan, position = sandbox.chain, told.loan, told.line.position_id
    wallet, settlement = address_of(chain.accounts.platform), address_of(chain.accounts.settlement)
    logs = _Logs(sandbox, told)
    borrows = [
        event
        for event in await logs.of(chain.contracts.vault, USDC_BORROWED_EVENT, decode_usdc_borrowed)
        if event.position_id == position
    ]
    repaid = [
        event
        for event in await logs.of(chain.contracts.vault, LOAN_REPAID_EVENT, decode_loan_repaid)
        if event.position_id == position
    ]
    transfers = await logs.of(chain.contracts.usdc, TRANSFER_EVENT, decode_transfer)
    payouts = [move.amount for move in transfers if (move.sender, move.recipient) == (wallet, settlement)]
    collected = [move.amount for move in transfers if (move.sender, move.recipient) == (settlement, wallet)]
    debt, plan = await chain.client.read(
        SeniorPool(chain.contracts.pool).get_outstanding_debt(position),
        SolvencyVault(chain.contracts.vault).get_repayment_plan(position),
        block="latest",
    )
    return [
        _equal("chain: exactly one USDCBorrowed, of the principal", [e.amount for e in borrows], [int(loan.principal)]),
        _equal(
            "chain: one transfer to the partner, principal minus fee", payouts, [int(loan.principal) - int(loan.fee)]
        ),
        _equal("chain: one collection from the partner", collected, [int(each.collected) for each in loan.repayments]),
        Check(
            "chain: repayments that end in zero debt",
            bool(repaid) and repaid[-1].remaining_debt == debt == 0 and not plan.is_active,
            f"{_listed([e.amount for e in repaid])}, debt {format_usdc(debt)}",
        ),
    ]


async def _in_database(sandbox: Sandbox, told: Told, before: Limits) -> list[Check]:
    after = await read_limits(sandbox)
    async with transactions(sandbox.database)() as session:
        day = (await session.get_one(Reservation, told.borrow_operation)).day
        cash = -await balance(session, ledger_accounts.PLATFORM_WALLET)
    wallet = await sandbox.chain.balance(address_of(sandbox.chain.accounts.platform))
    borrowed = after.borrowed_on.get(day, 0) - before.borrowed_on.get(day, 0)
    return [
        Check("engine: the loan is REPAID", told.loan.status is LoanStatus.REPAID, told.loan.status),
        Check(
            "engine: the total limit is whole again",
            after.total == before.total,
            f"{format_usdc(after.total)} in use, {format_usdc(before.total)} before",
        ),
        _equal("engine: the day still shows the borrow", [borrowed], [int(told.loan.principal)]),
        _equal("ledger: its cash is the platform wallet's USDC", [cash], [wallet]),
    ]


@dataclass(frozen=True)
class _Logs:
    """What contracts said since the demo began."""

    sandbox: Sandbox
    told: Told

    async def of(self, contract: ChecksumAddress, event: Event, decode: Callable[[Log], T | None]) -> list[T]:
        found = await self.sandbox.chain.client.logs(contract, [event.topic0], self.told.first_block, "latest")
        return [value for log in found if (value := decode(log)) is not None]


def _equal(what: str, found: list[int], expected: list[int]) -> Check:
    return Check(
        what, found == expected, f"{_listed(found)}" + ("" if found == expected else f", not {_listed(expected)}")
    )


def _listed(amounts: list[int]) -> str:
    return " + ".join(format_usdc(amount) for amount in amounts) or "none"
