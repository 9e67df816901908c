"""What requests may hold. Fields that are not named here are refused, so that a misspelt one is never silently dropped."""

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from api.fields import AddressIn, AmountIn, CreditLineIdIn, MomentIn, NonceIn, NoSecret, SignatureIn, TxHashIn
from models.ids import PublicId
from models.messages.borrow import BorrowRequest
from models.messages.repay import RepayRequest

DAY = 86_400
MAX_DURATION = 3_650 * DAY
MAX_INSTALLMENTS = 1_200
_NO_CONTROLS = r"^[^\x00]*$"
_SANDBOX_SIGNATURE = (
    "0xd232e54f5921177da4b42788c02c88d43235cc7d2f670f0c2a6f7d5194408f47"
    "74b6a613044bdd470edd9834132586ae3fbb22edaa2b6c6f27e235ef970fcaf31c"
)
"""Over the example's fields by the first user of the sandbox, so that the example works there as it is."""

MetadataKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,40}$"), NoSecret]
MetadataValue = Annotated[str, StringConstraints(max_length=500, pattern=_NO_CONTROLS), NoSecret]


def example(**fields: Any) -> ConfigDict:
    return ConfigDict(extra="forbid", strict=True, frozen=True, json_schema_extra={"examples": [fields]})


def _named_by_pattern(schema: dict[str, Any]) -> None:
    """The same as ``patternProperties`` with nothing beside them, in words that client generators read."""
    ((pattern, value),) = schema.pop("patternProperties").items()
    schema |= {"propertyNames": {"pattern": pattern}, "additionalProperties": value}


class BorrowBody(BaseModel):
    """A borrow of ``amount`` base units on a user's credit line, paid to the partner's settlement address less the fee."""

    model_config = example(
        oaid_token_id="1",  # noqa: S106 - the id of a credit line, not a secret
        user_wallet="0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
        amount="5000000000",
        partner_loan_id="loan-2026-000042",
        loan_duration=2_592_000,
        number_of_installments=1,
        metadata={"channel": "mobile"},
    )

    oaid_token_id: CreditLineIdIn
    user_wallet: AddressIn
    amount: AmountIn
    partner_loan_id: Annotated[PublicId, NoSecret]
    loan_duration: int = Field(default=30 * DAY, ge=1, le=MAX_DURATION, description="seconds")
    number_of_installments: int = Field(default=1, ge=1, le=MAX_INSTALLMENTS)
    metadata: dict[MetadataKey, MetadataValue] = Field(
        default_factory=dict,
        max_length=20,
        description="the partner's own notes, given back with the loan",
        json_schema_extra=_named_by_pattern,
    )

    @model_validator(mode="after")
    def _installments_fit(self) -> Self:
        if self.number_of_installments > self.loan_duration:
            raise PydanticCustomError("installments", "An installment must last at least one second.")
        return self

    def request(self) -> dict[str, Any]:
        """What is stored with the operation."""
        request = BorrowRequest.model_validate(self.model_dump(exclude={"metadata"}))
        return {**request.model_dump(mode="json"), "metadata": self.metadata}


def _two_ways(schema: dict[str, Any]) -> None:
    """Either a part or all of it: two schemas with names of their own, which generated clients make two classes of."""
    amount, payoff, *transfer = schema.pop("properties").items()
    shared = dict(transfer)
    part = {**shared, "amount": amount[1]["anyOf"][0], "payoff": {"type": "boolean", "enum": [False]}}
    whole = {**shared, "payoff": {"type": "boolean", "enum": [True]}, "amount": {"type": "null"}}
    form = {name: schema.pop(name) for name in ("type", "additionalProperties")}
    schema["oneOf"] = [
        {"title": "RepayPart", **form, "properties": part, "required": [amount[0]]},
        {"title": "RepayAll", **form, "properties": whole, "required": [payoff[0]]},
    ]
    schema["examples"] = [{"payoff": True}, {"amount": "1000000000"}]


class RepayBody(BaseModel):
    """A repayment of ``amount`` base units, or of all that is owed (``payoff``); pulled, or proven by a transfer made."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, json_schema_extra=_two_ways)

    amount: AmountIn | None = None
    payoff: bool = False
    transfer_tx_hash: TxHashIn | None = None
    transfer_log_index: int | None = Field(
        default=None, ge=0, lt=2**31, description="which of several transfers in the transaction"
    )

    @model_validator(mode="after")
    def _one_way_to_say_how_much(self) -> Self:
        if (self.amount is not None) == self.payoff:
            raise PydanticCustomError("amount_or_payoff", 'Give exactly one of "amount" and "payoff": true.')
        if self.transfer_log_index is not None and self.transfer_tx_hash is None:
            raise PydanticCustomError("log_index", "transfer_log_index goes with transfer_tx_hash.")
        return self

    def request(self, partner_loan_id: str) -> dict[str, Any]:
        """What is stored with the operation."""
        request = RepayRequest.model_validate({"partner_loan_id": partner_loan_id, **self.model_dump()})
        return request.model_dump(mode="json")


class GrantFields(BaseModel):
    """What a user consents to: this partner may borrow up to ``max_amount`` base units a loan on this line, until then."""

    model_config = example(
        oaid_token_id="1",  # noqa: S106 - the id of a credit line, not a secret
        user_wallet="0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
        max_amount="10000000000",
        expires_at="2030-01-01T00:00:00Z",
    )

    oaid_token_id: CreditLineIdIn
    user_wallet: AddressIn
    max_amount: AmountIn
    expires_at: MomentIn


class TypedDataBody(GrantFields):
    """The nonce may be left out: then a random one is chosen, and is part of the answer."""

    nonce: NonceIn | None = None


class GrantBody(GrantFields):
    model_config = example(
        oaid_token_id="1",  # noqa: S106 - the id of a credit line, not a secret
        user_wallet="0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
        max_amount="10000000000",
        expires_at="2030-01-01T00:00:00Z",
        nonce="7301",
        signature=_SANDBOX_SIGNATURE,
    )

    nonce: NonceIn
    signature: SignatureIn

    @property
    def expires_at_seconds(self) -> int:
        return seconds(self.expires_at)


def seconds(moment: datetime) -> int:
    """Seconds since 1970, as the chain counts; requests hold whole seconds only."""
    return int(moment.timestamp())
