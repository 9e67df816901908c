"""How a person leads a leg out of HELD: back to the chain, or to FINAL on evidence that the chain shows (money.md section 2).

The chain is read first, and nothing of it inside the transaction. What is written then is a compare-and-set from HELD under
the locks of the operation and the row, so that of two operators one decides and the other is told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from chain.broken import LegUnknown
from chain.engine_chain import EngineChain
from chain.legs import expected_missing
from chain.transactions import find, legs_of, lock_operation, outcome
from chain.transitions import Result, resume_held, settle_held
from chain.types import Block, BlockNumber, Receipt, TxHash
from chain.verdicts import Evidence, InFlight, Mined, canonical_receipt, result_of_receipt
from models.errors import HoldNotResolvable
from models.ids import leg_id
from models.messages.legs import LegOutcome
from models.messages.operators import HoldResolution
from models.statuses import AttemptKind, IncidentKind, LegName, TransactionState
from models.tables.incident_book import close_incident
from models.tables.session import Transaction
from models.tables.transactions import ChainAttempt, ChainTransaction


@dataclass(frozen=True, slots=True)
class _Held:
    """A HELD leg as it was read before the chain was asked."""

    row: ChainTransaction
    attempts: Mapping[TxHash, AttemptKind]

    @property
    def name(self) -> str:
        return leg_id(self.row.operation_id, self.row.leg, self.row.generation)


async def resolve_hold(
    transaction: Transaction,
    chain: EngineChain,
    *,
    operation_id: str,
    leg: str,
    generation: int | None,
    resolution: HoldResolution,
    evidence_tx_hash: str | None,
) -> LegOutcome:
    """Leads a leg out of HELD; the newest generation where ``generation`` is None.

    RESUME sends it back to BROADCAST. ACCEPT makes it FINAL as a final receipt of one of its attempts says, whatever else
    it moved, as long as it shows what the leg's rows are written from; or, with ``evidence_tx_hash``, FINAL_CANCELLED, since
    that transaction used up its nonce.
    Raises HoldNotResolvable where the rows or the chain do not allow it; RpcUnavailable where the chain cannot be asked.
    """
    held = await _read(transaction, operation_id, leg, generation)
    if resolution is HoldResolution.RESUME:
        if evidence_tx_hash is not None:
            raise HoldNotResolvable("Evidence is for accepting a hold, and does not go with resuming the leg.")
        result = None
    elif evidence_tx_hash is None:
        result = await _accepted(chain, held)
    else:
        result = await _replaced(chain, held, TxHash(evidence_tx_hash.lower()))
    return await _write(transaction, held, result)


async def _read(transaction: Transaction, operation_id: str, leg: str, generation: int | None) -> _Held:
    async with transaction() as session:
        rows = [row for row in await legs_of(session, operation_id) if row.leg == leg]
        found = [row for row in rows if generation in (None, row.generation)]
        if not found:
            raise HoldNotResolvable(f"There is no such leg '{leg}' of {operation_id}.")
        row = found[-1]
        if row.state is not TransactionState.HELD:
            raise HoldNotResolvable(f"{leg_id(operation_id, leg, row.generation)} is {row.state}, not HELD.")
        attempts = select(ChainAttempt.hash, ChainAttempt.kind).where(ChainAttempt.transaction_id == row.id)
        return _Held(row, {TxHash(each.hash): each.kind for each in await session.execute(attempts)})


async def _accepted(chain: EngineChain, held: _Held) -> Result:
    """What the final receipt of whichever attempt was mined says."""
    leg = InFlight.of(held.row, held.attempts)
    mined = canonical_receipt(leg, await _evidence(chain, list(held.attempts)))
    if mined is None:
        raise HoldNotResolvable(
            f"No attempt of {held.name} has a receipt in a block that the chain has. If another transaction used its "
            f"nonce {held.row.nonce}, name that one as evidence."
        )
    _demand_depth(mined)
    state = _accepted_state(mined)
    if state is TransactionState.FINAL_OK:
        _demand_recordable(held, mined.receipt)
    return result_of_receipt(mined, state, reason=f"accepted although: {held.row.held_reason}")


async def _replaced(chain: EngineChain, held: _Held, evidence: TxHash) -> Result:
    """That a transaction of the wallet which is none of ours used the leg's nonce, so that no attempt ever can."""
    if evidence in held.attempts:
        raise HoldNotResolvable(f"{evidence} is an attempt of {held.name} itself: accept the hold without evidence.")
    foreign = await chain.client.mined(evidence)
    leg = InFlight.of(held.row, {evidence: AttemptKind.CANCEL})
    mined = canonical_receipt(leg, await _evidence(chain, [evidence]))
    if foreign is None or mined is None:
        raise HoldNotResolvable(f"{evidence} has no receipt in a block that the chain has.")
    if (foreign.sender, foreign.nonce) != (held.row.signer, held.row.nonce):
        raise HoldNotResolvable(
            f"{evidence} is nonce {foreign.nonce} of {foreign.sender}, and {held.name} is nonce {held.row.nonce} of "
            f"{held.row.signer}."
        )
    _demand_depth(mined)
    reason = f"its nonce {held.row.nonce} was used by {evidence}, which is none of its attempts"
    return result_of_receipt(mined, TransactionState.FINAL_CANCELLED, reason=reason)


