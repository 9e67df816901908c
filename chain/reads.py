"""Reading contracts: any number of views in one HTTP request, each at a block that is named."""

from typing import Any, TypeVar, overload

from chain.codec import Call
from chain.errors import Reverted
from chain.reverts import revert_of
from chain.rpc import Answer, JsonRpc, RpcRequest
from chain.types import BlockRef
from chain.wire import block_param, to_bytes

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
T5 = TypeVar("T5")
T6 = TypeVar("T6")
T7 = TypeVar("T7")
T8 = TypeVar("T8")


class ContractReads:
    """The reading half of ChainClient."""

    rpc: JsonRpc

    @overload
    async def read(self, c1: Call[T1], /, *, block: BlockRef) -> tuple[T1]: ...
    @overload
    async def read(self, c1: Call[T1], c2: Call[T2], /, *, block: BlockRef) -> tuple[T1, T2]: ...
    @overload
    async def read(self, c1: Call[T1], c2: Call[T2], c3: Call[T3], /, *, block: BlockRef) -> tuple[T1, T2, T3]: ...
    @overload
    async def read(
        self, c1: Call[T1], c2: Call[T2], c3: Call[T3], c4: Call[T4], /, *, block: BlockRef
    ) -> tuple[T1, T2, T3, T4]: ...
    @overload
    async def read(
        self, c1: Call[T1], c2: Call[T2], c3: Call[T3], c4: Call[T4], c5: Call[T5], /, *, block: BlockRef
    ) -> tuple[T1, T2, T3, T4, T5]: ...
    @overload
    async def read(
        self, c1: Call[T1], c2: Call[T2], c3: Call[T3], c4: Call[T4], c5: Call[T5], c6: Call[T6], /, *, block: BlockRef
    ) -> tuple[T1, T2, T3, T4, T5, T6]: ...
    @overload
    async def read(
        self,
        c1: Call[T1],
        c2: Call[T2],
        c3: Call[T3],
        c4: Call[T4],
        c5: Call[T5],
        c6: Call[T6],
        c7: Call[T7],
        /,
        *,
        block: BlockRef,
    ) -> tuple[T1, T2, T3, T4, T5, T6, T7]: ...
    @overload
    async def read(
        self,
        c1: Call[T1],
        c2: Call[T2],
        c3: Call[T3],
        c4: Call[T4],
        c5: Call[T5],
        c6: Call[T6],
        c7: Call[T7],
        c8: Call[T8],
        /,
        *,
        block: BlockRef,
    ) -> tuple[T1, T2, T3, T4, T5, T6, T7, T8]: ...
    @overload
    async def read(self, *calls: Call[T], block: BlockRef) -> tuple[T, ...]: ...

    async def read(self, *calls: Call[Any], block: BlockRef) -> tuple[Any, ...]:
        """The decoded answers in the order of the calls, all of one block.

        Raises Reverted where a call is refused that was not wrapped in `attempt`, MalformedAnswer where there is no
        such function, RpcError where the node has no such block, RpcUnavailable where it did not answer.
        """
        where = block_param(block)
        answers = await self.rpc.batch([_eth_call(call, where) for call in calls])
        return tuple(_decoded(call, answer) for call, answer in zip(calls, answers, strict=True))


def _eth_call(call: Call[Any], where: str | dict[str, str]) -> RpcRequest:
    return ("eth_call", ({"to": call.to, "data": call.data}, where))


def _decoded(call: Call[Any], answer: Answer) -> Any:
    refusal = revert_of(answer.error) if answer.error is not None else None
    if refusal is None:
        return call.decode(to_bytes(answer.value()))
    if call.may_revert:
        return refusal
    raise Reverted(f"{call.name}: {refusal}", refusal.kind, refusal.data)
