"""Why a request is not carried out, in words that a partner's engineer can act on.

::

    EngineError
    ├── Refused                     a business rule says no; nothing was moved and nothing is reserved
    │   ├── NotAllowed (403)        who asks may not: suspended, revoked, out of scope
    │   ├── NotFound (404)          the thing is not there, or is another partner's
    │   ├── Conflict (409)          something that exists stands against it
    │   └── RuleBroken (422)        a limit or a rule of the credit line, the chain or the partner
    └── InvariantBroken             a bug or a tampered row: never swallowed, the workflow retries and an operator is told

Each leaf below ``Refused`` has a ``code``, which is the last part of its problem ``type`` and the ``type`` of the
``ApplicationError`` it travels in, a ``title``, and a constructor that builds its own sentence and figures. The figures are
strings, amounts in base units.
"""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from models.money import format_usdc


class RefusalPayload(BaseModel):
    """A refusal as it is stored, sent through Temporal and shown to the partner as an RFC 9457 problem."""

    model_config = ConfigDict(frozen=True)

    code: str
    status: int
    title: str
    detail: str
    figures: dict[str, str] = {}


class EngineError(Exception):
    """The root of everything that the engine itself raises."""


class InvariantBroken(EngineError):
    """Something that cannot be, was found. It is retried, since only a person can mend it."""


