"""What the chain shows at one final block, read before the database: so whatever it shows, the database knows already.

The hash of a transaction is stored before it is sent, and a row that a leg changes is made before the leg is sent. So each
effect of the engine up to this block belongs to rows that a later look at the database finds.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from chain.contracts.usdc import TRANSFER_EVENT, decode_transfer
from chain.engine_chain import EngineChain
from chain.errors import RpcUnavailable
from chain.legs import address_topic
from chain.scan import read_logs
from chain.types import Block, BlockNumber, Log
from models.statuses import TERMINAL_LOAN_STATUSES, OperationState
from models.tables.loans import Loan, SolvencyPosition
from models.tables.operations import Operation
from models.tables.session import Transaction
from models.tables.transactions import ChainCursor, ChainTransaction

LOG_CHUNK = 1_000
"""Blocks that one request for logs covers."""


@dataclass(frozen=True, slots=True)
class Movement:
    """One ``Transfer`` log of the platform wallet: ``amount`` base units came in, or went out where it is negative."""

    tx_hash: str
    log_index: int
    block: int
    party: str
    amount: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """The chain at ``block``. Movements are those from ``first_block`` on, by transaction; ``nonce`` is the wallet's."""

    block: Block
    first_block: int
    movements: Mapping[str, Sequence[Movement]]
    balance: int
    nonce: int
    principals: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class _State:
    """What the node says of one block, and not what its logs say.

    Of its tip a node may tell the state of the next block, where that comes while it reads (Anvil does, once in some hundred
    times). Told a second time it is that of another block, so the tip is asked twice.
    """

    balance: int
    nonce: int
    principals: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class _Scope:
    """What the database says where to look."""

    first_block: int | None
    positions: Sequence[int]


async def gather(transaction: Transaction, chain: EngineChain, since: int | None) -> Evidence:
    """Raises RpcUnavailable where no block is final yet, or the chain changed while it was read."""
    async with transaction() as session:
        scope = await _scope(session, chain, since)
    head = await chain.client.head()
    block = await _newest_final_block(chain, head)
    first = block.number if scope.first_block is None else scope.first_block
    movements = await _movements(chain, first, block.number)
    state = await _state(chain, scope.positions, block.number)
    if block.number >= head.number and state != await _state(chain, scope.positions, block.number):
        raise RpcUnavailable(f"the node told two states of block {block.number}")
    (again,) = await chain.client.blocks([block.number])
    if again is None or again.hash != block.hash:
        raise RpcUnavailable(f"block {block.number} changed while it was audited")
    return Evidence(block, first, movements, state.balance, state.nonce, state.principals)


async def _scope(session: AsyncSession, chain: EngineChain, since: int | None) -> _Scope:
    """The scan for inbound transfers and the first leg of all say where the wallet's story begins.

    With ``since``, it begins there, or at the oldest leg that the ledger may not have posted or the lane not have seen, or
    where the lane has not read what came in. And only positions that a loan or a debt stands on are looked at.
    """
    ours = (ChainTransaction.chain_id == chain.chain_id, ChainTransaction.signer == chain.wallet)
    wallets = (ChainCursor.chain_id == chain.chain_id, ChainCursor.address == chain.wallet)
    scan = select(func.min(ChainCursor.first_block)).where(*wallets)
    legs = select(func.min(ChainTransaction.result_block)).where(*ours)
    positions = select(SolvencyPosition.position_id).where(
        SolvencyPosition.chain_id == chain.chain_id, SolvencyPosition.vault_address == chain.vault_address
    )
    starts = [await session.scalar(scan), await session.scalar(legs)]
    first = min((start for start in starts if start is not None), default=None)
    if since is not None and first is not None:
        unposted = legs.join(Operation, Operation.id == ChainTransaction.operation_id).where(
            Operation.state != OperationState.DONE
        )
        unread = select(func.min(ChainCursor.block_number) + 1).where(*wallets)
        known = [since, await session.scalar(unposted), await session.scalar(unread)]
        known.append(await _in_flight_since(session, chain, first))
        first = max(first, min(block for block in known if block is not None))
        positions = positions.where(_in_use())
    return _Scope(first, list(await session.scalars(positions)))


async def _in_flight_since(session: AsyncSession, chain: EngineChain, first: int) -> int | None:
    """The block before which no leg can have been mined whose receipt nobody has seen yet; None where there is no such leg.

    Nonces are mined in their order, so it is that of the last leg before the first of them.
    """
    ours = (ChainTransaction.chain_id == chain.chain_id, ChainTransaction.signer == chain.wallet)
    unseen = select(func.min(ChainTransaction.nonce)).where(*ours, ChainTransaction.result_block.is_(None))
    nonce = await session.scalar(unseen)
    if nonce is None:
        return None
    before = select(func.max(ChainTransaction.result_block)).where(*ours, ChainTransaction.nonce < nonce)
    return await session.scalar(before) or first


def _in_use() -> ColumnElement[bool]:
    loan = exists().where(
        Loan.chain_id == SolvencyPosition.chain_id,
        Loan.vault_address == SolvencyPosition.vault_address,
        Loan.position_id == SolvencyPosition.position_id,
        Loan.status.not_in(TERMINAL_LOAN_STATUSES),
    )
    return or_(SolvencyPosition.total_partner_debt > 0, SolvencyPosition.outside_debt > 0, loan)


async def _newest_final_block(chain: EngineChain, head: Block) -> Block:
    number = await chain.finality.newest_block(chain.client, head)
    (block,) = await chain.client.blocks([BlockNumber(max(0, number))])
    if number < 0 or block is None:
        raise RpcUnavailable("no block is final yet")
    return block


async def _movements(chain: EngineChain, first: int, last: int) -> Mapping[str, Sequence[Movement]]:
    found: defaultdict[str, list[Movement]] = defaultdict(list)
    wallet = address_topic(chain.wallet)
    for start in range(first, last + 1, LOG_CHUNK):
        end = min(last, start + LOG_CHUNK - 1)
        for topics in ([TRANSFER_EVENT.topic0, wallet], [TRANSFER_EVENT.topic0, None, wallet]):
            for log in await read_logs(chain.client, chain.usdc_address, topics, start, end):
                movement = _movement(chain, log)
                if movement is not None:
                    found[log.tx_hash].append(movement)
    return found


def _movement(chain: EngineChain, log: Log) -> Movement | None:
    """None where nothing moved: anybody may have the token log a transfer of zero from the wallet to wherever he likes."""
    transfer = decode_transfer(log)
    if transfer is None or transfer.amount == 0 or transfer.sender == transfer.recipient:
        return None
    if transfer.recipient == chain.wallet:
        return Movement(log.tx_hash, log.log_index, log.block_number, transfer.sender, transfer.amount)
    return Movement(log.tx_hash, log.log_index, log.block_number, transfer.recipient, -transfer.amount)


async def _state(chain: EngineChain, positions: Sequence[int], block: BlockNumber) -> _State:
    (balance,) = await chain.client.read(chain.usdc.balance_of(chain.wallet), block=block)
    nonce = await chain.client.nonce(chain.wallet, block)
    return _State(balance, nonce, await _principals(chain, positions, block))


async def _principals(chain: EngineChain, positions: Sequence[int], block: int) -> Mapping[int, int]:
    loans = await chain.client.read(*(chain.pool.loans(position) for position in positions), block=block)
    return {position: loan.principal for position, loan in zip(positions, loans, strict=True)}
