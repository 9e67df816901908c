"""Signing transactions. Only the lane's process ever holds a key.

The lane sees the ``Signer`` protocol, so that a key file can give way to a KMS or web3signer without a change to it.
"""

import json
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import rlp  # type: ignore[import-untyped]  # it ships no types
from coincurve import PrivateKey
from eth_account import Account
from eth_keys.datatypes import PublicKey
from eth_typing import ChecksumAddress
from eth_utils.crypto import keccak

from chain.types import TxHash, Wei

_DYNAMIC_FEE = b"\x02"
_OPEN_TO_OTHERS = stat.S_IWGRP | stat.S_IXGRP | stat.S_IRWXO
_KEY_BYTES = 32


class KeyFileUnusable(Exception):
    """The process must not start: the message says what is wrong with the file, and never what is in it."""


@dataclass(frozen=True, slots=True)
class UnsignedTransaction:
    """An EIP-1559 transaction. Fees are wei per gas."""

    chain_id: int
    nonce: int
    to: ChecksumAddress
    data: bytes
    value: Wei
    gas: int
    max_fee_per_gas: Wei
    max_priority_fee_per_gas: Wei


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """The bytes to send, and the hash by which they will be known."""

    hash: TxHash
    raw: bytes


class Signer(Protocol):
    @property
    def address(self) -> ChecksumAddress: ...

    async def sign(self, transaction: UnsignedTransaction) -> SignedTransaction: ...


class KeyFileSigner:
    """A key in memory, from a file of ours. Signing is deterministic: the same fields give the same bytes."""

    def __init__(self, key: bytes) -> None:
        self._key = PrivateKey(key)
        point = self._key.public_key.format(compressed=False)[1:]
        self._address = PublicKey(point).to_checksum_address()

    def __repr__(self) -> str:
        return f"KeyFileSigner({self._address})"

    @property
    def address(self) -> ChecksumAddress:
        return self._address

    @classmethod
    def load(cls, path: Path, passphrase: str | None = None) -> Self:
        """From an Ethereum keystore (JSON, needs the passphrase) or a key in hex. Raises KeyFileUnusable."""
        try:
            open_to_others = path.stat().st_mode & _OPEN_TO_OTHERS
            text = path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise KeyFileUnusable(f"{path} cannot be read: {type(error).__name__}") from None
        if open_to_others:
            raise KeyFileUnusable(
                f"{path} is open to others; allow only its owner (chmod 600) and at most its group to read"
            )
        key = _from_keystore(path, text, passphrase) if text.startswith("{") else _from_hex(path, text)
        return cls(key)

    async def sign(self, transaction: UnsignedTransaction) -> SignedTransaction:
        fields = [
            transaction.chain_id,
            transaction.nonce,
            transaction.max_priority_fee_per_gas,
            transaction.max_fee_per_gas,
            transaction.gas,
            bytes.fromhex(transaction.to[2:]),
            transaction.value,
            transaction.data,
            [],
        ]
        digest = keccak(_DYNAMIC_FEE + rlp.encode(fields))
        signature = self._key.sign_recoverable(digest, hasher=None)
        r, s, parity = signature[:32], signature[32:64], signature[64]
        signed = [*fields, parity, int.from_bytes(r, "big"), int.from_bytes(s, "big")]
        raw = _DYNAMIC_FEE + rlp.encode(signed)
        return SignedTransaction(TxHash(f"0x{keccak(raw).hex()}"), raw)


def _from_hex(path: Path, text: str) -> bytes:
    try:
        key = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise KeyFileUnusable(f"{path} holds neither a keystore nor a key of {_KEY_BYTES} bytes in hex")
    return key


def _from_keystore(path: Path, text: str, passphrase: str | None) -> bytes:
    if passphrase is None:
        raise KeyFileUnusable(f"{path} is a keystore, which needs a passphrase")
    try:
        return bytes(Account.decrypt(json.loads(text), passphrase))
    except (ValueError, TypeError, KeyError):
        # The cause is left out, so that no traceback shows a passphrase or a key.
        raise KeyFileUnusable(f"{path} is not a keystore that this passphrase opens") from None
