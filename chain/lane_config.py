"""What a lane is told, and what it needs of a chain: plain values, so that nothing here knows where settings come from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Protocol

from eth_typing import ChecksumAddress

from chain.codec import Call
from chain.finality import Finality
from chain.types import (
    Block,
    BlockHash,
    BlockNumber,
    BlockRef,
    CallRequest,
    FullBlock,
    Log,
    Market,
    Receipt,
    SendAnswer,
    TxHash,
    Wei,
)

SLOT_EMPTIED_GAS = 17_100
"""What a balance or an allowance costs more to raise where others have spent it to zero since the simulation: 20,000 gas and
not 2,900 (EIP-2200, EIP-2929). A margin of a share does not cover it, since a transfer costs little else."""
SLOTS_EMPTIED = 2
"""At once: the share covers what the larger calls raise beside."""
DEFAULT_FEE_CAP = Wei(500 * 10**9)
"""500 gwei per gas: above all but the worst hours of Ethereum, and a leg of 300,000 gas costs at most 0.15 ETH."""
DEFAULT_GAS_RESERVE = Wei(10**16)
"""0.01 of the gas token: some dozens of cancellations at the price of a quiet hour."""


@dataclass(frozen=True, kw_only=True)
class LaneConfig:
    """One signer on one chain. Amounts are USDC base units."""

    chain_id: int
    wallet: ChecksumAddress
    usdc: ChecksumAddress
    vault: ChecksumAddress
    allowance_target: int
    treasury: frozenset[ChecksumAddress] = frozenset()
    demands_clearance: bool = True
    """Only a partner that is verified and has signed its contract may borrow; a sandbox lets every one."""

    finality: Finality = field(default_factory=Finality)
    gas_margin: Decimal = Decimal("1.3")
    """What the simulated gas is multiplied by."""
    max_fee_cap: Wei = DEFAULT_FEE_CAP
    """The most that an attempt offers, in wei per gas; above it a person must decide."""
    gas_reserve: Wei = DEFAULT_GAS_RESERVE
    """What the wallet keeps for bumps and cancellations, in wei; no nonce is taken that would need it."""
    bump_after: timedelta = timedelta(seconds=60)
    """How long the newest attempt may be without a receipt until it is replaced by one that pays more."""

    batch: int = 64
    """Legs that are signed, stored and sent together."""
    block_poll: timedelta = timedelta(seconds=1)
    idle_poll: timedelta = timedelta(seconds=5)
    """Between two looks at the chain while nothing is in flight."""
    queue_poll: timedelta = timedelta(seconds=2)
    """Between two looks at the queue when no notification came; a leg that is not covered is tried again as often."""
    resend_after: timedelta = timedelta(seconds=30)
    """How long a leg may be without a receipt, since it was last sent, until the bytes of its best attempt are sent again."""
    beat: timedelta = timedelta(seconds=1)
    silence_limit: timedelta = timedelta(seconds=10)
    """How long a lane may miss its beat until a candidate ends its database session."""

    inbound_poll: timedelta = timedelta(seconds=2)
    inbound_from_block: BlockNumber | None = None
    """Where the scan for inbound transfers starts the first time; the head where it is None."""
    inbound_chunk: int = 1_000
    inbound_overlap: int = 32
    """Blocks that are scanned again: a node behind a load balancer may answer for blocks that it does not have yet."""
    refund_after: timedelta = timedelta(days=14)
    """How long a transfer of a known sender waits for its claim until it is given back."""
    refund_minimum: int = 1_000_000
    refund_poll: timedelta = timedelta(minutes=1)

    @property
    def lock_name(self) -> str:
        """The name of the advisory lock, and the payload of the notifications for this lane."""
        return f"{self.chain_id}:{self.wallet}"

    def with_gas_margin(self, gas: int) -> int:
        """A gas limit from simulated gas, rounded up."""
        numerator, denominator = self.gas_margin.as_integer_ratio()
        return -(-gas * numerator // denominator) + SLOTS_EMPTIED * SLOT_EMPTIED_GAS


class LaneNode(Protocol):
    """The part of ``ChainClient`` that a lane uses."""

    async def head(self) -> Block: ...
    async def blocks(self, numbers: Sequence[BlockNumber]) -> list[Block | None]: ...
    async def block_by_tag(self, tag: str) -> Block | None: ...
    async def receipts(self, hashes: Sequence[TxHash]) -> list[Receipt | None]: ...
    async def logs(
        self,
        address: ChecksumAddress | Sequence[ChecksumAddress],
        topics: Sequence[str | Sequence[str] | None],
        from_block: BlockRef,
        to_block: BlockRef,
    ) -> list[Log]: ...
    async def nonce(self, address: ChecksumAddress, block: BlockRef) -> int: ...
    async def market(self, address: ChecksumAddress) -> Market: ...
    async def full_blocks(self, numbers: Sequence[BlockNumber]) -> list[FullBlock | None]: ...
    async def block_and_receipts(
        self, block: BlockHash, hashes: Sequence[TxHash]
    ) -> tuple[Block | None, list[Receipt | None]]: ...
    async def read(self, c1: Call[int], /, *, block: BlockRef) -> tuple[int]: ...
    async def simulate(self, request: CallRequest, block: BlockRef = "latest") -> int: ...
    async def send_raw(self, raws: Sequence[bytes]) -> list[SendAnswer]: ...
