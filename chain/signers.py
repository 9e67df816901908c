"""Stopping a signer from taking nonces, and letting it go on. Every function works inside the caller's transaction."""

from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncSession

from models.tables.transactions import ChainSigner


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
    """Lets a signer take nonces again. False where it was not paused."""
    statement = (
        update(ChainSigner)
        .where(ChainSigner.chain_id == chain_id, ChainSigner.address == address, ChainSigner.paused_at.is_not(None))
        .values(paused_at=None, paused_reason=None, paused_by=None)
        .returning(ChainSigner.address)
    )
    return await session.scalar(statement) is not None
