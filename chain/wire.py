"""From the JSON of a node to our own types, and back. Anything unexpected raises MalformedAnswer."""

import re
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from chain.codec import checksum
from chain.errors import MalformedAnswer
from chain.types import (
    Block,
    BlockHash,
    BlockNumber,
    BlockRef,
    CallRequest,
    FullBlock,
    InBlock,
    Log,
    Receipt,
    TxHash,
    Wei,
)

P = ParamSpec("P")
T = TypeVar("T")

_HASH = re.compile(r"0x[0-9a-f]{64}")


def _strict(parse: Callable[P, T]) -> Callable[P, T]:
    @wraps(parse)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return parse(*args, **kwargs)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise MalformedAnswer(f"{parse.__name__}: {type(error).__name__} {error}") from error

    return checked


@_strict
def to_int(quantity: Any) -> int:
    return int(quantity, 16)


@_strict
def to_bytes(data: Any) -> bytes:
    return bytes.fromhex(data.removeprefix("0x"))


@_strict
def to_hash(value: Any) -> str:
    lowered: str = value.lower()
    if not _HASH.fullmatch(lowered):
        raise ValueError(f"{value!r} is not a hash")
    return lowered


@_strict
def to_block(raw: Any) -> Block | None:
    """None where the node has no such block (yet)."""
    if raw is None:
        return None
    return Block(
        number=BlockNumber(int(raw["number"], 16)),
        hash=BlockHash(to_hash(raw["hash"])),
        parent_hash=BlockHash(to_hash(raw["parentHash"])),
        timestamp=int(raw["timestamp"], 16),
        base_fee=Wei(int(raw.get("baseFeePerGas") or "0x0", 16)),
    )


@_strict
def to_full_block(raw: Any) -> FullBlock | None:
    """None where the node has no such block (yet)."""
    header = to_block(raw)
    if header is None:
        return None
    return FullBlock(header, tuple(map(_in_block, raw["transactions"])))


@_strict
def to_mined(raw: Any) -> InBlock | None:
    """A transaction by its hash; None where the node knows of no block with it, which proves nothing."""
    return None if raw is None or raw["blockHash"] is None else _in_block(raw)


def _in_block(raw: Mapping[str, Any]) -> InBlock:
    return InBlock(TxHash(to_hash(raw["hash"])), checksum(raw["from"]), int(raw["nonce"], 16))


@_strict
def to_log(raw: Mapping[str, Any]) -> Log:
    return Log(
        address=checksum(raw["address"]),
        topics=tuple(topic.lower() for topic in raw["topics"]),
        data=raw["data"],
        block_number=BlockNumber(int(raw["blockNumber"], 16)),
        block_hash=BlockHash(to_hash(raw["blockHash"])),
        tx_hash=TxHash(to_hash(raw["transactionHash"])),
        log_index=int(raw["logIndex"], 16),
    )


@_strict
def to_receipt(raw: Any) -> Receipt | None:
    """None where the node knows of no block with this transaction. That proves nothing about the transaction."""
    if raw is None or raw["blockHash"] is None:
        return None
    return Receipt(
        tx_hash=TxHash(to_hash(raw["transactionHash"])),
        status=int(raw["status"], 16),
        block_number=BlockNumber(int(raw["blockNumber"], 16)),
        block_hash=BlockHash(to_hash(raw["blockHash"])),
        gas_used=int(raw["gasUsed"], 16),
        effective_gas_price=Wei(int(raw["effectiveGasPrice"], 16)),
        sender=checksum(raw["from"]),
        target=None if raw["to"] is None else checksum(raw["to"]),
        logs=tuple(to_log(log) for log in raw["logs"]),
    )


def block_param(block: BlockRef) -> str | dict[str, str]:
    """A block as JSON-RPC names it: a quantity, a tag, or a hash by EIP-1898."""
    if isinstance(block, int):
        return hex(block)
    return {"blockHash": block} if _HASH.fullmatch(block) else block


def transaction_param(request: CallRequest) -> dict[str, str]:
    return {
        "from": request.sender,
        "to": request.to,
        "data": f"0x{request.data.hex()}",
        "value": hex(request.value),
    }
