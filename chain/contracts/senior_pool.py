"""SeniorPool: liquidity, and the debt of each position. All amounts are USDC base units, times are seconds since 1970."""

from dataclasses import dataclass

from eth_typing import ChecksumAddress

from chain.codec import Call, Function

GET_OUTSTANDING_DEBT = Function("getOutstandingDebt(uint256)", "uint256")
GET_ACCRUED_INTEREST = Function("getAccruedInterest(uint256)", "uint256")
GET_AVAILABLE_LIQUIDITY = Function("getAvailableLiquidity()", "uint256")
LOANS = Function("loans(uint256)", "uint256,uint256,uint256,bool")


@dataclass(frozen=True, slots=True)
class LoanState:
    """A position's debt as it was written at `last_update_time`; interest since then is not in `interest_accrued`."""

    principal: int
    interest_accrued: int
    last_update_time: int
    active: bool


class SeniorPool:
    def __init__(self, address: ChecksumAddress) -> None:
        self.address = address

    def get_outstanding_debt(self, position_id: int) -> Call[int]:
        """Principal and interest to the second of the block that is read."""
        return GET_OUTSTANDING_DEBT.call(self.address, (position_id,), int)

    def get_accrued_interest(self, position_id: int) -> Call[int]:
        return GET_ACCRUED_INTEREST.call(self.address, (position_id,), int)

    def get_available_liquidity(self) -> Call[int]:
        """What may be lent now, the reserve taken off."""
        return GET_AVAILABLE_LIQUIDITY.call(self.address, (), int)

    def loans(self, position_id: int) -> Call[LoanState]:
        return LOANS.call(self.address, (position_id,), LoanState)
