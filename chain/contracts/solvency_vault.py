"""SolvencyVault: positions and repayment plans. Amounts are USDC base units, durations and times are seconds.

`isOperator` exists on our own vault alone; `chain/deployment.py` finds out whether it is there. The events are in
`chain/contracts/vault_events.py`.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from eth_typing import ChecksumAddress

from chain.codec import Call, Function, checksum

_POSITION = "address,address,uint256,uint256,uint256,uint256,uint256,uint256,bool,uint8"
GET_POSITION = Function("getPosition(uint256)", _POSITION)
POSITIONS = Function("positions(uint256)", _POSITION)
GET_REPAYMENT_PLAN = Function("getRepaymentPlan(uint256)", "uint256,uint256,uint256,uint256,uint256,uint256,bool,bool")
GET_MAX_BORROW = Function("getMaxBorrow(uint256)", "uint256")
GET_HEALTH_FACTOR = Function("getHealthFactor(uint256)", "uint256")
IS_OPERATOR = Function("isOperator(address,address)", "bool")
BORROW_USDC = Function("borrowUSDC(uint256,uint256,uint256,uint256)")
REPAY_LOAN = Function("repayLoan(uint256,uint256)")
DEPOSIT_COLLATERAL = Function("depositCollateral(address,uint256,uint256,uint8,bool)", "uint256")
SET_OPERATOR = Function("setOperator(address,bool)")
MARK_MISSED_PAYMENT = Function("markMissedPayment(uint256)")
MARK_DEFAULTED = Function("markDefaulted(uint256)")
LIQUIDATE_POSITION = Function("liquidatePosition(uint256)")
SETTLE_LIQUIDATION = Function("settleLiquidation(uint256)")
PURCHASE_AND_SETTLE_LIQUIDATION = Function("purchaseAndSettleLiquidation(uint256,uint256)")


class TokenType(IntEnum):
    RWA = 0
    PRIVATE_ASSET = 1


@dataclass(frozen=True, slots=True)
class Position:
    """Collateral and what was borrowed against it.

    `usdc_borrowed` is principal; `collateral_amount` is in units of its own token; `token_value_usd` is the value of all
    of it. `credit_line_id` is zero where no credit line was issued, `liquidated_at` zero where nothing was liquidated.
    """

    user: ChecksumAddress
    collateral_token: ChecksumAddress
    collateral_amount: int
    usdc_borrowed: int
    token_value_usd: int
    created_at: int
    liquidated_at: int
    credit_line_id: int
    active: bool
    token_type: int


@dataclass(frozen=True, slots=True)
class RepaymentPlan:
    """While `is_active`, no second borrow is possible on the position; it ends when the debt is exactly zero."""

    loan_duration: int
    number_of_installments: int
    installment_interval: int
    next_payment_due: int
    installments_paid: int
    missed_payments: int
    is_active: bool
    defaulted: bool


class SolvencyVault:
    def __init__(self, address: ChecksumAddress) -> None:
        self.address = address

    def get_position(self, position_id: int) -> Call[Position]:
        return GET_POSITION.call(self.address, (position_id,), _position)

    def positions(self, position_id: int) -> Call[Position]:
        """The same by the getter of the public mapping."""
        return POSITIONS.call(self.address, (position_id,), _position)

    def get_repayment_plan(self, position_id: int) -> Call[RepaymentPlan]:
        return GET_REPAYMENT_PLAN.call(self.address, (position_id,), RepaymentPlan)

    def get_max_borrow(self, position_id: int) -> Call[int]:
        return GET_MAX_BORROW.call(self.address, (position_id,), int)

    def get_health_factor(self, position_id: int) -> Call[int]:
        """In basis points of the debt."""
        return GET_HEALTH_FACTOR.call(self.address, (position_id,), int)

    def is_operator(self, user: ChecksumAddress, operator: ChecksumAddress) -> Call[bool]:
        """Whether `operator` may borrow for the positions of `user`. Only on our own vault."""
        return IS_OPERATOR.call(self.address, (user, operator), bool)


def encode_borrow_usdc(position_id: int, amount: int, loan_duration: int, number_of_installments: int) -> bytes:
    return BORROW_USDC.encode(position_id, amount, loan_duration, number_of_installments)


def encode_repay_loan(position_id: int, amount: int) -> bytes:
    return REPAY_LOAN.encode(position_id, amount)


def encode_set_operator(operator: ChecksumAddress, *, approved: bool) -> bytes:
    return SET_OPERATOR.encode(operator, approved)


def encode_deposit_collateral(
    token: ChecksumAddress, amount: int, token_value_usd: int, token_type: TokenType, *, issue_oaid: bool
) -> bytes:
    return DEPOSIT_COLLATERAL.encode(token, amount, token_value_usd, int(token_type), issue_oaid)


def _position(user: str, collateral_token: str, *rest: Any) -> Position:
    return Position(checksum(user), checksum(collateral_token), *rest)
