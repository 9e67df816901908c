"""The words in which the engine speaks of a chain.

Raw JSON of a node ends in `chain/wire.py`; everything beyond it handles these. Hashes are lower-case hex with `0x`, so
that equal hashes are equal strings, in the database as well. Addresses are checksummed.
"""

from dataclasses import dataclass
from typing import NewType

from eth_typing import ChecksumAddress

TxHash = NewType("TxHash", str)
BlockHash = NewType("BlockHash", str)
BlockNumber = NewType("BlockNumber", int)
Wei = NewType("Wei", int)

BlockRef = int | str
"""A block by number, by hash, or by tag (`latest`, `safe`, `finalized`)."""


@dataclass(frozen=True, slots=True)
class Block:
    """`timestamp` is in seconds since 1970, `base_fee` in wei per gas; a chain before EIP-1559 has a base fee of zero."""

    number: BlockNumber
    hash: BlockHash
    parent_hash: BlockHash
    timestamp: int
    base_fee: Wei


@dataclass(frozen=True, slots=True)
class InBlock:
    """A transaction as it stands in a block: whose it is, and which of the sender's nonces it used."""

    tx_hash: TxHash
    sender: ChecksumAddress
    nonce: int


@dataclass(frozen=True, slots=True)
class FullBlock:
    """A block with its transactions."""

    header: Block
    transactions: tuple[InBlock, ...]


@dataclass(frozen=True, slots=True)
class Market:
    """What gas costs now, in wei per gas, and an account: its balance in wei, and how many of its nonces are used."""

    base_fee: Wei
    tip: Wei
    balance: Wei
    nonce: int


@dataclass(frozen=True, slots=True)
class Log:
    """One event as it stands in a block. `topics` and `data` are hex with `0x`."""

    address: ChecksumAddress
    topics: tuple[str, ...]
    data: str
    block_number: BlockNumber
    block_hash: BlockHash
    tx_hash: TxHash
    log_index: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a mined transaction did. `status` is 1, or 0 where it reverted: mined is not yet done.

    `target` is None where the transaction created a contract.
    """

    tx_hash: TxHash
    status: int
    block_number: BlockNumber
    block_hash: BlockHash
    gas_used: int
    effective_gas_price: Wei
    sender: ChecksumAddress
    target: ChecksumAddress | None
    logs: tuple[Log, ...]

    @property
    def succeeded(self) -> bool:
        return self.status == 1


@dataclass(frozen=True, slots=True)
class CallRequest:
    """A transaction to try without sending it. `value` is in wei."""

    sender: ChecksumAddress
    to: ChecksumAddress
    data: bytes
    value: Wei = Wei(0)


@dataclass(frozen=True, slots=True)
class SendOk:
    """The node took the transaction and gave this hash."""

    tx_hash: TxHash


@dataclass(frozen=True, slots=True)
class SendError:
    """The node answered with an error of its own. What it means is for the classifier to say."""

    code: int
    message: str


@dataclass(frozen=True, slots=True)
class SendUnavailable:
    """No usable answer came: the transaction may have been sent, or not."""

    reason: str


SendAnswer = SendOk | SendError | SendUnavailable
