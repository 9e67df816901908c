"""Nodes that fail in the ways in which nodes fail: the real client, with one call that goes wrong."""

import asyncio
from collections.abc import Sequence

from chain.client import ChainClient
from chain.errors import RpcError
from chain.types import CallRequest, SendAnswer, SendUnavailable


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

    async def simulate(self, request: CallRequest) -> int:
        if self.refusals > 0:
            self.refusals -= 1
            raise RpcError(-32000, "gas required exceeds allowance")
        return await super().simulate(request)
