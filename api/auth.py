"""What routes ask for to know who calls: by type, with the scope that the key must have. api/gate.py admits them before."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from api.callers import AdminCaller, Caller
from api.gate import admitted_administrator, admitted_partner
from models.errors import ScopeMissing
from models.statuses import Scope

__all__ = [
    "ADMIN_BEARER",
    "BEARER",
    "AdminCaller",
    "AdminDep",
    "Borrower",
    "Caller",
    "Reader",
    "Repayer",
    "caller_with",
]

BEARER = HTTPBearer(
    auto_error=False,
    scheme_name="partnerKey",
    description="A partner's API key: `pk_{partner}_{live|sandbox}_{secret}`",
)


ADMIN_BEARER = HTTPBearer(
    auto_error=False,
    scheme_name="administratorKey",
    description="An administrator's API key: `ak_{live|sandbox}_{secret}`",
)


def caller_with(scope: Scope) -> Callable[..., Awaitable[Caller]]:
    """A dependency: the caller, whose key has the scope. It holds no connection when it returns."""

    async def authenticate(request: Request, _: Annotated[object, Security(BEARER)]) -> Caller:
        caller = await admitted_partner(request)
        if scope not in caller.scopes:
            raise ScopeMissing(scope)
        return caller

    return authenticate


async def _administrator(request: Request, _: Annotated[object, Security(ADMIN_BEARER)]) -> AdminCaller:
    return await admitted_administrator(request)


Borrower = Annotated[Caller, Depends(caller_with(Scope.BORROW))]
Repayer = Annotated[Caller, Depends(caller_with(Scope.REPAY))]
Reader = Annotated[Caller, Depends(caller_with(Scope.READ))]
AdminDep = Annotated[AdminCaller, Depends(_administrator)]
