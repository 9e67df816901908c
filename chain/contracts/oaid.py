"""OAID: credit lines and the history of their users. Amounts are USDC base units, times are seconds since 1970."""

from dataclasses import dataclass
from typing import Any

from eth_typing import ChecksumAddress

from chain.codec import Call, Event, Function, checksum
from chain.types import Log

GET_CREDIT_LINE = Function(
    "getCreditLine(uint256)",
    "address,address,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,bool,uint256,bool",
)
GET_AVAILABLE_CREDIT = Function("getAvailableCredit(uint256)", "uint256")
GET_USER_CREDIT_LINES = Function("getUserCreditLines(address)", "uint256[]")
IS_USER_REGISTERED = Function("isUserRegistered(address)", "bool")
GET_CREDIT_SCORE = Function("getCreditScore(address)", "uint256")
GET_CREDIT_PROFILE = Function("getCreditProfile(address)", "uint256,uint256,uint256,uint256,uint256,uint256,uint256")
CREDIT_LINE_ISSUED_EVENT = Event("CreditLineIssued(uint256*,address*,address,uint256,uint256,uint256)")
CREDIT_USED_EVENT = Event("CreditUsed(uint256*,uint256,uint256)")
CREDIT_REPAID_EVENT = Event("CreditRepaid(uint256*,uint256,uint256)")
CREDIT_LINE_REVOKED_EVENT = Event("CreditLineRevoked(uint256*,string)")
PAYMENT_RECORDED_EVENT = Event("PaymentRecorded(uint256*,address*,uint256,bool,uint256)")


@dataclass(frozen=True, slots=True)
class CreditLine:
    """A credit line; that of an unknown id is zero throughout. `collateral_amount` is in units of its own token."""

    user: ChecksumAddress
    collateral_token: ChecksumAddress
    collateral_amount: int
    credit_limit: int
    credit_used: int
    solvency_position_id: int
    issued_at: int
    total_payments: int
    on_time_payments: int
    late_payments: int
    total_amount_repaid: int
    liquidated: bool
    liquidated_at: int
    active: bool

    @property
    def exists(self) -> bool:
        return self.issued_at != 0


@dataclass(frozen=True, slots=True)
class CreditProfile:
    """A user's credit lines taken together. `credit_score` goes from 0 to 1000."""

    active_credit_lines: int
    total_credit_limit: int
    total_payments: int
    on_time_payments: int
    late_payments: int
    liquidations: int
    credit_score: int


@dataclass(frozen=True, slots=True)
class CreditLineIssued:
    credit_line_id: int
    user: ChecksumAddress
    collateral_token: ChecksumAddress
    collateral_amount: int
    credit_limit: int
    solvency_position_id: int


@dataclass(frozen=True, slots=True)
class CreditUsed:
    credit_line_id: int
    amount: int
    total_used: int


@dataclass(frozen=True, slots=True)
class CreditRepaid:
    """`amount` is principal."""

    credit_line_id: int
    amount: int
    remaining_used: int


@dataclass(frozen=True, slots=True)
class CreditLineRevoked:
    credit_line_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class PaymentRecorded:
    """`amount` is everything paid, interest included."""

    credit_line_id: int
    user: ChecksumAddress
    amount: int
    on_time: bool
    days_late: int


class Oaid:
    def __init__(self, address: ChecksumAddress) -> None:
        self.address = address

    def get_credit_line(self, credit_line_id: int) -> Call[CreditLine]:
        return GET_CREDIT_LINE.call(self.address, (credit_line_id,), _credit_line)

    def get_available_credit(self, credit_line_id: int) -> Call[int]:
        return GET_AVAILABLE_CREDIT.call(self.address, (credit_line_id,), int)

    def get_user_credit_lines(self, user: ChecksumAddress) -> Call[tuple[int, ...]]:
        return GET_USER_CREDIT_LINES.call(self.address, (user,), _ids)

    def is_user_registered(self, user: ChecksumAddress) -> Call[bool]:
        return IS_USER_REGISTERED.call(self.address, (user,), bool)

    def get_credit_score(self, user: ChecksumAddress) -> Call[int]:
        return GET_CREDIT_SCORE.call(self.address, (user,), int)

    def get_credit_profile(self, user: ChecksumAddress) -> Call[CreditProfile]:
        return GET_CREDIT_PROFILE.call(self.address, (user,), CreditProfile)


def decode_credit_line_issued(log: Log) -> CreditLineIssued | None:
    values = CREDIT_LINE_ISSUED_EVENT.decode(log)
    if values is None:
        return None
    credit_line_id, user, token, *amounts = values
    return CreditLineIssued(credit_line_id, checksum(user), checksum(token), *amounts)


def decode_credit_used(log: Log) -> CreditUsed | None:
    values = CREDIT_USED_EVENT.decode(log)
    return None if values is None else CreditUsed(*values)


def decode_credit_repaid(log: Log) -> CreditRepaid | None:
    values = CREDIT_REPAID_EVENT.decode(log)
    return None if values is None else CreditRepaid(*values)


def decode_credit_line_revoked(log: Log) -> CreditLineRevoked | None:
    """OAID's event. The vault has one of the same name, with other parameters."""
    values = CREDIT_LINE_REVOKED_EVENT.decode(log)
    return None if values is None else CreditLineRevoked(*values)


def decode_payment_recorded(log: Log) -> PaymentRecorded | None:
    values = PAYMENT_RECORDED_EVENT.decode(log)
    if values is None:
        return None
    credit_line_id, user, *rest = values
    return PaymentRecorded(credit_line_id, checksum(user), *rest)


def _credit_line(user: str, collateral_token: str, *rest: Any) -> CreditLine:
    return CreditLine(checksum(user), checksum(collateral_token), *rest)


def _ids(credit_line_ids: tuple[int, ...]) -> tuple[int, ...]:
    return credit_line_ids
