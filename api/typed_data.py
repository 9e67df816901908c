"""What a user signs so that a partner may borrow on a credit line: EIP-712, exactly as money.md section 3 says."""

from dataclasses import dataclass
from typing import Any

from eth_account import Account
from eth_account.messages import SignableMessage, encode_typed_data
from eth_keys.exceptions import BadSignature
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError

PRIMARY_TYPE = "CreditLineGrant"
SIGNATURE_BYTES = 65

_TYPES = {
    "EIP712Domain": [
        {"name": "chainId", "type": "uint256"},
        {"name": "verifyingContract", "type": "address"},
    ],
    PRIMARY_TYPE: [
        {"name": "partnerId", "type": "string"},
        {"name": "oaidTokenId", "type": "uint256"},
        {"name": "userWallet", "type": "address"},
        {"name": "maxAmount", "type": "uint256"},
        {"name": "expiresAt", "type": "uint256"},
        {"name": "nonce", "type": "uint256"},
    ],
}


@dataclass(frozen=True, slots=True)
class Consent:
    """What is consented to. ``max_amount`` is base units, ``expires_at`` seconds since 1970."""

    chain_id: int
    oaid_address: str
    partner_id: str
    oaid_token_id: int
    user_wallet: str
    max_amount: int
    expires_at: int
    nonce: int

    def typed_data(self) -> dict[str, Any]:
        """As ``eth_signTypedData_v4`` takes it. Numbers are strings: many wallets read JSON numbers as doubles."""
        return {
            "types": _TYPES,
            "primaryType": PRIMARY_TYPE,
            "domain": {"chainId": self.chain_id, "verifyingContract": self.oaid_address},
            "message": {
                "partnerId": self.partner_id,
                "oaidTokenId": str(self.oaid_token_id),
                "userWallet": self.user_wallet,
                "maxAmount": str(self.max_amount),
                "expiresAt": str(self.expires_at),
                "nonce": str(self.nonce),
            },
        }

    def digest(self) -> bytes:
        """What is signed: 32 bytes."""
        message = self._signable()
        return keccak(b"\x19" + message.version + message.header + message.body)

    def signed_by_account(self, signature: bytes) -> bool:
        """Whether the user's own key signed it; a contract wallet has none and is asked on chain instead (ERC-1271)."""
        if len(signature) != SIGNATURE_BYTES:
            return False
        try:
            signer = Account.recover_message(self._signable(), signature=signature)
        except (BadSignature, ValidationError, ValueError):
            return False
        return str(signer) == self.user_wallet

    def _signable(self) -> SignableMessage:
        return encode_typed_data(full_message=self.typed_data())
