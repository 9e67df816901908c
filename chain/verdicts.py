"""What receipts and headers say of a leg in flight: pure, so that every case can be tried (money.md section 2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from eth_typing import ChecksumAddress

from chain.legs import ExpectedLog, logs_match
from chain.transitions import Result
from chain.types import Block, Log, Receipt, TxHash
from models.ids import leg_id
from models.statuses import AttemptKind, TransactionState
from models.tables.transactions import ChainTransaction


@dataclass(frozen=True, slots=True)
class InFlight:
    """A leg with a nonce and no outcome. ``block_number`` and ``block_hash`` are where it was MINED, if it was."""

    id: int
    operation_id: str
    leg: str
    generation: int
    state: TransactionState
    block_number: int | None
    block_hash: str | None
    attempts: Mapping[TxHash, AttemptKind]

    @classmethod
    def of(cls, row: ChainTransaction, attempts: Mapping[TxHash, AttemptKind]) -> Self:
        place = (row.result_block, row.result_block_hash)
        return cls(row.id, row.operation_id, row.leg, row.generation, row.state, *place, attempts)

    @property
    def name(self) -> str:
        return leg_id(self.operation_id, self.leg, self.generation)


@dataclass(frozen=True, slots=True)
class Mined:
    """A canonical receipt. ``final``: it is as deep as is asked for."""

    leg: InFlight
    kind: AttemptKind
    receipt: Receipt
    final: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the chain showed, headers last: a header that was read after a receipt says whether its block still counts."""

    receipts: Mapping[TxHash, Receipt]
    headers: Mapping[int, Block | None]
    final_block: int


def canonical_receipt(leg: InFlight, evidence: Evidence) -> Mined | None:
    """The receipt of whichever attempt was mined in a block that the chain has now. At most one attempt can have one."""
    for tx_hash, kind in leg.attempts.items():
        receipt = evidence.receipts.get(tx_hash)
        if receipt is None:
            continue
        header = evidence.headers.get(receipt.block_number)
        if header is not None and header.hash == receipt.block_hash:
            return Mined(leg, kind, receipt, final=receipt.block_number <= evidence.final_block)
    return None


def left_the_chain(leg: InFlight, evidence: Evidence) -> bool:
    """Whether another block is where the leg was MINED. A missing header or receipt proves nothing: a node may lag."""
    if leg.state is not TransactionState.MINED or leg.block_number is None:
        return False
    header = evidence.headers.get(leg.block_number)
    return header is not None and header.hash != leg.block_hash


def result_of(
    mined: Mined, expected_logs: Sequence[ExpectedLog], usdc: ChecksumAddress, wallet: ChecksumAddress
) -> Result:
    """The state that follows from a canonical receipt. What succeeded must show exactly the expected logs."""
    state, held_reason = TransactionState.MINED, None
    if mined.final:
        state, held_reason = _final_state(mined, expected_logs, usdc, wallet)
    return result_of_receipt(mined, state, held_reason=held_reason)


def result_of_receipt(
    mined: Mined, state: TransactionState, *, held_reason: str | None = None, reason: str | None = None
) -> Result:
    """The receipt as a row keeps it, with a state that was found for it."""
    receipt = mined.receipt
    return Result(
        transaction_id=mined.leg.id,
        leg=mined.leg.leg,
        state=state,
        tx_hash=receipt.tx_hash,
        block_number=receipt.block_number,
        block_hash=receipt.block_hash,
        gas_used=receipt.gas_used,
        effective_gas_price=receipt.effective_gas_price,
        logs=[_stored(log) for log in receipt.logs],
        held_reason=held_reason,
        reason=reason,
    )


def _final_state(
    mined: Mined, expected_logs: Sequence[ExpectedLog], usdc: ChecksumAddress, wallet: ChecksumAddress
) -> tuple[TransactionState, str | None]:
    if mined.kind is AttemptKind.CANCEL:
        return TransactionState.FINAL_CANCELLED, None
    if not mined.receipt.succeeded:
        return TransactionState.FINAL_REVERTED, None
    mismatch = logs_match(expected_logs, mined.receipt.logs, usdc, wallet)
    return (TransactionState.FINAL_OK, None) if mismatch is None else (TransactionState.HELD, mismatch)


def _stored(log: Log) -> dict[str, Any]:
    return {"address": log.address, "topics": list(log.topics), "data": log.data, "log_index": log.log_index}
