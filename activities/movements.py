"""Which accounts each leg moves USDC between (money.md section 7)."""

from dataclasses import dataclass, replace

from models import accounts
from models.errors import InvariantBroken
from models.messages.borrow import BorrowTerms
from models.statuses import LedgerKind, LegName
from models.tables.book import Entry


@dataclass(frozen=True)
class Charge:
    """The account that pays for a leg; None where the leg brings USDC in."""

    kind: LedgerKind
    account: str | None
    into: str | None = None


def leg_name(leg: str) -> LegName:
    """``residue-2`` → ``residue``: the name without the number."""
    return LegName(leg.partition("-")[0])


def charge_of(leg: str, partner_id: str, unwind_account: str = accounts.IN_FLIGHT) -> Charge:
    """Who pays for a leg, and where incoming USDC is owed to."""
    liability = accounts.liability(partner_id)
    charges = {
        LegName.BORROW: Charge(LedgerKind.BORROW, None, into=accounts.IN_FLIGHT),
        LegName.SETTLE: Charge(LedgerKind.PAYOUT, accounts.IN_FLIGHT),
        LegName.UNWIND: Charge(LedgerKind.UNWIND, unwind_account),
        LegName.COLLECT: Charge(LedgerKind.COLLECT, None, into=liability),
        LegName.REPAY: Charge(LedgerKind.REPAY, liability),
        LegName.RESIDUE: Charge(LedgerKind.RESIDUE, accounts.FLOAT),
        LegName.REFUND: Charge(LedgerKind.REFUND, liability),
    }
    return charges[leg_name(leg)]


def leg_movement(
    charge: Charge, *, operation_id: str, leg: str, generation: int, amount: int, counterparty: str
) -> Entry:
    """The movement that a leg of the platform wallet makes: into it, or out of it at the charge's account's expense."""
    if charge.account is not None:
        debit, credit = charge.account, accounts.PLATFORM_WALLET
    elif charge.into is not None:
        debit, credit = accounts.PLATFORM_WALLET, charge.into
    else:
        raise InvariantBroken(f"leg {leg} moves nothing")
    return Entry(
        kind=charge.kind,
        debit=debit,
        credit=credit,
        amount=amount,
        counterparty=counterparty,
        operation_id=operation_id,
        leg=leg,
        generation=generation,
    )


def promised_movements(operation_id: str, terms: BorrowTerms) -> list[Entry]:
    """What a reservation promises: USDC comes in from the pool, the payout goes out, the fee stays."""
    borrowed = leg_movement(
        Charge(LedgerKind.BORROW, None, into=accounts.IN_FLIGHT),
        operation_id=operation_id,
        leg=LegName.BORROW,
        generation=1,
        amount=terms.quote.principal,
        counterparty="pool",
    )
    return [borrowed, *settle_movements(operation_id, terms, 1)]


def settle_movements(operation_id: str, terms: BorrowTerms, generation: int) -> list[Entry]:
    """The payout leaves the wallet; with the very same leg the fee stops being money in flight and becomes income."""
    payout = leg_movement(
        Charge(LedgerKind.PAYOUT, accounts.IN_FLIGHT),
        operation_id=operation_id,
        leg=LegName.SETTLE,
        generation=generation,
        amount=terms.quote.payout,
        counterparty=terms.settlement_address,
    )
    if terms.quote.fee == 0:
        return [payout]
    fee = replace(payout, kind=LedgerKind.FEE, credit=accounts.FEE_INCOME, amount=terms.quote.fee, counterparty=None)
    return [payout, fee]
