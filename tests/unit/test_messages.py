"""Payloads of workflows and activities: what one side sends is what the other gets."""

from typing import Any, get_type_hints

import pytest
from eth_typing import ChecksumAddress
from eth_utils.address import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError
from temporalio.contrib.pydantic import pydantic_data_converter

from models.errors import RefusalPayload
from models.messages import borrow, common, legs, repay
from models.messages.common import Address, Message
from models.messages.legs import LegCall, LegOutcome, SubmitTransaction
from models.messages.repay import RepayRequest
from models.money import BASIS_POINTS, MAX_AMOUNT, Quote, quote
from models.statuses import LIVE_STATES, WITHOUT_EFFECT_STATES, RepaymentMode, TransactionState

addresses = st.binary(min_size=20, max_size=20).map(to_checksum_address)
st.register_type_strategy(ChecksumAddress, addresses)
st.register_type_strategy(Quote, st.builds(quote, st.integers(1, MAX_AMOUNT), st.integers(0, BASIS_POINTS)))


def messages_of(module: Any) -> list[type[BaseModel]]:
    found = vars(module).values()
    return [
        each
        for each in found
        if isinstance(each, type) and issubclass(each, Message) and each.__module__ == module.__name__
    ]


MESSAGES = [kind for module in (common, borrow, legs, repay) for kind in messages_of(module)] + [RefusalPayload]


def filled(kind: type[BaseModel]) -> st.SearchStrategy[BaseModel]:
    """Messages with every field set, those with a default as well."""
    hints = get_type_hints(kind, include_extras=False)
    return st.builds(kind, **{name: st.from_type(hints[name]) for name in kind.model_fields})


@pytest.fixture(params=MESSAGES, ids=lambda kind: kind.__name__)
def message(request: pytest.FixtureRequest) -> type[BaseModel]:
    kind: type[BaseModel] = request.param
    return kind


@given(st.data())
def test_a_message_survives_the_way(data: st.DataObject) -> None:
    """Through Temporal's converter and back, a message is the same and of the same type."""
    sent = data.draw(st.sampled_from(MESSAGES).flatmap(filled))
    converter = pydantic_data_converter.payload_converter
    (got,) = converter.from_payloads(converter.to_payloads([sent]), [type(sent)])
    assert got == sent
    assert type(got) is type(sent)


def test_a_message_is_frozen(message: type[BaseModel]) -> None:
    """What was sent is not changed by who got it."""
    assert message.model_config.get("frozen") is True


def test_a_message_ignores_what_it_does_not_know(message: type[BaseModel]) -> None:
    """A field that a newer worker added does not stop an older one."""
    assert message.model_config.get("extra", "ignore") == "ignore"


def test_a_frozen_message_refuses_a_change() -> None:
    """A field cannot be set."""
    start = common.OperationInput(operation_id="borrow:acme:1")
    with pytest.raises(ValidationError, match="frozen"):
        start.operation_id = "borrow:acme:2"  # type: ignore[misc]  # that it cannot be written is the point


@given(addresses)
def test_an_address_has_one_spelling(address: str) -> None:
    """However it is written, an address is compared and stored in its checksummed spelling."""
    adapter = TypeAdapter(Address)
    spellings = (address, address.lower(), f"0x{address[2:].upper()}")
    assert {adapter.validate_python(each) for each in spellings} == {address}


@pytest.mark.parametrize("value", ["", "0x", "0x12", f"0x{'g' * 40}", f"0x{'1' * 41}"])
def test_what_is_no_address(value: str) -> None:
    """Anything but twenty bytes in hex is refused."""
    with pytest.raises(ValidationError):
        TypeAdapter(Address).validate_python(value)


def test_a_call_is_known_by_its_name() -> None:
    """The stored JSON of a call says which one it is, so that two calls with the same fields stay apart."""
    adapter: TypeAdapter[LegCall] = TypeAdapter(LegCall)
    with pytest.raises(ValidationError):
        adapter.validate_python({"amount": 1, "position_id": 1})
    assert isinstance(adapter.validate_python({"call": "repay", "position_id": 1, "amount": 1}), legs.RepayCall)


def test_a_first_generation_is_meant_where_none_is_named() -> None:
    """A submit without a generation is of the first."""
    submit = SubmitTransaction(operation_id="o", leg="approve", call=legs.ApproveCall(amount=1))
    assert submit.generation == 1


@pytest.mark.parametrize("state", TransactionState)
def test_what_an_outcome_says(state: TransactionState) -> None:
    """A leg succeeded, is without effect, or is neither and must be waited for."""
    outcome = LegOutcome(state=state, generation=1, amount=1)
    assert outcome.succeeded == (state is TransactionState.FINAL_OK)
    assert outcome.without_effect == (state in WITHOUT_EFFECT_STATES)
    assert (outcome.succeeded or outcome.without_effect) == (state not in LIVE_STATES)


def test_how_a_repayment_is_funded() -> None:
    """A transfer that is named is a proof; without one the repayment is pulled."""
    assert RepayRequest(partner_loan_id="L1", payoff=True).mode is RepaymentMode.PULL
    assert RepayRequest(partner_loan_id="L1", amount=1, transfer_tx_hash="0x1").mode is RepaymentMode.PROOF
