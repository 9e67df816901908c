"""What a user signs, and the grants that partners hold."""

from datetime import datetime

from pydantic import Field

from api.answers.common import Amount, Answer, NextCursor
from models.statuses import GrantEvidence


class TypedField(Answer):
    name: str
    type: str


class TypedDomain(Answer):
    chain_id: int = Field(alias="chainId")
    verifying_contract: str = Field(alias="verifyingContract")


class TypedMessage(Answer):
    """Numbers are strings, since many wallets read JSON numbers as doubles."""

    partner_id: str = Field(alias="partnerId")
    oaid_token_id: str = Field(alias="oaidTokenId")
    user_wallet: str = Field(alias="userWallet")
    max_amount: str = Field(alias="maxAmount")
    expires_at: str = Field(alias="expiresAt", description="seconds since 1970")
    nonce: str = Field(description="goes into POST /v1/grants")


class TypedDataAnswer(Answer):
    """Goes to ``eth_signTypedData_v4`` as it is (EIP-712)."""

    types: dict[str, list[TypedField]]
    primary_type: str = Field(alias="primaryType")
    domain: TypedDomain
    message: TypedMessage


class GrantAnswer(Answer):
    grant_id: str
    oaid_token_id: str
    position_id: str
    user_wallet: str
    max_amount: Amount
    expires_at: datetime
    evidence: GrantEvidence
    nonce: str | None
    created_at: datetime
    revoked_at: datetime | None


class GrantsAnswer(Answer):
    grants: list[GrantAnswer]
    next_cursor: NextCursor