async def _evidence(chain: EngineChain, hashes: Sequence[TxHash]) -> Evidence:
    """Receipts first, headers after them, as the watcher reads them."""
    final = await chain.finality.newest_block(chain.client, await chain.client.head())
    receipts: list[Receipt] = [each for each in await chain.client.receipts(hashes) if each is not None]
    numbers = sorted({receipt.block_number for receipt in receipts})
    headers: list[Block | None] = await chain.client.blocks([BlockNumber(number) for number in numbers])
    return Evidence({each.tx_hash: each for each in receipts}, dict(zip(numbers, headers, strict=True)), final)


def _demand_depth(mined: Mined) -> None:
    if not mined.final:
        receipt = mined.receipt
        raise HoldNotResolvable(f"{receipt.tx_hash} is in block {receipt.block_number}, which is not final yet.")


def _demand_recordable(held: _Held, receipt: Receipt) -> None:
    """Else its record would be wrong, or be tried for ever. An allowance has none: it is read from the chain."""
    if held.row.leg == LegName.APPROVE:
        return
    missing = expected_missing(held.row.expected_logs, receipt.logs)
    if missing is not None:
        raise HoldNotResolvable(
            f"the rows of {held.name} cannot be written from the receipt of {receipt.tx_hash}: {missing}. If the node is "
            "not to be trusted, resume the leg; if it is, the contract did something else than the leg asked for, and a "
            "release that can read it must come first."
        )


def _accepted_state(mined: Mined) -> TransactionState:
    if mined.kind is AttemptKind.CANCEL:
        return TransactionState.FINAL_CANCELLED
    return TransactionState.FINAL_OK if mined.receipt.succeeded else TransactionState.FINAL_REVERTED


async def _write(transaction: Transaction, held: _Held, result: Result | None) -> LegOutcome:
    async with transaction() as session:
        await lock_operation(session, held.row.operation_id)
        await _demand_held(session, held)
        if result is None:
            await resume_held(session, [held.row.id])
        else:
            await settle_held(session, [result])
        for kind in (IncidentKind.LEG_HELD, IncidentKind.NONCE_STOLEN):
            await close_incident(session, kind, held.name)
        stored = await find(session, held.row.operation_id, held.row.leg, held.row.generation)
        if stored is None:
            raise LegUnknown(held.row.operation_id, held.row.leg, held.row.generation)
        return outcome(stored)


async def _demand_held(session: AsyncSession, held: _Held) -> None:
    query = select(ChainTransaction.state).where(ChainTransaction.id == held.row.id).with_for_update()
    state = (await session.execute(query)).scalar_one()
    if state is not TransactionState.HELD:
        raise HoldNotResolvable(f"{held.name} is {state} by now: somebody else resolved it.")
