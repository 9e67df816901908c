"""The key file, and what it signs."""

import json
from pathlib import Path

import pytest
from eth_account import Account

from chain.codec import checksum
from chain.signer import KeyFileSigner, KeyFileUnusable, UnsignedTransaction
from chain.types import Wei

KEY = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"
UNSIGNED = UnsignedTransaction(
    chain_id=5003,
    nonce=9,
    to=checksum("0x" + "d4" * 20),
    data=b"\x01\x02",
    value=Wei(0),
    gas=100_000,
    max_fee_per_gas=Wei(2 * 10**9),
    max_priority_fee_per_gas=Wei(10**9),
)


def key_file(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / "key"
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("nonce", [0, 9, 127, 128, 2**40])
async def test_it_signs_what_the_reference_signs(nonce: int) -> None:
    """The bytes are those of eth-account, so that any node takes them."""
    signed = await KeyFileSigner(bytes.fromhex(KEY)).sign(_with_nonce(nonce))
    expected = Account.from_key(KEY).sign_transaction(
        {
            "type": 2,
            "chainId": 5003,
            "nonce": nonce,
            "to": UNSIGNED.to,
            "data": UNSIGNED.data,
            "value": 0,
            "gas": UNSIGNED.gas,
            "maxFeePerGas": UNSIGNED.max_fee_per_gas,
            "maxPriorityFeePerGas": UNSIGNED.max_priority_fee_per_gas,
        }
    )
    assert signed.raw == bytes(expected.raw_transaction)
    assert signed.hash == f"0x{bytes(expected.hash).hex()}"


@pytest.mark.parametrize("text", [KEY, f"0x{KEY}", f"{KEY}\n"])
def test_a_key_in_hex_is_read(tmp_path: Path, text: str) -> None:
    """With or without 0x, with or without a new line at its end."""
    assert KeyFileSigner.load(key_file(tmp_path, text)).address == Account.from_key(KEY).address


def test_a_keystore_is_opened_with_its_passphrase(tmp_path: Path) -> None:
    """An Ethereum keystore needs its passphrase, and says so."""
    path = key_file(tmp_path, json.dumps(Account.encrypt(bytes.fromhex(KEY), "open sesame", iterations=2)))
    assert KeyFileSigner.load(path, "open sesame").address == Account.from_key(KEY).address
    for wrong in (None, "open barley"):
        with pytest.raises(KeyFileUnusable):
            KeyFileSigner.load(path, wrong)


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o606, 0o660, 0o601])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    """Only the owner may write it, and at most its group may read it."""
    with pytest.raises(KeyFileUnusable, match="open to others"):
        KeyFileSigner.load(key_file(tmp_path, KEY, mode))


@pytest.mark.parametrize("text", ["", "not a key", KEY[:-2], "{}", "{"])
def test_a_useless_file_is_refused_without_being_quoted(tmp_path: Path, text: str) -> None:
    """The message names the file and never what is in it."""
    with pytest.raises(KeyFileUnusable) as refused:
        KeyFileSigner.load(key_file(tmp_path, text), "passphrase")
    assert not text or text not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """The process says which file it could not read."""
    with pytest.raises(KeyFileUnusable, match="cannot be read"):
        KeyFileSigner.load(tmp_path / "nowhere")


def test_it_does_not_show_its_key() -> None:
    """Neither printing nor inspecting a signer reveals the key."""
    signer = KeyFileSigner(bytes.fromhex(KEY))
    assert KEY not in repr(signer)
    assert KEY not in repr(vars(signer))


def _with_nonce(nonce: int) -> UnsignedTransaction:
    return UnsignedTransaction(
        UNSIGNED.chain_id,
        nonce,
        UNSIGNED.to,
        UNSIGNED.data,
        UNSIGNED.value,
        UNSIGNED.gas,
        UNSIGNED.max_fee_per_gas,
        UNSIGNED.max_priority_fee_per_gas,
    )
