"""Opening the database. A transaction is one activity or one request, committed at the edge by ``begin()``."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import psycopg
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

Transaction = Callable[[], AbstractAsyncContextManager[AsyncSession]]
"""``async with transaction() as session:`` commits at its end, or rolls back on an exception."""


def open_database(url: str, *, pool_size: int = 10, application_name: str = "loan-engine") -> AsyncEngine:
    """An engine whose connections give up on a lock after 10 s and on a statement after 30 s, rather than hang."""
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_pre_ping=False,
        hide_parameters=True,
        connect_args={
            "application_name": application_name,
            "connect_timeout": 5,
            "options": "-c lock_timeout=10s -c statement_timeout=30s -c idle_in_transaction_session_timeout=30s",
        },
    )
    event.listen(engine.sync_engine, "handle_error", _without_contents)
    return engine


def _without_contents(context: ExceptionContext) -> None:
    """Leaves of an error only what was wrong with what: PostgreSQL's details quote rows, with amounts, bodies and hashes.

    Errors end up in logs, incidents and workflow histories. Who needs to know which constraint it was asks ``diag``.
    """
    error, wrapped = context.original_exception, context.sqlalchemy_exception
    if not isinstance(error, psycopg.Error) or error.diag.message_primary is None:
        return
    error.args = (f"{error.diag.severity_nonlocalized}: {error.diag.message_primary}",)
    if wrapped is not None:
        wrapped.args = (f"({type(error).__module__}.{type(error).__name__}) {error}",)


def transactions(engine: AsyncEngine) -> Transaction:
    return async_sessionmaker(engine, expire_on_commit=False).begin
