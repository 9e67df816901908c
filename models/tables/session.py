"""Opening the database. A transaction is one activity or one request, committed at the edge by ``begin()``."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

Transaction = Callable[[], AbstractAsyncContextManager[AsyncSession]]
"""``async with transaction() as session:`` commits at its end, or rolls back on an exception."""


def open_database(url: str, *, pool_size: int = 10, application_name: str = "loan-engine") -> AsyncEngine:
    """An engine whose connections give up on a lock after 10 s and on a statement after 30 s, rather than hang."""
    return create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_pre_ping=False,
        connect_args={
            "application_name": application_name,
            "connect_timeout": 5,
            "options": "-c lock_timeout=10s -c statement_timeout=30s -c idle_in_transaction_session_timeout=30s",
        },
    )


def transactions(engine: AsyncEngine) -> Transaction:
    return async_sessionmaker(engine, expire_on_commit=False).begin
