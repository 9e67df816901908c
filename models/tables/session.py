"""Opening the database. A transaction is one activity or one request, committed at the edge by ``begin()``."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

import psycopg
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

Transaction = Callable[[], AbstractAsyncContextManager[AsyncSession]]
"""``async with transaction() as session:`` commits at its end, or rolls back on an exception."""


def open_database(
    url: str,
    *,
    pool_size: int = 10,
    application_name: str = "loan-engine",
    statement_timeout: timedelta = timedelta(seconds=30),
    pool_timeout: timedelta = timedelta(seconds=30),
    read_only: bool = False,
) -> AsyncEngine:
    """An engine whose connections give up on a lock after 10 s and on a statement after 30 s, rather than hang.

    ``pool_timeout`` is how long one waits for a connection that others hold.
    """
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=pool_timeout.total_seconds(),
        pool_pre_ping=False,
        hide_parameters=True,
        connect_args={
            "application_name": application_name,
            "connect_timeout": 5,
            "options": " ".join(
                (
                    "-c lock_timeout=10s",
                    f"-c statement_timeout={statement_timeout // timedelta(milliseconds=1)}ms",
                    "-c idle_in_transaction_session_timeout=30s",
                    f"-c default_transaction_read_only={'on' if read_only else 'off'}",
                )
            ),
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
