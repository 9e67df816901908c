"""What the chain says of a leg that spends the vault's allowance: its gas, a refusal, or nothing yet."""

from chain.codec import Call
from chain.errors import Reverted
from chain.lane_config import LaneNode
from chain.types import BlockNumber, CallRequest

_ROUNDS = 2


async def simulate_spender(
    node: LaneNode, request: CallRequest, allowance: Call[int], amount: int, block: BlockNumber
) -> int | Reverted | None:
    """The gas that the leg needs upon a block; the refusal; or None where the allowance is not there: then it waits.

    A refusal counts only at a block at which the allowance is there. It is asked for twice, because a node may answer of
    its newest block with the state of the next, while it takes that in (Anvil does): then a refusal and the allowance are
    of different blocks, and a leg that was only early would look refused. A node does so at most once for one block, so
    two rounds that agree are of one state.
    """
    refusals = []
    for _ in range(_ROUNDS):
        try:
            return await node.simulate(request, block)
        except Reverted as refusal:
            refusals.append(refusal)
        (mined,) = await node.read(allowance, block=block)
        if mined < amount:
            return None
    return refusals[0] if len({refusal.reason for refusal in refusals}) == 1 else None
