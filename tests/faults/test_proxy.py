"""Each fault of the proxy does to a call what its name says, before a node that notes what reaches it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from chain.client import ChainClient
from chain.errors import MalformedAnswer, RpcUnavailable
from chain.types import BlockNumber, SendAnswer, SendError, SendOk, SendUnavailable, TxHash
from tests.chain.scripted_node import RpcItem, result, scripted_node
from tests.faults.plan import MAX_LAG, Fault, FaultPlan
from tests.faults.proxy import Proxy, proxy_before

HEAD = 100
HASH = TxHash("0x" + "ab" * 32)


@dataclass
class Node:
    """A node at block 100 with one receipt, of block 100."""

    reached: list[RpcItem] = field(default_factory=list)

    def script(self, batch: list[RpcItem]) -> Any:
        self.reached += batch
        return [result(item, self._answer(item)) for item in batch]

    def _answer(self, item: RpcItem) -> Any:
        match item["method"]:
            case "eth_blockNumber":
                return hex(HEAD)
            case "eth_sendRawTransaction":
                return HASH
            case "eth_getTransactionReceipt":
                return _receipt()
            case "eth_getLogs":
                return []
            case "eth_getBlockByNumber":
                asked = item["params"][0]
                return _block(HEAD if asked == "latest" else int(asked, 16))
            case _:
                return hex(7)

    def methods(self) -> list[str]:
        return [item["method"] for item in self.reached if item["method"] != "eth_blockNumber"]


@dataclass
class Way:
    node: Node
    proxy: Proxy
    client: ChainClient

    def hit(self, *faults: Fault) -> None:
        self.proxy.follow(FaultPlan(1, 1000, 1000, faults))

    async def send(self, number: int = 1) -> list[SendAnswer]:
        return await self.client.send_raw([bytes([n]) for n in range(number)])


@pytest_asyncio.fixture
async def way() -> AsyncIterator[Way]:
    node = Node()
    async with scripted_node(node.script) as url, proxy_before(url) as proxy, ChainClient(proxy.url) as client:
        yield Way(node, proxy, client)


async def test_without_a_plan_everything_passes(way: Way) -> None:
    """A call reaches the node once and its answer comes back."""
    assert await way.send() == [SendOk(HASH)]
    assert way.node.methods() == ["eth_sendRawTransaction"]
    assert way.proxy.log == []


@pytest.mark.parametrize(
    ("fault", "reached"),
    [
        (Fault.LOST_BEFORE, 0),
        (Fault.TOO_MANY, 0),
        (Fault.LOST_AFTER, 1),
        (Fault.CUT, 1),
        (Fault.BAD_GATEWAY, 1),
        (Fault.MALFORMED, 1),
    ],
)
async def test_a_send_without_an_answer(way: Way, fault: Fault, reached: int) -> None:
    """The sender learns nothing, whether or not the node has the transaction."""
    way.hit(fault)
    assert isinstance((await way.send())[0], SendUnavailable)
    assert len(way.node.methods()) == reached
    assert [(happened.fault, happened.number) for happened in way.proxy.log] == [(fault, 1)]


@pytest.mark.parametrize(
    ("fault", "reached"),
    [(Fault.REFUSED_UNSENT, 0), (Fault.ALREADY_KNOWN, 0), (Fault.BUSY, 0), (Fault.REFUSED_SENT, 1)],
)
async def test_a_send_with_an_untrue_answer(way: Way, fault: Fault, reached: int) -> None:
    """The sender is told the words of a real node, whether or not one has the transaction."""
    way.hit(fault)
    assert isinstance((await way.send())[0], SendError)
    assert len(way.node.methods()) == reached


async def test_a_send_that_arrives_twice(way: Way) -> None:
    """The node sees the same bytes two times, the sender one answer."""
    way.hit(Fault.TWICE)
    assert await way.send() == [SendOk(HASH)]
    assert way.node.methods() == ["eth_sendRawTransaction"] * 2


async def test_a_send_that_is_overtaken(way: Way) -> None:
    """The one of the batch that is held back reaches the node after the others, and is answered in its place."""
    plan = FaultPlan(3, 300, 300, (Fault.HELD_BACK,))
    held = [number for number in range(1, 6) if plan.decide("eth_sendRawTransaction", number) is not None]
    assert held
    way.proxy.follow(plan)
    assert await way.send(5) == [SendOk(HASH)] * 5
    order = [int(item["params"][0], 16) + 1 for item in way.node.reached]
    assert order == [number for number in range(1, 6) if number not in held] + held


async def test_a_receipt_that_is_unknown_here(way: Way) -> None:
    """Another node has it: null, and no error."""
    way.hit(Fault.UNKNOWN_HERE)
    assert await way.client.receipts([HASH]) == [None]


async def test_a_node_that_lags(way: Way) -> None:
    """Its head is some blocks behind, and it has neither the newest receipts nor the newest blocks."""
    way.hit(Fault.LAGS)
    assert HEAD - MAX_LAG <= (await way.client.head()).number < HEAD
    assert await way.client.receipts([HASH]) == [None]
    assert await way.client.blocks([BlockNumber(HEAD), BlockNumber(HEAD - MAX_LAG)]) == [
        None,
        (await way.client.blocks([BlockNumber(HEAD - MAX_LAG)]))[0],
    ]
    await way.client.logs("0x" + "00" * 20, [], 1, HEAD)  # type: ignore[arg-type]  # the node does not look
    await way.client.nonce("0x" + "00" * 20, "latest")  # type: ignore[arg-type]  # as above
    logs, nonce = way.node.reached[-3], way.node.reached[-1]
    assert HEAD - MAX_LAG <= int(logs["params"][0]["toBlock"], 16) < HEAD
    assert HEAD - MAX_LAG <= int(nonce["params"][1], 16) < HEAD


async def test_one_fault_of_a_batch_leaves_the_others_alone(way: Way) -> None:
    """A request that is lost is missing among the answers; a busy one says so; the rest is what the node said."""
    way.proxy.follow(FaultPlan(5, 150, 150, (Fault.BUSY,)))
    answers = await way.send(40)
    said = {number for number, answer in enumerate(answers, 1) if isinstance(answer, SendError)}
    assert said == {happened.number for happened in way.proxy.log}
    assert 0 < len(said) < 40


async def test_away(way: Way) -> None:
    """A node that is away closes every connection, and answers again when it is back."""
    way.proxy.leave()
    with pytest.raises(RpcUnavailable):
        await way.client.head()
    way.proxy.come_back()
    assert (await way.client.head()).number == HEAD


async def test_malformed_reads_conclude_nothing(way: Way) -> None:
    """Half of an answer is no answer."""
    way.hit(Fault.MALFORMED)
    with pytest.raises(MalformedAnswer):
        await way.client.receipts([HASH])


def _block(number: int) -> dict[str, Any]:
    return {
        "number": hex(number),
        "hash": f"0x{number:064x}",
        "parentHash": f"0x{number - 1:064x}",
        "timestamp": hex(number),
        "baseFeePerGas": "0x1",
    }


def _receipt() -> dict[str, Any]:
    return {
        "transactionHash": HASH,
        "blockHash": f"0x{HEAD:064x}",
        "blockNumber": hex(HEAD),
        "status": "0x1",
        "gasUsed": "0x1",
        "effectiveGasPrice": "0x1",
        "from": "0x" + "00" * 20,
        "to": "0x" + "00" * 20,
        "logs": [],
    }
