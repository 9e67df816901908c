"""What is done about an audit: incidents are opened and closed, a surplus is booked, and USDC that is missing pauses the signer.

Only what two audits at two blocks both found counts, so that a node that lags for a moment stops nobody (money.md section 8).
"""

from collections.abc import Sequence
from datetime import datetime

import structlog
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities.audit.checker import audit
from activities.audit.findings import AuditReport
from activities.heartbeats import with_heartbeats
from chain.engine_chain import EngineChain
from chain.errors import NodeLags
from chain.signers import pause_signer
from models import accounts
from models.messages.reconcile import Conclude, Look, Reconciliation, Seen, SeenBreach
from models.statuses import IncidentKind, LedgerKind
from models.tables import book
from models.tables.incident_book import close_others, open_incident
from models.tables.ledger import LedgerTransfer
from models.tables.session import Transaction
from models.tables.transactions import ChainSigner

PAUSED_BY = "reconciliation"
FOUND_BY_AN_AUDIT = "invariant "
"""How the subjects of an audit's incidents begin: others open incidents too, and no audit knows whether those are over."""
NAMED = 100


class ReconciliationActivities:
    def __init__(self, transaction: Transaction, chain: EngineChain) -> None:
        self._transaction = transaction
        self._chain = chain

    @activity.defn
    async def look(self, asked: Look) -> Seen:
        """One audit. Raises NodeLags where no later block is final yet."""
        async with self._transaction() as session:
            begun_at = (await session.execute(select(func.clock_timestamp()))).scalar_one()
        report = await with_heartbeats(audit(self._transaction, self._chain, since=asked.since))
        if report.block <= asked.later_than:
            raise NodeLags(report.block, asked.later_than + 1)
        return _seen(report, begun_at)

    @activity.defn
    async def conclude(self, asked: Conclude) -> Reconciliation:
        """Acts on what both audits found, in one transaction. It may be repeated: each part of it is done once."""
        confirmed = _confirmed(asked)
        async with self._transaction() as session:
            await self._lock_signer(session)
            booked = await _book_surplus(session, asked)
            news = [each for each in confirmed if await _open(session, each)]
            paused = await self._pause(session, [each for each in news if each.pauses_signer])
            await _close_what_is_over(session, asked)
        result = Reconciliation(
            block=asked.last.block,
            breaches=len(confirmed),
            opened=len(news),
            booked=booked,
            paused=paused,
            sound_up_to=_sound_up_to(asked),
        )
        structlog.get_logger().info("reconciled", **result.model_dump())
        return result

    async def _lock_signer(self, session: AsyncSession) -> None:
        """One conclusion at a time: what the ledger has booked as surplus is read and changed under this lock."""
        signer = (ChainSigner.chain_id == self._chain.chain_id, ChainSigner.address == self._chain.wallet)
        await session.execute(select(ChainSigner.address).where(*signer).with_for_update(key_share=True))

    async def _pause(self, session: AsyncSession, missing: Sequence[SeenBreach]) -> bool:
        """Only news pauses: what a person has seen, and has resumed the signer in spite of, stays with that person."""
        if not missing:
            return False
        structlog.get_logger().error("usdc_is_missing", subjects=[each.subject for each in missing])
        chain = self._chain
        return await pause_signer(session, chain.chain_id, chain.wallet, reason=missing[0].detail, by=PAUSED_BY)


def _seen(report: AuditReport, begun_at: datetime) -> Seen:
    """Those that pause the signer first, so that no other leaves them out."""
    breaches = sorted(report.breaches, key=lambda breach: not breach.pauses_signer)
    return Seen(
        block=report.block,
        begun_at=begun_at,
        breaches=tuple(
            SeenBreach(
                kind=breach.kind,
                subject=f"{FOUND_BY_AN_AUDIT}{breach.invariant}: {breach.subject}",
                detail=breach.detail,
                rows=breach.rows,
                pauses_signer=breach.pauses_signer,
            )
            for breach in breaches[:NAMED]
        ),
        left_out=max(0, len(breaches) - NAMED),
        surplus=report.surplus,
        surplus_booked=report.surplus_booked,
    )


def _confirmed(asked: Conclude) -> list[SeenBreach]:
    if asked.before is None:
        return []
    before = {(each.kind, each.subject, each.pauses_signer) for each in asked.before.breaches}
    return [each for each in asked.last.breaches if (each.kind, each.subject, each.pauses_signer) in before]


async def _close_what_is_over(session: AsyncSession, asked: Conclude) -> None:
    """Only a look at everything can tell, and only of what was known when it began.

    One that began at a later block does not see what was wrong before, and another run may have found more meanwhile.
    """
    begun_at = asked.last.begun_at
    if asked.since is not None or asked.last.left_out > 0 or begun_at is None:
        return
    for kind in (IncidentKind.INVARIANT_BROKEN, IncidentKind.SURPLUS):
        still = [each.subject for each in asked.last.breaches if each.kind is kind]
        await close_others(session, kind, FOUND_BY_AN_AUDIT, still, seen_before=begun_at)


def _sound_up_to(asked: Conclude) -> int | None:
    return None if asked.before is not None else asked.last.block


async def _open(session: AsyncSession, breach: SeenBreach) -> bool:
    return await open_incident(session, breach.kind, breach.subject, breach.detail, breach.rows)


async def _book_surplus(session: AsyncSession, asked: Conclude) -> int:
    """Books a surplus that both audits found to be the same, once: not where one was booked since they looked."""
    last, before = asked.last, asked.before
    if before is None or last.surplus == 0 or last.surplus != before.surplus:
        return 0
    booked = select(func.coalesce(func.sum(LedgerTransfer.amount), 0)).where(LedgerTransfer.kind == LedgerKind.SURPLUS)
    if await session.scalar(booked) != last.surplus_booked or last.surplus_booked != before.surplus_booked:
        return 0
    surplus = book.Entry(
        kind=LedgerKind.SURPLUS, debit=accounts.PLATFORM_WALLET, credit=accounts.SUSPENSE, amount=last.surplus
    )
    await book.record(session, surplus)
    return last.surplus
