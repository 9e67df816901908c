"""The engine's view of a chain: one class, every request asynchronous, every answer typed.

It adds nothing of its own to what the node says: no retries, no caches, no nonces. An outcome that is not known is an
exception or a value that says so.
"""

from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType
from typing import Self

from eth_typing import ChecksumAddress

from chain.errors import MalformedAnswer, RpcError, RpcUnavailable
from chain.reads import ContractReads
from chain.reverts import revert_of
from chain.rpc import DEFAULT_MAX_BATCH, DEFAULT_TIMEOUT, Answer, JsonRpc, RpcRequest
from chain.types import (
    Block,
    BlockHash,
    BlockNumber,
    BlockRef,
    CallRequest,
    FullBlock,
    InBlock,
    Log,
    Market,
    Receipt,
    SendAnswer,
    SendError,
    SendOk,
    SendUnavailable,
    TxHash,
    Wei,
)
from chain.wire import (
    block_param,
    to_block,
    to_bytes,
    to_full_block,
    to_hash,
    to_int,
    to_log,
    to_mined,
    to_receipt,
    transaction_param,
)

_LATEST: RpcRequest = ("eth_getBlockByNumber", ("latest", False))
_BLOCK_UNKNOWN = -39001
"""geth's code where a tag such as `finalized` names no block yet."""


