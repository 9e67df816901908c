"""What the vault says in its logs. Amounts of a repayment are read here and never computed (contracts.md, trap 4)."""

from dataclasses import dataclass

from eth_typing import ChecksumAddress

from chain.codec import Event, checksum
from chain.types import Log

POSITION_CREATED_EVENT = Event("PositionCreated(uint256*,address*,address,uint256,uint256,uint8)")
OAID_CREDIT_ISSUED_EVENT = Event("OAIDCreditIssued(uint256*,uint256,uint256)")
USDC_BORROWED_EVENT = Event("USDCBorrowed(uint256*,uint256,uint256)")
REPAYMENT_PLAN_CREATED_EVENT = Event("RepaymentPlanCreated(uint256*,uint256,uint256,uint256,uint256)")
LOAN_REPAID_EVENT = Event("LoanRepaid(uint256*,uint256,uint256,uint256,uint256)")
MISSED_PAYMENT_MARKED_EVENT = Event("MissedPaymentMarked(uint256*,uint256)")
POSITION_DEFAULTED_EVENT = Event("PositionDefaulted(uint256*)")
COLLATERAL_WITHDRAWN_EVENT = Event("CollateralWithdrawn(uint256*,address*,uint256)")
POSITION_LIQUIDATED_EVENT = Event("PositionLiquidated(uint256*,uint256)")
LIQUIDATION_SETTLED_EVENT = Event("LiquidationSettled(uint256*,uint256,uint256,uint256,uint256)")
PRIVATE_ASSET_LIQUIDATION_SETTLED_EVENT = Event(
    "PrivateAssetLiquidationSettled(uint256*,address*,uint256,uint256,uint256,uint256,uint256)"
)
CREDIT_LINE_REVOKED_EVENT = Event("CreditLineRevoked(uint256*,uint256*,string)")


@dataclass(frozen=True, slots=True)
class PositionCreated:
    position_id: int
    user: ChecksumAddress
    collateral_token: ChecksumAddress
    collateral_amount: int
    token_value_usd: int
    token_type: int


@dataclass(frozen=True, slots=True)
class OaidCreditIssued:
    position_id: int
    credit_line_id: int
    credit_limit: int


@dataclass(frozen=True, slots=True)
class UsdcBorrowed:
    position_id: int
    amount: int
    total_debt: int


@dataclass(frozen=True, slots=True)
class RepaymentPlanCreated:
    position_id: int
    loan_duration: int
    number_of_installments: int
    installment_interval: int
    next_payment_due: int


@dataclass(frozen=True, slots=True)
class LoanRepaid:
    """`amount` = `principal` + `interest`; `remaining_debt` is what the position owes in the second of this block."""

    position_id: int
    amount: int
    principal: int
    interest: int
    remaining_debt: int


@dataclass(frozen=True, slots=True)
class MissedPaymentMarked:
    position_id: int
    missed_payments: int


@dataclass(frozen=True, slots=True)
class PositionDefaulted:
    position_id: int


@dataclass(frozen=True, slots=True)
class CollateralWithdrawn:
    position_id: int
    user: ChecksumAddress
    amount: int


@dataclass(frozen=True, slots=True)
class PositionLiquidated:
    position_id: int
    liquidation_time: int


@dataclass(frozen=True, slots=True)
class LiquidationSettled:
    """`yield_received` = `debt_repaid` + `liquidation_fee` + `user_refund`; debt above it was written off."""

    position_id: int
    yield_received: int
    debt_repaid: int
    liquidation_fee: int
    user_refund: int


@dataclass(frozen=True, slots=True)
class PrivateAssetLiquidationSettled:
    position_id: int
    purchaser: ChecksumAddress
    purchase_amount: int
    tokens_transferred: int
    debt_repaid: int
    liquidation_fee: int
    user_refund: int


@dataclass(frozen=True, slots=True)
class PositionCreditLineRevoked:
    position_id: int
    credit_line_id: int
    reason: str


def decode_position_created(log: Log) -> PositionCreated | None:
    values = POSITION_CREATED_EVENT.decode(log)
    if values is None:
        return None
    position_id, user, token, *rest = values
    return PositionCreated(position_id, checksum(user), checksum(token), *rest)


def decode_oaid_credit_issued(log: Log) -> OaidCreditIssued | None:
    values = OAID_CREDIT_ISSUED_EVENT.decode(log)
    return None if values is None else OaidCreditIssued(*values)


def decode_usdc_borrowed(log: Log) -> UsdcBorrowed | None:
    values = USDC_BORROWED_EVENT.decode(log)
    return None if values is None else UsdcBorrowed(*values)


def decode_repayment_plan_created(log: Log) -> RepaymentPlanCreated | None:
    values = REPAYMENT_PLAN_CREATED_EVENT.decode(log)
    return None if values is None else RepaymentPlanCreated(*values)


def decode_loan_repaid(log: Log) -> LoanRepaid | None:
    values = LOAN_REPAID_EVENT.decode(log)
    return None if values is None else LoanRepaid(*values)


def decode_missed_payment_marked(log: Log) -> MissedPaymentMarked | None:
    values = MISSED_PAYMENT_MARKED_EVENT.decode(log)
    return None if values is None else MissedPaymentMarked(*values)


def decode_position_defaulted(log: Log) -> PositionDefaulted | None:
    values = POSITION_DEFAULTED_EVENT.decode(log)
    return None if values is None else PositionDefaulted(*values)


def decode_collateral_withdrawn(log: Log) -> CollateralWithdrawn | None:
    values = COLLATERAL_WITHDRAWN_EVENT.decode(log)
    if values is None:
        return None
    position_id, user, amount = values
    return CollateralWithdrawn(position_id, checksum(user), amount)


def decode_position_liquidated(log: Log) -> PositionLiquidated | None:
    values = POSITION_LIQUIDATED_EVENT.decode(log)
    return None if values is None else PositionLiquidated(*values)


def decode_liquidation_settled(log: Log) -> LiquidationSettled | None:
    values = LIQUIDATION_SETTLED_EVENT.decode(log)
    return None if values is None else LiquidationSettled(*values)


def decode_private_asset_liquidation_settled(log: Log) -> PrivateAssetLiquidationSettled | None:
    values = PRIVATE_ASSET_LIQUIDATION_SETTLED_EVENT.decode(log)
    if values is None:
        return None
    position_id, purchaser, *amounts = values
    return PrivateAssetLiquidationSettled(position_id, checksum(purchaser), *amounts)


def decode_position_credit_line_revoked(log: Log) -> PositionCreditLineRevoked | None:
    """The vault's event. OAID has one of the same name, with other parameters."""
    values = CREDIT_LINE_REVOKED_EVENT.decode(log)
    return None if values is None else PositionCreditLineRevoked(*values)
