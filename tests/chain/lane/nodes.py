"""Nodes that fail in the ways in which nodes fail: the real client, with one call that goes wrong."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import rlp  # type: ignore[import-untyped]  # it ships no types

from chain.client import ChainClient
from chain.codec import checksum
from chain.contracts.usdc import encode_approve
from chain.errors import Reverted, RevertKind, RpcError
from chain.types import (
    Block,
    BlockHash,
    BlockNumber,
    BlockRef,
    CallRequest,
    FullBlock,
    Receipt,
    SendAnswer,
    SendError,
    SendUnavailable,
    TxHash,
)

APPROVE = encode_approve(checksum("0x" + "00" * 20), 0)[:4]


class Killed(BaseException):
    """Ends a lane where a process would be killed: nothing catches it."""


class KilledBeforeSending(ChainClient):
    """The process ends after its commit and before its send."""

    async def send_raw(self, raws: Sequence[bytes]) -> list[SendAnswer]:
        raise Killed(len(raws))


class AnswerLost(ChainClient):
    """The node takes every transaction, and its answer never comes."""

    async def send_raw(self, raws: Sequence[bytes]) -> list[SendAnswer]:
        await super().send_raw(raws)
        return [SendUnavailable("TimeoutError: ") for _ in raws]


class Deaf(ChainClient):
    """The first sends never reach the node, and nobody is told."""

    lost = 1

    async def send_raw(self, raws: Sequence[bytes]) -> list[SendAnswer]:
        if self.lost > 0:
            self.lost -= 1
            return [SendUnavailable("ServerDisconnectedError: ") for _ in raws]
        return await super().send_raw(raws)


class Frozen(ChainClient):
    """A send does not go on until the test says so, as in a process that was stopped."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.reached = asyncio.Event()
        self.thaw = asyncio.Event()

    async def send_raw(self, raws: Sequence[bytes]) -> list[SendAnswer]:
        self.reached.set()
        await self.thaw.wait()
        return await super().send_raw(raws)


class CannotEstimate(ChainClient):
    """The node refuses to say what gas a call needs, as one does to an account without gas."""

    refusals = 2

    async def simulate(self, request: CallRequest, block: BlockRef = "latest") -> int:
        if self.refusals > 0:
            self.refusals -= 1
            raise RpcError(-32000, "gas required exceeds allowance")
        return await super().simulate(request, block)


class Refusing(ChainClient):
    """The next sends are answered with an error and reach no pool."""

    def __init__(self, url: str, message: str, refusals: int = 1) -> None:
        super().__init__(url)
        self.message = message
        self.refusals = refusals

    async def send_raw(self, raws: Sequence[bytes]) -> list[SendAnswer]:
        if self.refusals > 0:
            self.refusals -= 1
            return [SendError(-32000, self.message) for _ in raws]
        return await super().send_raw(raws)


class KilledAtSend(ChainClient):
    """The process ends before a certain send; the ones before it arrive."""

    def __init__(self, url: str, sends_before: int) -> None:
        super().__init__(url)
        self.sends_before = sends_before

    async def send_raw(self, raws: Sequence[bytes]) -> list[SendAnswer]:
        if self.sends_before == 0:
            raise Killed(len(raws))
        self.sends_before -= 1
        return await super().send_raw(raws)


class StrictPool(ChainClient):
    """A pool that wants a replacement to pay so much more in percent, as real ones do; Anvil is content with one wei."""

    def __init__(self, url: str, percent: int = 10) -> None:
        super().__init__(url)
        self.percent = percent
        self.pool: dict[int, Offer] = {}
        self.refused = 0

    async def send_raw(self, raws: Sequence[bytes]) -> list[SendAnswer]:
        return [await self._send_one(raw) for raw in raws]

    async def _send_one(self, raw: bytes) -> SendAnswer:
        offer = offer_of(raw)
        known = self.pool.setdefault(offer.nonce, offer)
        if known.raw != raw:
            if not offer.outbids(known, self.percent):
                self.refused += 1
                return SendError(-32000, "replacement transaction underpriced")
            self.pool[offer.nonce] = offer
        (answer,) = await super().send_raw([raw])
        return answer