class Refused(EngineError):
    code: ClassVar[str]
    title: ClassVar[str]
    status: ClassVar[int]

    def __init__(self, detail: str, **figures: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.figures = {name: str(value) for name, value in figures.items()}

    def payload(self) -> RefusalPayload:
        return RefusalPayload(
            code=self.code, status=self.status, title=self.title, detail=self.detail, figures=self.figures
        )


class NotAllowed(Refused):
    status = 403


class NotFound(Refused):
    status = 404


class Conflict(Refused):
    status = 409


class RuleBroken(Refused):
    status = 422


def every_refusal() -> list[type[Refused]]:
    """All leaf refusals, sorted by code: the source of the OpenAPI document and of the errors table in the docs."""
    found: list[type[Refused]] = []
    waiting: list[type[Refused]] = [Refused]
    while waiting:
        kind = waiting.pop()
        waiting.extend(kind.__subclasses__())
        if "code" in vars(kind):
            found.append(kind)
    return sorted(found, key=lambda kind: kind.code)


# Who asks


class PartnerNotActive(NotAllowed):
    code = "partner_not_active"
    title = "The partner may not move money"

    def __init__(self, status: str) -> None:
        super().__init__(f"This partner is {status}; only an ACTIVE partner may borrow or repay. Contact the operator.")


class KeyNotValid(NotAllowed):
    code = "key_not_valid"
    title = "The API key is no longer valid"

    def __init__(self) -> None:
        super().__init__(
            "The API key of this request was revoked or has expired since. Send it again with a valid key."
        )


class ScopeMissing(NotAllowed):
    code = "scope_missing"
    title = "The API key lacks a scope"

    def __init__(self, scope: str) -> None:
        super().__init__(f"This API key lacks the scope '{scope}'. Use a key that has it.", scope=scope)


class GrantRequired(NotAllowed):
    code = "grant_required"
    title = "The user has not granted this partner the credit line"
    status = 422

    def __init__(self, oaid_token_id: int, user_wallet: str, amount: int) -> None:
        super().__init__(
            f"No live grant lets this partner borrow {format_usdc(amount)} USDC on credit line {oaid_token_id} for "
            f"{user_wallet}. Have the user sign one and send it to POST /v1/grants.",
            oaid_token_id=oaid_token_id,
            requested=amount,
        )


class GrantInvalid(RuleBroken):
    code = "grant_invalid"
    title = "The grant's signature does not hold"


class GrantExpired(RuleBroken):
    code = "grant_expired"
    title = "The grant has expired"

    def __init__(self, expires_at: str) -> None:
        super().__init__(f"The grant expired at {expires_at}. Have the user sign a new one.", expires_at=expires_at)


class GrantNonceUsed(Conflict):
    code = "grant_nonce_used"
    title = "The grant's nonce was used before"

    def __init__(self, nonce: int) -> None:
        super().__init__(f"The user's grant nonce {nonce} was used before. Sign the grant with a new one.", nonce=nonce)


class GrantNotFound(NotFound):
    code = "grant_not_found"
    title = "There is no such grant"

    def __init__(self, grant_id: str) -> None:
        super().__init__(f"This partner has no grant '{grant_id}'.")


# The credit line and the position behind it


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


# Limits and identity of a loan


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


# Repayments


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


class LoanNotRepayable(Conflict):
    code = "loan_not_repayable"
    title = "The loan cannot be repaid now"

    def __init__(self, status: str) -> None:
        super().__init__(
            f"The loan is {status}; only a loan that is ACTIVE or DEFAULTED can be repaid.", loan_status=status
        )


class RepaymentInProgress(Conflict):
    code = "repayment_in_progress"
    title = "Another repayment of this loan is in flight"

    def __init__(self) -> None:
        super().__init__(
            "Another repayment of this loan is in flight. Wait until its operation is DONE, then try again."
        )


class AmountAboveDebt(RuleBroken):
    code = "amount_above_debt"
    title = "The amount is above the debt"

    def __init__(self, debt: int, requested: int) -> None:
        super().__init__(
            f"The loan owes {format_usdc(debt)} USDC; {format_usdc(requested)} were offered. Send a smaller amount, or "
            '"payoff": true to repay all.',
            debt=debt,
            requested=requested,
        )


class InsufficientFunding(RuleBroken):
    code = "insufficient_funding"
    title = "The settlement address cannot fund the repayment"

    def __init__(self, balance: int, allowance: int, requested: int) -> None:
        super().__init__(
            f"The settlement address holds {format_usdc(balance)} USDC and has approved {format_usdc(allowance)} to the "
            f"platform wallet; {format_usdc(requested)} are needed.",
            balance=balance,
            allowance=allowance,
            requested=requested,
        )


class TransferNotFound(RuleBroken):
    code = "transfer_not_found"
    title = "The transfer is not on the chain"

    def __init__(self, tx_hash: str) -> None:
        super().__init__(
            f"No final USDC transfer to the platform wallet was found in transaction {tx_hash} within the time allowed. If it "
            "arrives later it is kept for you and can be claimed by another repayment."
        )


class TransferNotOurs(RuleBroken):
    code = "transfer_not_ours"
    title = "The transaction holds no transfer to the platform wallet"

    def __init__(self, tx_hash: str) -> None:
        super().__init__(
            f"Transaction {tx_hash} holds no USDC transfer to the platform wallet that a partner can claim."
        )


class TransferAlreadyClaimed(Conflict):
    code = "transfer_already_claimed"
    title = "The transfer was used before"

    def __init__(self, tx_hash: str) -> None:
        super().__init__(
            f"The transfer in transaction {tx_hash} was claimed or refunded before. Each transfer counts once."
        )


class TransferSenderUnknown(RuleBroken):
    code = "transfer_sender_unknown"
    title = "The transfer does not come from an address of this partner or user"

    def __init__(self, sender: str) -> None:
        super().__init__(
            f"The transfer comes from {sender}, which is neither a settlement address of this partner nor the loan's user "
            "wallet. The transfer stays claimable by whom it belongs to.",
            sender=sender,
        )


class TransferAmountMismatch(RuleBroken):
    code = "transfer_amount_mismatch"
    title = "The transfer has another amount"

    def __init__(self, found: int, requested: int) -> None:
        super().__init__(
            f"The transfer is of {format_usdc(found)} USDC; the request says {format_usdc(requested)}. Repeat it with the "
            "amount that was transferred.",
            found=found,
            requested=requested,
        )


class TransferAmbiguous(RuleBroken):
    code = "transfer_ambiguous"
    title = "The transaction holds several transfers"

    def __init__(self, log_indexes: list[int]) -> None:
        named = ", ".join(map(str, log_indexes))
        super().__init__(
            f"The transaction holds several transfers that match. Say which with transfer_log_index: {named}.",
            log_indexes=named,
        )


class NotStarted(Conflict):
    code = "not_started"
    title = "The request was given up before it started"

    def __init__(self) -> None:
        super().__init__("The request was never started and has had no effect. Repeat it unchanged to start it now.")


# What a borrow or a repayment that was accepted can still end in


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
