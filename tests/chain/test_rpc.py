"""Whatever a node does instead of answering, the outcome is unknown, and nothing is sent twice."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from chain.client import ChainClient
from chain.codec import checksum
from chain.errors import MalformedAnswer, RpcError, RpcUnavailable
from chain.rpc import JsonRpc
from chain.types import SendError, SendOk, SendUnavailable, TxHash
from tests.chain.scripted_node import RpcItem, error, result, scripted_node, silent_node

HASH = TxHash("0x" + "ab" * 32)
NOBODY = checksum("0x" + "00" * 20)
SOON = timedelta(seconds=0.2)
NOWHERE = "http://127.0.0.1:1"


@asynccontextmanager
async def _rpc(url: str, max_batch: int = 100) -> AsyncIterator[JsonRpc]:
    rpc = JsonRpc(url, max_batch=max_batch)
    try:
        yield rpc
    finally:
        await rpc.aclose()


async def test_answers_are_matched_by_id_whatever_their_order() -> None:
    """Nodes and load balancers may answer the parts of a batch in any order."""

    def script(batch: list[RpcItem]) -> Any:
        return [result(item, item["method"]) for item in reversed(batch)]

    async with scripted_node(script) as url, _rpc(url) as rpc:
        answers = await rpc.batch([("first", ()), ("second", ()), ("third", ())])
    assert [answer.value() for answer in answers] == ["first", "second", "third"]


async def test_a_batch_above_the_limit_is_cut() -> None:
    """Each piece is one HTTP request, and the order is kept."""

    def script(batch: list[RpcItem]) -> Any:
        return [result(item, item["params"][0]) for item in batch]

    async with scripted_node(script) as url, _rpc(url, max_batch=2) as rpc:
        answers = await rpc.batch([("echo", (number,)) for number in range(5)])
        assert rpc.requests_sent == 3
    assert [answer.value() for answer in answers] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: web.Response(status=429),
        lambda _: web.Response(status=503, text="<html>busy</html>"),
        lambda _: web.Response(status=307, headers={"Location": "/elsewhere"}),
        lambda _: web.Response(text="<html>not JSON</html>"),
        lambda _: "a string",
        lambda _: [],
        lambda _: [{"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "parse error"}}],
        lambda _: {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "batch too large"}},
        lambda batch: [{"jsonrpc": "2.0", "id": batch[0]["id"]}],
        lambda batch: [{"jsonrpc": "2.0", "id": batch[0]["id"], "error": "busy"}],
        lambda batch: [error(batch[0], -32005, "limit exceeded")],
        lambda batch: [error(batch[0], 429, "too many requests")],
    ],
)
async def test_no_usable_answer_is_unavailable_and_is_asked_for_once(answer: Callable[[list[RpcItem]], Any]) -> None:
    seen: list[str] = []

    def script(batch: list[RpcItem]) -> Any:
        seen.extend(item["method"] for item in batch)
        return answer(batch)

    async with scripted_node(script) as url, ChainClient(url) as client:
        with pytest.raises(RpcUnavailable):
            await client.chain_id()
        assert seen == ["eth_chainId"]


async def test_too_many_logs_are_an_error_of_the_request() -> None:
    """Some nodes say so with the code of a busy one; a range of blocks that is refused must be known from an outage."""
    async with (
        scripted_node(lambda batch: [error(batch[0], -32005, "query returned more than 10000 results")]) as url,
        ChainClient(url) as client,
    ):
        with pytest.raises(RpcError):
            await client.logs(NOBODY, [], 1, 2)


async def test_a_node_that_is_not_there_or_too_slow_is_unavailable() -> None:
    """A refused connection, and an answer that takes too long."""
    async with ChainClient(NOWHERE, timeout=SOON) as client:
        with pytest.raises(RpcUnavailable, match="ClientConnectorError"):
            await client.head()
    async with silent_node() as url, ChainClient(url, timeout=SOON) as client:
        with pytest.raises(RpcUnavailable, match="TimeoutError"):
            await client.head()


async def test_an_error_of_the_node_keeps_its_code_and_message() -> None:
    def script(batch: list[RpcItem]) -> Any:
        return [error(batch[0], -32000, "header not found")]

    async with scripted_node(script) as url, ChainClient(url) as client:
        with pytest.raises(RpcError) as raised:
            await client.chain_id()
    assert (raised.value.code, raised.value.message) == (-32000, "header not found")


@pytest.mark.parametrize("value", [None, 7, "0xzz", {}])
async def test_a_value_that_is_no_number_is_malformed(value: object) -> None:
    def script(batch: list[RpcItem]) -> Any:
        return [result(batch[0], value)]

    async with scripted_node(script) as url, ChainClient(url) as client:
        with pytest.raises(MalformedAnswer):
            await client.chain_id()


async def test_each_transaction_sent_has_an_answer_of_its_own() -> None:
    """Taken, refused, and answered with something that is no hash."""

    def script(batch: list[RpcItem]) -> Any:
        return [result(batch[2], "0x12"), error(batch[1], -32000, "nonce too low"), result(batch[0], "0x" + "AB" * 32)]

    async with scripted_node(script) as url, ChainClient(url) as client:
        taken, refused, strange = await client.send_raw([b"\x01", b"\x02", b"\x03"])
    assert taken == SendOk(HASH)
    assert refused == SendError(-32000, "nonce too low")
    assert isinstance(strange, SendUnavailable)


async def test_when_sending_fails_as_a_whole_each_may_have_been_sent() -> None:
    """Never an exception, since the lane has to decide about each transaction."""
    seen: list[int] = []

    def script(batch: list[RpcItem]) -> Any:
        seen.append(len(batch))
        return web.Response(status=502)

    async with scripted_node(script) as url, ChainClient(url, max_batch=2) as client:
        answers = await client.send_raw([b"\x01", b"\x02", b"\x03"])
        assert client.requests_sent == 2
    assert answers == [SendUnavailable("HTTP status 502")] * 3
    assert seen == [2, 1]


async def test_the_key_in_the_url_stays_out_of_errors() -> None:
    """A URL of a node service is a secret."""
    async with scripted_node(lambda _: web.Response(status=401)) as url, ChainClient(url) as client:
        with pytest.raises(RpcUnavailable) as raised:
            await client.head()
        assert "secret-key" not in str(raised.value)
    async with ChainClient("http://[broken/secret-key") as client:
        with pytest.raises(RpcUnavailable) as raised:
            await client.head()
        assert "secret-key" not in str(raised.value)
