"""Repayments and the transfers that fund them."""

from models.errors.tree import Conflict, RuleBroken
from models.money import format_usdc


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


class TransferBeingRefunded(Conflict):
    code = "transfer_being_refunded"
    title = "The transfer is being given back"

    def __init__(self, tx_hash: str) -> None:
        super().__init__(
            f"The transfer in transaction {tx_hash} was not claimed in time and is on its way back to its sender. Should that "
            "fail, it can be claimed again."
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
