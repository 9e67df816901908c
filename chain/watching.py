"""From sent to final: receipts of what is in flight, checked against the chain as it is now (money.md section 2)."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, select
from sqlalchemy.exc import SQLAlchemyError

from chain.alarms import Alarms
from chain.allowance import AllowanceKeeper
from chain.election import Office
from chain.leg_lines import looked_up
from chain.leg_spans import tell_spans, traced
from chain.legs import ExpectedLog
from chain.sending import Outbox
from chain.transitions import Result, forget_receipts, record_results
from chain.types import Block, BlockHash, BlockNumber, Receipt, TxHash
from chain.verdicts import Evidence, InFlight, Mined, canonical_receipt, left_the_chain, result_of
from models.log_lines import whose
from models.statuses import IN_FLIGHT_STATES, AttemptKind, IncidentKind, LegName, TransactionState
from models.tables.incident_book import open_incident
from models.tables.transactions import ChainAttempt, ChainTransaction

_LOOK_AGAIN_POLLS = 5
"""A receipt that a lagging node kept back is asked for again after so many polls, even if no block came."""


@dataclass(frozen=True, slots=True)
class Looked:
    """Whether anything is in flight, so that the next look comes soon; and whether the vault's allowance may have changed."""

    busy: bool
    approval_ended: bool


