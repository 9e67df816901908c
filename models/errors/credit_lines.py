"""The credit line, the position behind it, and the pool behind that."""

from models.errors.tree import RuleBroken
from models.money import format_usdc


class CreditLineNotFound(RuleBroken):
    code = "credit_line_not_found"
    title = "There is no such credit line"

    def __init__(self, oaid_token_id: int) -> None:
        super().__init__(f"The chain knows no credit line {oaid_token_id}.", oaid_token_id=oaid_token_id)


class CreditLineInactive(RuleBroken):
    code = "credit_line_inactive"
    title = "The credit line is not active"

    def __init__(self, oaid_token_id: int) -> None:
        super().__init__(
            f"Credit line {oaid_token_id} was revoked or liquidated, or its position is closed.",
            oaid_token_id=oaid_token_id,
        )


class WalletNotOwner(RuleBroken):
    code = "wallet_not_owner"
    title = "The wallet does not own the credit line"

    def __init__(self, oaid_token_id: int, user_wallet: str) -> None:
        super().__init__(
            f"{user_wallet} does not own credit line {oaid_token_id}. Send the wallet that the line was issued to.",
            oaid_token_id=oaid_token_id,
        )


class InsufficientCredit(RuleBroken):
    code = "insufficient_credit"
    title = "The credit line has too little credit left"

    def __init__(self, available: int, requested: int) -> None:
        super().__init__(
            f"The credit line has {format_usdc(available)} USDC available; {format_usdc(requested)} were asked for.",
            available=available,
            requested=requested,
        )


class LtvExceeded(RuleBroken):
    code = "ltv_exceeded"
    title = "The collateral does not carry this amount"

    def __init__(self, max_borrow: int, requested: int) -> None:
        super().__init__(
            f"The position's collateral carries {format_usdc(max_borrow)} USDC more; "
            f"{format_usdc(requested)} were asked for.",
            available=max_borrow,
            requested=requested,
        )


class InsufficientLiquidity(RuleBroken):
    code = "insufficient_liquidity"
    title = "The pool has too little liquidity"

    def __init__(self, available: int, requested: int) -> None:
        super().__init__(
            f"The pool can lend {format_usdc(available)} USDC now; {format_usdc(requested)} were asked for. Try later.",
            available=available,
            requested=requested,
        )


class DebtCeilingExceeded(RuleBroken):
    code = "debt_ceiling_exceeded"
    title = "The amount is above the ceiling for one position"

    def __init__(self, ceiling: int, requested: int) -> None:
        super().__init__(
            f"A position may owe at most {format_usdc(ceiling)} USDC; {format_usdc(requested)} were asked for.",
            available=ceiling,
            requested=requested,
        )


class PlanAlreadyActive(RuleBroken):
    code = "plan_already_active"
    title = "The position already has a repayment plan"

    def __init__(self, position_id: int) -> None:
        super().__init__(
            f"Position {position_id} has a loan that is not repaid in full. A new borrow is possible once it owes nothing.",
            position_id=position_id,
        )


class OperatorNotApproved(RuleBroken):
    code = "operator_not_approved"
    title = "The user has not approved the engine on chain"

    def __init__(self, user_wallet: str, operator: str) -> None:
        super().__init__(
            f"{user_wallet} has not approved {operator} as operator. Have the user call setOperator({operator}, true) on "
            "the vault.",
            operator=operator,
        )
