"""A loan's limits, its names, and how one that was accepted can still end."""

from models.errors.tree import Conflict, NotFound, RuleBroken
from models.money import format_usdc


class DailyLimitExceeded(RuleBroken):
    code = "daily_limit_exceeded"
    title = "The partner's daily limit is used up"

    def __init__(self, limit: int, remaining: int, requested: int) -> None:
        super().__init__(
            f"{format_usdc(remaining)} of {format_usdc(limit)} USDC remain for today (UTC); "
            f"{format_usdc(requested)} were asked for.",
            limit=limit,
            remaining=remaining,
            requested=requested,
        )


class TotalLimitExceeded(RuleBroken):
    code = "total_limit_exceeded"
    title = "The partner's total limit is used up"

    def __init__(self, limit: int, remaining: int, requested: int) -> None:
        super().__init__(
            f"{format_usdc(remaining)} of {format_usdc(limit)} USDC remain until loans are repaid; "
            f"{format_usdc(requested)} were asked for.",
            limit=limit,
            remaining=remaining,
            requested=requested,
        )


class PartnerLoanIdInUse(Conflict):
    code = "partner_loan_id_in_use"
    title = "The partner_loan_id names another loan"

    def __init__(self, partner_loan_id: str, loan_id: str, status: str) -> None:
        super().__init__(
            f"'{partner_loan_id}' already names loan {loan_id}, which is {status}. Use another partner_loan_id.",
            loan_id=loan_id,
            loan_status=status,
        )


class IdempotencyKeyReused(Conflict):
    code = "idempotency_key_reused"
    title = "The Idempotency-Key was used for another request"

    def __init__(self, fields: list[str]) -> None:
        named = ", ".join(fields)
        super().__init__(
            f"This Idempotency-Key was first used with other values of: {named}. Repeat the first request unchanged, or use "
            "a new key.",
            fields=named,
        )


class LoanNotFound(NotFound):
    code = "loan_not_found"
    title = "There is no such loan"

    def __init__(self, partner_loan_id: str) -> None:
        super().__init__(f"This partner has no loan '{partner_loan_id}'.")


class OperationNotFound(NotFound):
    code = "operation_not_found"
    title = "There is no such operation"

    def __init__(self, operation_id: str) -> None:
        super().__init__(f"This partner has no operation '{operation_id}'.")


class PositionNotFound(NotFound):
    code = "position_not_found"
    title = "There is no such position"

    def __init__(self, position_id: int) -> None:
        super().__init__(f"The chain knows no position {position_id}.", position_id=position_id)


class NotStarted(Conflict):
    code = "not_started"
    title = "The request was given up before it started"

    def __init__(self) -> None:
        super().__init__("The request was never started and has had no effect. Repeat it unchanged to start it now.")


class LegReverted(RuleBroken):
    code = "chain_refused"
    title = "The chain refused the call"

    def __init__(self, leg: str, reason: str) -> None:
        super().__init__(f"The contract call '{leg}' was refused: {reason}.", leg=leg, reason=reason)


class StoppedBeforeSending(RuleBroken):
    code = "stopped_before_sending"
    title = "The operation was stopped before any money moved"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The operation was stopped before its contract call was sent: {reason}.", reason=reason)


class SettlementBlocked(RuleBroken):
    code = "settlement_blocked"
    title = "The settlement address cannot receive USDC"

    def __init__(self, settlement_address: str, reason: str) -> None:
        super().__init__(
            f"USDC cannot be transferred to the settlement address {settlement_address} ({reason}). The borrow was undone.",
            reason=reason,
        )
