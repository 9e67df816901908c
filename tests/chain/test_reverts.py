"""A revert is the same whichever node reports it, and in whichever shape."""

import pytest
from eth_abi.abi import encode
from eth_utils.abi import function_signature_to_4byte_selector

from chain.errors import RevertKind, RpcError
from chain.reverts import CUSTOM_ERRORS, decode_revert, revert_of

REQUIRE = function_signature_to_4byte_selector("Error(string)") + encode(["string"], ["Plan already active"])
PANIC = function_signature_to_4byte_selector("Panic(uint256)") + encode(["uint256"], [0x11])
BROKE = function_signature_to_4byte_selector("ERC20InsufficientBalance(address,uint256,uint256)") + encode(
    ["address", "uint256", "uint256"], ["0x" + "11" * 20, 5, 7]
)


@pytest.mark.parametrize(
    ("data", "reason", "kind"),
    [
        (REQUIRE, "Plan already active", RevertKind.REQUIRE),
        (PANIC, "arithmetic overflow or underflow", RevertKind.PANIC),
        (PANIC[:-1] + b"\x99", "panic 0x99", RevertKind.PANIC),
        (BROKE, f"ERC20InsufficientBalance(0x{'11' * 20}, 5, 7)", RevertKind.CUSTOM),
        (BROKE[:10], "ERC20InsufficientBalance", RevertKind.CUSTOM),
        (b"\xde\xad\xbe\xef", "unknown error 0xdeadbeef", RevertKind.CUSTOM),
        (b"\x01", "unknown error 0x01", RevertKind.CUSTOM),
        (b"", "", RevertKind.EMPTY),
    ],
)
def test_revert_bytes_give_a_reason_and_its_kind(data: bytes, reason: str, kind: RevertKind) -> None:
    refusal = decode_revert(data)
    assert (refusal.reason, refusal.kind, refusal.data) == (reason, kind, data)


def test_a_mangled_require_string_is_no_crash() -> None:
    """Its bytes are shown instead."""
    refusal = decode_revert(REQUIRE[:20])
    assert refusal.kind is RevertKind.CUSTOM
    assert REQUIRE[:20].hex() in refusal.reason


@pytest.mark.parametrize(
    "error",
    [
        RpcError(3, "execution reverted: Plan already active", "0x" + REQUIRE.hex()),
        RpcError(-32000, "execution reverted", "0x" + REQUIRE.hex()),
        RpcError(-32015, "VM execution error.", "Reverted 0x" + REQUIRE.hex()),
        RpcError(-32603, "Internal error", {"data": "0x" + REQUIRE.hex()}),
        RpcError(-32603, "Internal JSON-RPC error.", {"originalError": {"code": 3, "data": "0x" + REQUIRE.hex()}}),
        RpcError(-32000, "VM Exception", {"0x12ab": {"error": "revert", "return": "0x" + REQUIRE.hex()}}),
        RpcError(3, "execution reverted: Plan already active"),
        RpcError(-32000, "execution reverted: Plan already active", "0x"),
        RpcError(
            -32603, "VM Exception while processing transaction: reverted with reason string 'Plan already active'"
        ),
    ],
)
def test_every_shape_of_a_node_gives_the_same_reason(error: RpcError) -> None:
    refusal = revert_of(error)
    assert refusal is not None
    assert (refusal.reason, refusal.kind) == ("Plan already active", RevertKind.REQUIRE)


@pytest.mark.parametrize("message", ["execution reverted", "execution reverted: "])
def test_a_revert_without_a_word_is_empty(message: str) -> None:
    """As of a function that does not exist."""
    refusal = revert_of(RpcError(3, message, "0x"))
    assert refusal is not None
    assert (refusal.reason, refusal.kind) == ("", RevertKind.EMPTY)


@pytest.mark.parametrize(
    "error",
    [
        RpcError(-32000, "header not found"),
        RpcError(-32000, "insufficient funds for gas * price + value"),
        RpcError(-32005, "limit exceeded", {"see": "https://example.org/0xabcdef12"}),
        RpcError(-32602, "invalid argument 0", "0xnothex"),
        RpcError(-32000, "missing trie node", "account 0x1111111111111111111111111111111111111111"),
    ],
)
def test_an_error_about_something_else_is_no_revert(error: RpcError) -> None:
    """A node that cannot answer has not refused: taking it for a refusal would fail a good loan."""
    assert revert_of(error) is None


def test_the_known_errors_are_those_of_the_standards() -> None:
    """The selectors of OpenZeppelin's errors, as they stand in the ERC-6093 standard."""
    assert function_signature_to_4byte_selector(CUSTOM_ERRORS[0]).hex() == "e450d38c"
    assert function_signature_to_4byte_selector(CUSTOM_ERRORS[1]).hex() == "fb8f41b2"
