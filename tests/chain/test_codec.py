"""The signatures that the engine declares are those of the design's ABI, and no others."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from eth_typing import ChecksumAddress

from chain.codec import Event, Function, checksum
from chain.contracts import oaid, senior_pool, solvency_vault, usdc, vault_events
from chain.contracts.usdc import TRANSFER_EVENT, decode_transfer, encode_transfer
from chain.errors import MalformedAnswer
from chain.types import BlockHash, BlockNumber, Log, TxHash

ABI = Path(__file__).resolve().parents[2] / "chain" / "abi"
ALICE: ChecksumAddress = checksum("0x" + "aa" * 20)
BOB: ChecksumAddress = checksum("0x" + "bb" * 20)

MODULES = [
    (usdc, "usdc"),
    (oaid, "oaid"),
    (solvency_vault, "solvency_vault"),
    (vault_events, "solvency_vault"),
    (senior_pool, "senior_pool"),
]


@pytest.mark.parametrize(("module", "abi_file"), MODULES, ids=lambda each: getattr(each, "__name__", each))
def test_each_declared_function_is_in_the_abi(module: ModuleType, abi_file: str) -> None:
    """Name, inputs and outputs. A function that the engine only sends may leave its outputs out."""
    known = {_signature(entry): _types(_flat(entry["outputs"])) for entry in _entries(abi_file, "function")}
    for function in _declared(module, Function):
        assert function.signature in known
        assert function.outputs in ("", known[function.signature])


@pytest.mark.parametrize(("module", "abi_file"), MODULES, ids=lambda each: getattr(each, "__name__", each))
def test_each_declared_event_is_in_the_abi(module: ModuleType, abi_file: str) -> None:
    """With the same parameters indexed, else a log would decode into other amounts."""
    known = {_declaration(entry) for entry in _entries(abi_file, "event")}
    assert {event.declaration for event in _declared(module, Event)} <= known


def test_every_event_of_the_vault_can_be_read() -> None:
    """Nothing that a vault says goes unheard."""
    known = {_declaration(entry) for entry in _entries("solvency_vault", "event")}
    assert {event.declaration for event in _declared(vault_events, Event)} == known


def test_calldata_is_selector_and_words() -> None:
    """As any other encoder would have it."""
    assert encode_transfer(BOB, 5).hex() == "a9059cbb" + "00" * 12 + "bb" * 20 + f"{5:064x}"


def test_a_log_of_another_event_is_none() -> None:
    """So is one with other parameters indexed, and one whose data is cut short."""
    good = _transfer_log()
    assert decode_transfer(good) == usdc.Transfer(ALICE, BOB, 7)
    assert decode_transfer(_transfer_log(topics=("0x" + "00" * 32, *good.topics[1:]))) is None
    assert decode_transfer(_transfer_log(topics=good.topics[:2])) is None
    assert decode_transfer(_transfer_log(data="0x07")) is None
    assert decode_transfer(_transfer_log(topics=())) is None


def test_an_empty_answer_is_malformed() -> None:
    """An address without code answers nothing, which is no number."""
    with pytest.raises(MalformedAnswer, match="balanceOf answered 0x"):
        usdc.Usdc(ALICE).balance_of(BOB).decode(b"")


def _transfer_log(topics: tuple[str, ...] | None = None, data: str | None = None) -> Log:
    word = "0x" + "00" * 12
    whole = (TRANSFER_EVENT.topic0, word + "aa" * 20, word + "bb" * 20)
    return Log(
        address=ALICE,
        topics=whole if topics is None else topics,
        data=f"0x{7:064x}" if data is None else data,
        block_number=BlockNumber(1),
        block_hash=BlockHash("0x" + "01" * 32),
        tx_hash=TxHash("0x" + "02" * 32),
        log_index=0,
    )


def _declared(module: ModuleType, kind: type[Any]) -> list[Any]:
    found = [value for value in vars(module).values() if isinstance(value, kind)]
    assert found or kind is Event or module is vault_events
    return found


def _entries(abi_file: str, kind: str) -> list[dict[str, Any]]:
    abi: list[dict[str, Any]] = json.loads((ABI / f"{abi_file}.json").read_text())
    return [entry for entry in abi if entry["type"] == kind]


def _signature(entry: dict[str, Any]) -> str:
    return f"{entry['name']}({_types(entry['inputs'])})"


def _declaration(entry: dict[str, Any]) -> str:
    inputs = ",".join(each["type"] + "*" * each["indexed"] for each in entry["inputs"])
    return f"{entry['name']}({inputs})"


def _types(parameters: list[dict[str, Any]]) -> str:
    return ",".join(each["type"] for each in parameters)


def _flat(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A struct of static members is encoded like the members themselves."""
    (*_, last) = outputs or [{"type": ""}]
    components: list[dict[str, Any]] = last["components"] if last["type"] == "tuple" else outputs
    return components
