"""What routes ask for by type."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Header, Path, Request
from sqlalchemy.ext.asyncio import AsyncSession

from api.fields import ChainIdIn, NoSecret
from api.idempotency import Json, received_body
from api.reads import reading
from api.resources import Resources
from api.trace import Trace
from models.ids import PUBLIC_ID_PATTERN


def _resources(request: Request) -> Resources:
    resources: Resources = request.app.state.resources
    return resources


def _trace(request: Request) -> Trace:
    trace: Trace = request.state.trace
    return trace


async def _session(request: Request) -> AsyncIterator[AsyncSession]:
    async with _resources(request).transaction() as session:
        yield session


async def _read_session(request: Request) -> AsyncIterator[AsyncSession]:
    async with reading(_resources(request)) as session:
        yield session


ResourcesDep = Annotated[Resources, Depends(_resources)]
TraceDep = Annotated[Trace, Depends(_trace)]
SessionDep = Annotated[AsyncSession, Depends(_session, scope="function")]
"""The request's one transaction, committed before the answer leaves. Never for a route that also asks Temporal or the chain."""
ReadSessionDep = Annotated[AsyncSession, Depends(_read_session, scope="function")]
"""For lists, logs, figures and administrators' reads; its route declares READS (api/docs.py)."""

IdempotencyKey = Annotated[
    str,
    NoSecret,
    Header(
        alias="Idempotency-Key",
        pattern=PUBLIC_ID_PATTERN,
        description="Names this request for ever: the same key and body give the same answer and move money once.",
        examples=["repay-2026-000042"],
    ),
]
OptionalIdempotencyKey = Annotated[
    Annotated[str, NoSecret] | None,
    Header(
        alias="Idempotency-Key",
        pattern=PUBLIC_ID_PATTERN,
        description="Names this request for ever. Left out, the partner_loan_id names it.",
        examples=["loan-2026-000042"],
    ),
]
ReceivedBody = Annotated[Json, Depends(received_body)]
PartnerLoanId = Annotated[
    str,
    NoSecret,
    Path(pattern=PUBLIC_ID_PATTERN, description="the partner's own name of the loan", examples=["loan-2026-000042"]),
]
OnChainId = Annotated[ChainIdIn, Path()]
