"""USDC amounts and the one place where they are rounded.

An amount is an ``int`` of base units: USDC has 6 decimals, so ``5_000_000_000`` is 5,000 USDC. There are no fractions of a
base unit anywhere; what a division leaves over is decided here and nowhere else.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

USDC_DECIMALS = 6
BASIS_POINTS = 10_000
MAX_AMOUNT = 10**18 - 1
"""The largest amount that a request may name, in base units: a trillion USDC less one unit; every column holds it."""

BaseUnits = Annotated[int, Field(ge=0, le=MAX_AMOUNT)]
PositiveBaseUnits = Annotated[int, Field(gt=0, le=MAX_AMOUNT)]


class Quote(BaseModel):
    """What a borrow costs, in base units: ``principal = fee + payout``."""

    model_config = ConfigDict(frozen=True)

    principal: PositiveBaseUnits
    fee: BaseUnits
    payout: BaseUnits


def platform_fee(principal: int, fee_bps: int) -> int:
    """The platform fee in base units: ``principal * fee_bps / 10_000``, rounded down.

    Rounding down favours the partner by less than one base unit, and never lets a fee exceed what was agreed. 50 basis
    points of 5,000 USDC are 25 USDC (the design's README).
    """
    if principal <= 0:
        raise ValueError(f"principal must be positive, got {principal}")
    if not 0 <= fee_bps <= BASIS_POINTS:
        raise ValueError(f"fee_bps must be between 0 and {BASIS_POINTS}, got {fee_bps}")
    return principal * fee_bps // BASIS_POINTS


def quote(principal: int, fee_bps: int) -> Quote:
    """Principal, fee and payout of a borrow, in base units; the fee is kept from the payout."""
    fee = platform_fee(principal, fee_bps)
    return Quote(principal=principal, fee=fee, payout=principal - fee)


def format_usdc(amount: int) -> str:
    """An amount for people to read: ``5_000_000_000`` → ``"5,000.00"``; every digit that is not zero is shown."""
    sign = "-" if amount < 0 else ""
    whole, rest = divmod(abs(amount), 10**USDC_DECIMALS)
    decimals = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole:,}.{decimals}"