class ChainClient(ContractReads):
    """A client of one node. Close it with `aclose()`, or use it as an asynchronous context manager.

    All methods raise RpcUnavailable where the outcome is unknown and RpcError where the node refused. No request is
    ever repeated.
    """

    def __init__(self, url: str, *, timeout: timedelta = DEFAULT_TIMEOUT, max_batch: int = DEFAULT_MAX_BATCH) -> None:
        self.rpc = JsonRpc(url, timeout=timeout, max_batch=max_batch)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self.rpc.aclose()

    @property
    def requests_sent(self) -> int:
        """HTTP requests so far; a batch counts once."""
        return self.rpc.requests_sent

    # Blocks and receipts

    async def head(self) -> Block:
        (answer,) = await self.rpc.batch([_LATEST])
        return _head(answer)

    async def blocks(self, numbers: Sequence[BlockNumber]) -> list[Block | None]:
        """The canonical blocks of these numbers; None beyond the head."""
        answers = await self.rpc.batch([("eth_getBlockByNumber", (hex(number), False)) for number in numbers])
        return [to_block(answer.value()) for answer in answers]

    async def block_by_tag(self, tag: str) -> Block | None:
        """The block that a tag such as `safe` or `finalized` names; None where it names none yet."""
        (answer,) = await self.rpc.batch([("eth_getBlockByNumber", (tag, False))])
        if answer.error is not None and answer.error.code == _BLOCK_UNKNOWN:
            return None
        return to_block(answer.value())

    async def receipts(self, hashes: Sequence[TxHash]) -> list[Receipt | None]:
        """A None proves nothing: behind a load balancer another node may have the receipt."""
        answers = await self.rpc.batch(_receipt_requests(hashes))
        return [to_receipt(answer.value()) for answer in answers]

    async def full_blocks(self, numbers: Sequence[BlockNumber]) -> list[FullBlock | None]:
        """Canonical blocks with their transactions; None beyond the head."""
        answers = await self.rpc.batch([("eth_getBlockByNumber", (hex(number), True)) for number in numbers])
        return [to_full_block(answer.value()) for answer in answers]

    async def mined(self, tx_hash: TxHash) -> InBlock | None:
        """The transaction, if the node knows a block with it. A None proves nothing."""
        return to_mined(await self.rpc.call("eth_getTransactionByHash", tx_hash))

    async def block_and_receipts(
        self, block: BlockHash, hashes: Sequence[TxHash]
    ) -> tuple[Block | None, list[Receipt | None]]:
        """In one request, so that one node answers it: what it knows of a block and of receipts."""
        header, *answers = await self.rpc.batch([("eth_getBlockByHash", (block, False)), *_receipt_requests(hashes)])
        return to_block(header.value()), [to_receipt(answer.value()) for answer in answers]

    async def logs(
        self,
        address: ChecksumAddress | Sequence[ChecksumAddress],
        topics: Sequence[str | Sequence[str] | None],
        from_block: BlockRef,
        to_block: BlockRef,
    ) -> list[Log]:
        """The logs of a range of blocks, both ends included. In `topics` None matches anything, a list any of its own.

        Raises RpcError also where the node has too much to do: some say so of a range with too many logs.
        """
        asked = {
            "address": address,
            "topics": topics,
            "fromBlock": block_param(from_block),
            "toBlock": block_param(to_block),
        }
        (answer,) = await self.rpc.batch([("eth_getLogs", (asked,))])
        if answer.error is not None:
            raise answer.error
        if not isinstance(answer.result, list):
            raise MalformedAnswer("eth_getLogs did not answer a list")
        return [to_log(log) for log in answer.result]

    # Accounts and fees

    async def chain_id(self) -> int:
        return to_int(await self.rpc.call("eth_chainId"))

    async def code(self, addresses: Sequence[ChecksumAddress]) -> list[bytes]:
        answers = await self.rpc.batch([("eth_getCode", (address, "latest")) for address in addresses])
        return [to_bytes(answer.value()) for answer in answers]

    async def nonce(self, address: ChecksumAddress, block: BlockRef) -> int:
        """The number of transactions that the account has had mined up to a block (with `pending`, in the pool too)."""
        return to_int(await self.rpc.call("eth_getTransactionCount", address, block_param(block)))

    async def balance(self, address: ChecksumAddress, block: BlockRef = "latest") -> Wei:
        """Of the gas token, in wei."""
        return Wei(to_int(await self.rpc.call("eth_getBalance", address, block_param(block))))

    async def market(self, address: ChecksumAddress) -> Market:
        """The head's base fee, the tip that the node suggests, and the account at the head, in one request."""
        head, tip, balance, nonce = await self.rpc.batch(
            [
                _LATEST,
                ("eth_maxPriorityFeePerGas", ()),
                ("eth_getBalance", (address, "latest")),
                ("eth_getTransactionCount", (address, "latest")),
            ]
        )
        gas = (_head(head).base_fee, Wei(to_int(tip.value())))
        return Market(*gas, Wei(to_int(balance.value())), to_int(nonce.value()))

    # Transactions

    async def simulate(self, request: CallRequest, block: BlockRef = "latest") -> int:
        """The gas that a transaction would need if it were sent now, or upon the state of a block.

        Raises Reverted where the contract would refuse it. That is for `eth_call` to say: an estimate that fails alone,
        as it does without the balance for gas, is the node's RpcError.
        """
        sent, at = transaction_param(request), block_param(block)
        tried, estimated = await self.rpc.batch([("eth_call", (sent, at)), ("eth_estimateGas", (sent, at))])
        if tried.error is not None and (refusal := revert_of(tried.error)) is not None:
            raise refusal
        tried.value()
        return to_int(estimated.value())

    async def send_raw(self, raws: Sequence[bytes]) -> list[SendAnswer]:
        """The node's answer to each signed transaction, in order. Never raises a ChainError."""
        answers: list[SendAnswer] = []
        for start in range(0, len(raws), self.rpc.max_batch):
            answers += await self._send_batch(raws[start : start + self.rpc.max_batch])
        return answers

    async def _send_batch(self, raws: Sequence[bytes]) -> list[SendAnswer]:
        try:
            answers = await self.rpc.batch([("eth_sendRawTransaction", (f"0x{raw.hex()}",)) for raw in raws])
        except RpcUnavailable as error:
            return [SendUnavailable(str(error)) for _ in raws]
        return [_send_answer(answer) for answer in answers]


def _head(answer: Answer) -> Block:
    block = to_block(answer.value())
    if block is None:
        raise MalformedAnswer("the node has no latest block")
    return block


def _receipt_requests(hashes: Sequence[TxHash]) -> list[RpcRequest]:
    return [("eth_getTransactionReceipt", (tx_hash,)) for tx_hash in hashes]


def _send_answer(answer: Answer) -> SendAnswer:
    error: RpcError | None = answer.error
    if error is not None:
        return SendError(error.code, error.message)
    try:
        return SendOk(TxHash(to_hash(answer.result)))
    except MalformedAnswer as malformed:
        return SendUnavailable(str(malformed))
