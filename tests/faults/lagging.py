"""How a node that lags behind answers: truly, as of a block that was the head a while ago."""

from typing import Any

Item = dict[str, Any]

_NEWEST = frozenset({"latest", "pending"})
_BLOCK_PLACE = {
    "eth_getBlockByNumber": 0,
    "eth_getTransactionCount": 1,
    "eth_getBalance": 1,
    "eth_call": 1,
    "eth_estimateGas": 1,
}
"""Which parameter names the block."""


def question_of_the_past(item: Item, head: int) -> Item:
    """The request with ``head`` in the place of the newest block."""
    if item["method"] == "eth_getLogs":
        (asked,) = item["params"]
        return {**item, "params": [{**asked, "toBlock": _at_most(asked.get("toBlock", "latest"), head)}]}
    place = _BLOCK_PLACE.get(item["method"])
    if place is None or len(item["params"]) <= place:
        return item
    params = list(item["params"])
    if params[place] in _NEWEST:
        params[place] = hex(max(head, 0))
    return {**item, "params": params}


def answer_of_the_past(item: Item, answer: Item, head: int) -> Item:
    """The answer without what came after ``head``: newer receipts, and newer blocks that were asked for by number."""
    result = answer.get("result")
    if item["method"] == "eth_getTransactionReceipt":
        newer = result is not None and _number(result["blockNumber"]) > head
    elif item["method"] == "eth_getBlockByNumber":
        newer = result is not None and _number(result["number"]) > head
    else:
        newer = False
    return {**answer, "result": None} if newer else answer


def _at_most(block: str, head: int) -> str:
    return hex(max(head, 0)) if block in _NEWEST or _number(block) > head else block


def _number(quantity: str) -> int:
    return int(quantity, 16)