class Watcher:
    def __init__(self, office: Office, outbox: Outbox, allowance: AllowanceKeeper, alarms: Alarms) -> None:
        self._term = office.term
        self._node = office.node
        self._config = office.config
        self._log = office.log
        self._outbox = outbox
        self._allowance = allowance
        self._alarms = alarms
        self._seen: BlockHash | None = None

    async def look(self) -> Looked:
        """One look at everything in flight."""
        if not await self._anything_in_flight():
            return Looked(busy=False, approval_ended=False)
        head = await self._node.head()
        results: list[Result] = []
        if head.hash != self._seen:
            results, gone = await self._settle(await self._in_flight(), head)
            if not gone:
                self._see(head)
        approval_ended = await self._end_approvals(results)
        await self._tell_spans(_ended(results))
        return Looked(busy=True, approval_ended=approval_ended)

    async def _settle(self, legs: Sequence[InFlight], head: Block) -> tuple[list[Result], Collection[int]]:
        evidence = await self._gather(legs, head)
        mined = [found for leg in legs if (found := canonical_receipt(leg, evidence)) is not None]
        news = [found for found in mined if found.final or found.leg.state is not TransactionState.MINED]
        gone = [leg.id for leg in legs if left_the_chain(leg, evidence)]
        results = await self._results([found for found in news if found.leg.id not in gone])
        known = {leg.id: leg for leg in legs}
        held = [(known[each.transaction_id], each.held_reason) for each in results if each.held_reason is not None]
        if results or gone:
            async with self._term.transaction() as session:
                await record_results(session, results)
                await forget_receipts(session, gone)
                for leg, reason in held:
                    await open_incident(session, IncidentKind.LEG_HELD, leg.name, reason)
        await self._follow_up(held, gone)
        self._tell(known, results)
        await self._alarms.close(IncidentKind.FEE_CAP_REACHED, [known[each].name for each in _ended(results)])
        return results, gone

    async def _tell_spans(self, ended: Sequence[int]) -> None:
        """Last of all, and never at the lane's expense: what a trace lacks stands in the rows. Raises TermOver only."""
        if not ended or not traced():
            return
        try:
            await tell_spans(self._term.transaction, ended)
        except (SQLAlchemyError, OSError) as error:
            self._log.warning("spans_not_told", transaction_ids=sorted(ended), error=type(error).__name__)

    async def _gather(self, legs: Sequence[InFlight], head: Block) -> Evidence:
        """Receipts first, headers after them. A MINED leg's receipt is read again only when it is deep enough to count."""
        final = await self._config.finality.newest_block(self._node, head)
        waiting = [leg for leg in legs if leg.block_number is None or leg.block_number <= final]
        hashes = [tx_hash for leg in waiting for tx_hash in leg.attempts]
        found = [receipt for receipt in await self._node.receipts(hashes) if receipt is not None]
        numbers = sorted({*_blocks_of(found), *(leg.block_number for leg in legs if leg.block_number is not None)})
        headers = await self._node.blocks([BlockNumber(number) for number in numbers])
        return Evidence(
            receipts={receipt.tx_hash: receipt for receipt in found},
            headers=dict(zip(numbers, headers, strict=True)),
            final_block=final,
        )

    async def _results(self, news: Sequence[Mined]) -> list[Result]:
        expected = await self._expected_logs([found.leg.id for found in news if found.final])
        config = self._config
        return [result_of(found, expected.get(found.leg.id, []), config.usdc, config.wallet) for found in news]

    def _tell(self, legs: Mapping[int, InFlight], results: Sequence[Result]) -> None:
        for each in results:
            if each.state.startswith("FINAL"):
                leg = legs[each.transaction_id]
                self._log.info(
                    "leg_final", leg=leg.name, state=each.state, hash=each.tx_hash, **whose(leg.operation_id)
                )

    async def _follow_up(self, held: Sequence[tuple[InFlight, str]], gone: Collection[int]) -> None:
        names = await looked_up(self._term.transaction, {leg.operation_id for leg, _ in held})
        for leg, reason in held:
            self._log.error("leg_held", leg=leg.name, reason=reason, **names[leg.operation_id])
        if gone:
            self._log.warning("blocks_left_the_chain", transaction_ids=sorted(gone))
            await self._outbox.resend(gone)

    async def _end_approvals(self, results: Sequence[Result]) -> bool:
        ended = [each for each in results if each.leg == LegName.APPROVE and each.state.startswith("FINAL")]
        for approval in ended:
            await self._allowance.approval_ended(approval.state)
        return len(ended) > 0

    def _see(self, head: Block) -> None:
        self._seen = head.hash
        patience = _LOOK_AGAIN_POLLS * self._config.block_poll.total_seconds()
        asyncio.get_running_loop().call_later(patience, self._forget, head.hash)

    def _forget(self, block_hash: BlockHash) -> None:
        if self._seen == block_hash:
            self._seen = None

    async def _anything_in_flight(self) -> bool:
        query = select(ChainTransaction.id).where(*self._ours_in_flight()).limit(1)
        async with self._term.transaction() as session:
            return await session.scalar(query) is not None

    def _ours_in_flight(self) -> tuple[ColumnElement[bool], ...]:
        return (
            ChainTransaction.chain_id == self._config.chain_id,
            ChainTransaction.signer == self._config.wallet,
            ChainTransaction.state.in_(IN_FLIGHT_STATES),
        )

    async def _in_flight(self) -> list[InFlight]:
        query = (
            select(
                ChainTransaction.id,
                ChainTransaction.operation_id,
                ChainTransaction.leg,
                ChainTransaction.generation,
                ChainTransaction.state,
                ChainTransaction.result_block,
                ChainTransaction.result_block_hash,
                ChainAttempt.hash,
                ChainAttempt.kind,
            )
            .join(ChainAttempt, ChainAttempt.transaction_id == ChainTransaction.id)
            .where(*self._ours_in_flight())
            .order_by(ChainTransaction.id)
        )
        async with self._term.transaction() as session:
            rows = (await session.execute(query)).all()
        legs: dict[int, InFlight] = {}
        attempts: dict[int, dict[TxHash, AttemptKind]] = {}
        for row_id, operation_id, leg, generation, state, number, block_hash, tx_hash, kind in rows:
            found = attempts.setdefault(row_id, {})
            found[TxHash(tx_hash)] = kind
            legs[row_id] = InFlight(row_id, operation_id, leg, generation, state, number, block_hash, found)
        return list(legs.values())

    async def _expected_logs(self, ids: Sequence[int]) -> Mapping[int, Sequence[ExpectedLog]]:
        if not ids:
            return {}
        query = select(ChainTransaction.id, ChainTransaction.expected_logs).where(ChainTransaction.id.in_(ids))
        async with self._term.transaction() as session:
            return {row.id: row.expected_logs for row in (await session.execute(query)).all()}


def _ended(results: Sequence[Result]) -> list[int]:
    return [each.transaction_id for each in results if each.state is not TransactionState.MINED]


def _blocks_of(receipts: Sequence[Receipt]) -> set[int]:
    return {receipt.block_number for receipt in receipts}
