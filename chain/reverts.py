"""Turn what a node says about a refused call into a reason that a program can match.

Nodes agree on the bytes of a revert and on little else: where the bytes stand in the answer differs, and some send only
a sentence. This is the one place that knows the shapes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_utils.abi import function_signature_to_4byte_selector

from chain.errors import Reverted, RevertKind, RpcError

_ERROR_STRING = bytes.fromhex("08c379a0")
_PANIC = bytes.fromhex("4e487b71")
_EXECUTION_REVERTED = 3
_HEX = re.compile(r"(?:reverted )?(0x[0-9a-f]*)", re.IGNORECASE)
_SAYS_REVERTED = re.compile(r"revert|vm execution error|invalid opcode|bad instruction|out of gas", re.IGNORECASE)
_REASON_IN_MESSAGE = re.compile(r"reverted(?: with reason string)?:?\s+(?:custom error\b.*|'?(?P<reason>[^']+)'?)")

_PANICS = {
    0x00: "generic panic",
    0x01: "assertion failed",
    0x11: "arithmetic overflow or underflow",
    0x12: "division by zero",
    0x21: "invalid enum value",
    0x22: "invalid storage byte array",
    0x31: "pop from an empty array",
    0x32: "array index out of bounds",
    0x41: "too much memory",
    0x51: "call of an uninitialized function",
}

CUSTOM_ERRORS = (
    "ERC20InsufficientBalance(address,uint256,uint256)",
    "ERC20InsufficientAllowance(address,uint256,uint256)",
    "ERC20InvalidSender(address)",
    "ERC20InvalidReceiver(address)",
    "ERC20InvalidApprover(address)",
    "ERC20InvalidSpender(address)",
    "SafeERC20FailedOperation(address)",
    "OwnableUnauthorizedAccount(address)",
    "OwnableInvalidOwner(address)",
    "ReentrancyGuardReentrantCall()",
    "EnforcedPause()",
    "ExpectedPause()",
)
"""OpenZeppelin's errors, which tokens and vaults of others raise as well as ours."""


@dataclass(frozen=True, slots=True)
class _CustomError:
    name: str
    types: tuple[str, ...]


def decode_revert(data: bytes) -> Reverted:
    """The refusal that these revert bytes encode."""
    selector, arguments = data[:4], data[4:]
    if not data:
        return Reverted("", RevertKind.EMPTY)
    if selector == _ERROR_STRING:
        return _require(arguments, data)
    if selector == _PANIC and len(arguments) == 32:  # noqa: PLR2004  (one word of the EVM)
        code = int.from_bytes(arguments, "big")
        return Reverted(_PANICS.get(code, f"panic {code:#x}"), RevertKind.PANIC, data)
    return _custom(selector, arguments, data)


def revert_of(error: RpcError) -> Reverted | None:
    """The refusal inside a node's error, or None where the error is about something else."""
    data = _find_data(error.data)
    if data:
        return decode_revert(data)
    if error.code != _EXECUTION_REVERTED and not _SAYS_REVERTED.search(error.message):
        return None
    named = _REASON_IN_MESSAGE.search(error.message)
    reason = named.group("reason") if named else None
    return Reverted(reason, RevertKind.REQUIRE) if reason else _without_reason(error.message)


def _without_reason(message: str) -> Reverted:
    says_more = message.strip(" :").lower() not in ("execution reverted", "reverted")
    return Reverted(message if says_more else "", RevertKind.EMPTY)


def _require(arguments: bytes, data: bytes) -> Reverted:
    try:
        (reason,) = decode(["string"], arguments)
    except (DecodingError, UnicodeDecodeError, OverflowError):
        return Reverted(f"unreadable reason 0x{data.hex()}", RevertKind.CUSTOM, data)
    return Reverted(reason, RevertKind.REQUIRE, data)


def _custom(selector: bytes, arguments: bytes, data: bytes) -> Reverted:
    known = _known_errors().get(selector)
    if known is None:
        return Reverted(f"unknown error 0x{data.hex()}", RevertKind.CUSTOM, data)
    try:
        values = decode(known.types, arguments)
    except (DecodingError, OverflowError):
        return Reverted(known.name, RevertKind.CUSTOM, data)
    return Reverted(f"{known.name}({', '.join(map(str, values))})", RevertKind.CUSTOM, data)


@cache
def _known_errors() -> Mapping[bytes, _CustomError]:
    return {function_signature_to_4byte_selector(signature): _parse(signature) for signature in CUSTOM_ERRORS}


def _parse(signature: str) -> _CustomError:
    name, _, inputs = signature.removesuffix(")").partition("(")
    return _CustomError(name, tuple(inputs.split(",")) if inputs else ())


def _find_data(data: object) -> bytes | None:
    """The revert bytes, wherever the node put them: as hex, after a word, or nested by hash or name."""
    if isinstance(data, str):
        match = _HEX.fullmatch(data)
        return _from_hex(match.group(1)) if match else None
    if isinstance(data, Mapping):
        return next((found for value in data.values() if (found := _find_data(value))), None)
    return None


def _from_hex(text: str) -> bytes | None:
    digits = text.removeprefix("0x")
    return bytes.fromhex(digits) if len(digits) >= 8 and len(digits) % 2 == 0 else None  # noqa: PLR2004  (one selector)
