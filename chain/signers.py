"""Stopping a signer from taking nonces, and letting it go on. Every function works inside the caller's transaction."""

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from models.statuses import IncidentKind
from models.tables.incident_book import close_incident
from models.tables.operators import Incident
from models.tables.transactions import ChainSigner

_STOPPING = (IncidentKind.SENDS_REFUSED, IncidentKind.NONCE_STOLEN)


def foreign_subject(chain_id: int, address: str, used: int) -> str:
    """What the incident is about that the account has used nonces which the lane never gave out."""
    return f"{chain_id}:{address}/nonces-to-{used}"


async def pause_signer(session: AsyncSession, chain_id: int, address: str, *, reason: str, by: str) -> bool:
    """Stops all new nonces of a signer until a person resumes it. False where it is paused already: the first reason stays."""
    statement = (
        update(ChainSigner)
        .where(ChainSigner.chain_id == chain_id, ChainSigner.address == address, ChainSigner.paused_at.is_(None))
        .values(paused_at=func.now(), paused_reason=reason, paused_by=by)
        .returning(ChainSigner.address)
    )
    return await session.scalar(statement) is not None


async def resume_signer(session: AsyncSession, chain_id: int, address: str) -> bool:
    """Lets a signer take nonces again, and closes what stopped it. False where it was not paused."""
    statement = (
        update(ChainSigner)
        .where(ChainSigner.chain_id == chain_id, ChainSigner.address == address, ChainSigner.paused_at.is_not(None))
        .values(paused_at=None, paused_reason=None, paused_by=None)
        .returning(ChainSigner.address)
    )
    resumed = await session.scalar(statement) is not None
    if resumed:
        await _close_incidents(session, f"{chain_id}:{address}")
    return resumed


async def _close_incidents(session: AsyncSession, name: str) -> None:
    """A person has seen to what stopped the signer. What holds a leg stays open until that leg is resolved."""
    query = select(Incident.kind, Incident.subject).where(
        Incident.kind.in_(_STOPPING), Incident.closed_at.is_(None), Incident.subject.startswith(name)
    )
    for kind, subject in (await session.execute(query)).all():
        await close_incident(session, kind, subject)
