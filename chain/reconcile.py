"""Whose transaction used a nonce that a node calls used: one of ours, whose receipt comes late, or a thief's (money.md section 2).

A null receipt proves nothing: behind a load balancer another node may have it. So a nonce is called stolen only when the
account's nonce at the final block is above it, every attempt's receipt is absent on a node that has that very block, and
a scan of full blocks has found the transaction of the wallet that used it and is none of ours.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from chain.alarms import Alarms
from chain.election import Office
from chain.leg_lines import looked_up
from chain.signers import foreign_subject, pause_signer
from chain.stuck import Stuck
from chain.transitions import hold
from chain.types import Block, BlockNumber, FullBlock, TxHash
from models.statuses import IncidentKind
from models.tables.incident_book import open_incident
from models.tables.operators import Incident
from models.tables.transactions import ChainAttempt, ChainTransaction

_BLOCKS_PER_LOOK = 20


@dataclass(frozen=True, slots=True)
class _Used:
    """Where a nonce of the wallet was used, and by which transaction."""

    tx_hash: TxHash
    block: int


@dataclass(slots=True)
class _Scan:
    """Reads the final blocks downwards for some nonces, a few blocks at each look."""

    nonces: frozenset[int]
    next: int
    floor: int
    found: dict[int, _Used] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        return self.next < self.floor or self.found.keys() == self.nonces


class Reconciler:
    def __init__(self, office: Office, alarms: Alarms) -> None:
        self._term = office.term
        self._node = office.node
        self._config = office.config
        self._log = office.log
        self._alarms = alarms
        self._scan: _Scan | None = None

    async def look(self, legs: Sequence[Stuck]) -> None:
        """One look at legs whose nonce seems used. Concludes only what the chain shows; else it waits for the next look."""
        final = await self._final_block() if legs else None
        lost = [] if final is None else await self._without_receipt(legs, final)
        if final is None or not lost:
            self._scan = None
            return
        scan = await self._scan_on(frozenset(leg.nonce for leg in lost), final)
        if not scan.over:
            return
        self._scan = None
        await self._call_stolen({leg: scan.found[leg.nonce] for leg in lost if leg.nonce in scan.found})

    async def _final_block(self) -> Block | None:
        number = await self._config.finality.newest_block(self._node, await self._node.head())
        if number < 0:
            return None
        (block,) = await self._node.blocks([BlockNumber(number)])
        return block

    async def _without_receipt(self, legs: Sequence[Stuck], final: Block) -> list[Stuck]:
        """The legs whose nonce was used up to the final block, although a node that has it knows no receipt of theirs."""
        used_up_to = await self._node.nonce(self._config.wallet, final.hash)
        suspects = [leg for leg in legs if leg.nonce < used_up_to]
        hashes = [attempt.hash for leg in suspects for attempt in leg.attempts]
        if not hashes:
            return []
        block, receipts = await self._node.block_and_receipts(final.hash, hashes)
        if block is None:
            return []
        mined = {receipt.tx_hash for receipt in receipts if receipt is not None}
        return [leg for leg in suspects if all(attempt.hash not in mined for attempt in leg.attempts)]

    async def _scan_on(self, nonces: frozenset[int], final: Block) -> _Scan:
        if self._scan is None or self._scan.nonces != nonces:
            self._scan = _Scan(nonces, final.number, await self._floor(min(nonces)))
        scan = self._scan
        lowest = max(scan.floor, scan.next - _BLOCKS_PER_LOOK + 1)
        blocks = await self._node.full_blocks([BlockNumber(number) for number in range(lowest, scan.next + 1)])
        known = [block for block in blocks if block is not None]
        if len(known) == len(blocks):
            scan.found |= self._used_in(known, nonces)
            scan.next = lowest - 1
        return scan

    def _used_in(self, blocks: Sequence[FullBlock], nonces: frozenset[int]) -> Mapping[int, _Used]:
        return {
            each.nonce: _Used(each.tx_hash, block.header.number)
            for block in blocks
            for each in block.transactions
            if each.sender == self._config.wallet and each.nonce in nonces
        }

    async def _floor(self, nonce: int) -> int:
        """The block of our newest lower nonce: an account's nonces are mined in their order."""
        query = select(func.max(ChainTransaction.result_block)).where(
            ChainTransaction.chain_id == self._config.chain_id,
            ChainTransaction.signer == self._config.wallet,
            ChainTransaction.nonce < nonce,
            ChainTransaction.state.startswith("FINAL"),
        )
        async with self._term.transaction() as session:
            return await session.scalar(query) or 0

    async def _call_stolen(self, used: Mapping[Stuck, _Used]) -> None:
        """Those whose nonce was used by what is no attempt of ours, be it one that was stored since the legs were read."""
        async with self._term.transaction() as session:
            ours = await _attempts_among(session, [each.tx_hash for each in used.values()])
            reasons = {
                leg: f"nonce {leg.nonce} was used by {by.tx_hash} in block {by.block}, which is none of its attempts"
                for leg, by in used.items()
                if by.tx_hash not in ours
            }
            if not reasons:
                return
            reason = next(iter(reasons.values()))
            await pause_signer(session, self._config.chain_id, self._config.wallet, reason=reason, by="lane")
            await hold(session, {leg.id: why for leg, why in reasons.items()})
            for leg, why in reasons.items():
                await open_incident(session, IncidentKind.NONCE_STOLEN, leg.name, why)
                await open_incident(session, IncidentKind.LEG_HELD, leg.name, why)
        names = await looked_up(self._term.transaction, {leg.operation_id for leg in reasons})
        for leg, why in reasons.items():
            self._log.error("nonce_stolen", leg=leg.name, reason=why, **names[leg.operation_id])
        await self._alarms.close(IncidentKind.FEE_CAP_REACHED, [leg.name for leg in reasons])


async def _attempts_among(session: AsyncSession, hashes: Sequence[TxHash]) -> Collection[str]:
    return (await session.scalars(select(ChainAttempt.hash).where(ChainAttempt.hash.in_(hashes)))).all()


async def report_foreign_nonces(session: AsyncSession, office: Office, used: int, next_nonce: int) -> bool:
    """Pauses the signer, whose account has used nonces up to ``used`` that the lane never gave out.

    False where that was reported before: then a person has let the signer go on, and each leg that meets such a nonce is
    HELD with the transaction that used it.
    """
    config = office.config
    subject = foreign_subject(config.chain_id, config.wallet, used)
    reported = select(Incident.id).where(Incident.kind == IncidentKind.NONCE_STOLEN, Incident.subject == subject)
    if await session.scalar(reported.limit(1)) is not None:
        return False
    reason = (
        f"the account has used {used} nonces, and the next one of the lane is {next_nonce}: the key is used elsewhere"
    )
    await pause_signer(session, config.chain_id, config.wallet, reason=reason, by="lane")
    await open_incident(session, IncidentKind.NONCE_STOLEN, subject, reason)
    office.log.error("foreign_nonces", reason=reason)
    return True
