"""Reads that may take long: on a pool of their own, and for a few seconds only.

What one partner or administrator lists, counts or searches then never holds the connections that authenticate, begin operations
and write the request log.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg.errors import QueryCanceled
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession

from api.errors import ReadTooSlow
from api.resources import Resources


@asynccontextmanager
async def reading(resources: Resources) -> AsyncIterator[AsyncSession]:
    """Each statement by itself, as in ``statements``; none may write. Raises ReadTooSlow, also where all connections are held."""
    try:
        async with resources.reads() as session:
            yield session
    except PoolTimeout:
        raise ReadTooSlow from None
    except OperationalError as error:
        if isinstance(error.orig, QueryCanceled):
            raise ReadTooSlow from None
        raise