class StrictOrder(ChainClient):
    """A pool that takes a nonce only behind the one before it; the first send of all is lost on the way."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.taken: list[int] = []
        self.lost = False

    async def send_raw(self, raws: Sequence[bytes]) -> list[SendAnswer]:
        return [await self._send_one(raw) for raw in raws]

    async def _send_one(self, raw: bytes) -> SendAnswer:
        nonce = offer_of(raw).nonce
        if not self.lost:
            self.lost = True
            return SendUnavailable("ServerDisconnectedError: ")
        if nonce > 0 and nonce - 1 not in self.taken:
            return SendError(-32000, "nonce too high")
        self.taken.append(nonce)
        (answer,) = await super().send_raw([raw])
        return answer


class NoCancellations(ChainClient):
    """Says that it takes a self-transfer, and loses it."""

    async def send_raw(self, raws: Sequence[bytes]) -> list[SendAnswer]:
        kept = [raw for raw in raws if offer_of(raw).data]
        answers = iter(await super().send_raw(kept))
        return [next(answers) if raw in kept else SendUnavailable("lost") for raw in raws]


class WithoutReceipts(ChainClient):
    """A node whose index of receipts lags behind its blocks, until the test lets it catch up."""

    lags = True
    scans = 0

    async def full_blocks(self, numbers: Sequence[BlockNumber]) -> list[FullBlock | None]:
        self.scans += 1
        return await super().full_blocks(numbers)

    async def receipts(self, hashes: Sequence[TxHash]) -> list[Receipt | None]:
        return [None for _ in hashes] if self.lags else await super().receipts(hashes)

    async def block_and_receipts(
        self, block: BlockHash, hashes: Sequence[TxHash]
    ) -> tuple[Block | None, list[Receipt | None]]:
        header, receipts = await super().block_and_receipts(block, hashes)
        return header, [None for _ in receipts] if self.lags else receipts


class OnTwoForks(ChainClient):
    """Of the first attempt the node knows at every other time, from a fork that is given up; the second is lost on the way."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.known: list[bytes] = []
        self.sends = 0

    async def send_raw(self, raws: Sequence[bytes]) -> list[SendAnswer]:
        return [await self._send_one(raw) for raw in raws]

    async def _send_one(self, raw: bytes) -> SendAnswer:
        if raw not in self.known:
            self.known.append(raw)
        match self.known.index(raw):
            case 0:
                self.sends += 1
                return SendError(-32000, "nonce too low") if self.sends % 2 == 0 else SendUnavailable("lost")
            case 1:
                return SendUnavailable("lost")
        (answer,) = await super().send_raw([raw])
        return answer


class Overtaken(ChainClient):
    """Before the first send somebody else uses the wallet's key."""

    def __init__(self, url: str, theft: Callable[[], Awaitable[None]]) -> None:
        super().__init__(url)
        self.theft = theft
        self.sends = 0

    async def send_raw(self, raws: Sequence[bytes]) -> list[SendAnswer]:
        self.sends += 1
        if self.sends == 1:
            await self.theft()
        return await super().send_raw(raws)


@dataclass(frozen=True)
class Offer:
    """What a pool reads in the bytes of a transaction."""

    nonce: int
    priority: int
    most: int
    gas: int
    data: bytes
    raw: bytes

    def outbids(self, other: "Offer", percent: int) -> bool:
        """The rule of geth: both fees strictly higher, and by at least so much."""
        pairs = ((self.most, other.most), (self.priority, other.priority))
        return all(new > old and 100 * new >= (100 + percent) * old for new, old in pairs)


def offer_of(raw: bytes) -> Offer:
    fields = rlp.decode(raw[1:])
    nonce, priority, most, gas = (int.from_bytes(fields[place], "big") for place in (1, 2, 3, 4))
    return Offer(nonce, priority, most, gas, fields[7], raw)


class RefusesApprovals(ChainClient):
    """USDC as it would be with the wallet on its list of blocked accounts."""

    async def simulate(self, request: CallRequest, block: BlockRef = "latest") -> int:
        if request.data.startswith(APPROVE):
            raise Reverted("Blacklistable: account is blacklisted", RevertKind.REQUIRE)
        return await super().simulate(request, block)


class OneBlockBehind(ChainClient):
    """A node that has not seen the newest block, where others have; ``refused`` counts the simulations that it refused."""

    refused = 0

    async def head(self) -> Block:
        newest = await super().head()
        (before,) = await self.blocks([BlockNumber(newest.number - 1)])
        return before or newest

    async def simulate(self, request: CallRequest, block: BlockRef = "latest") -> int:
        try:
            return await super().simulate(request, block)
        except Reverted:
            self.refused += 1
            raise
