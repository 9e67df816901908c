"""Who asks: partners, keys, and the grants that let them."""

from models.errors.tree import Conflict, NotAllowed, NotFound, RuleBroken
from models.money import format_usdc


class PartnerNotActive(NotAllowed):
    code = "partner_not_active"
    title = "The partner may not move money"

    def __init__(self, status: str) -> None:
        super().__init__(f"This partner is {status}; only an ACTIVE partner may borrow or repay. Contact the operator.")


class PartnerNotCleared(NotAllowed):
    code = "partner_not_cleared"
    title = "The partner may not borrow yet"

    def __init__(self) -> None:
        super().__init__(
            "A partner borrows live once it is verified (KYC) and its contract is signed, which the operator must both have "
            "recorded. Repayments are possible. Contact the operator."
        )


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


class GrantRequired(RuleBroken):
    code = "grant_required"
    title = "The user has not granted this partner the credit line"

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
