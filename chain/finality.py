"""How deep a block must be until what is in it counts as done (money.md section 2)."""

from dataclasses import dataclass
from typing import Protocol

from chain.types import Block


class TaggedNode(Protocol):
    async def block_by_tag(self, tag: str) -> Block | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Finality:
    """Either so many blocks, the one with the receipt included, or a tag of the node such as ``finalized``, which wins."""

    confirmations: int = 1
    tag: str | None = None

    async def newest_block(self, node: TaggedNode, head: Block) -> int:
        """The number of the newest final block; -1 where there is none yet."""
        if self.tag is None:
            return head.number - self.confirmations + 1
        tagged = await node.block_by_tag(self.tag)
        return -1 if tagged is None else tagged.number
