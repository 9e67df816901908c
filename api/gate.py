"""What each request passes before its route: authentication, then its rate limit. Scope and body come after that.

A route class does it and not a dependency, since the framework reads and parses the body before it asks any dependency: what
cannot be parsed would be answered before anybody knew who sent it, and would count for nobody. A dependency that asks for the
caller (api/auth.py) finds what was admitted here.
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.routing import APIRoute

from api.addresses import counted_as
from api.callers import AdminCaller, Caller, credentials, identify_administrator, identify_partner
from api.errors import AddressNotAllowed, RateLimited, Unauthenticated
from api.failures import Failures, rate_headers
from api.resources import Resources
from api.windows import Taken
from models.errors import PartnerNotActive
from models.log_lines import name_from_here
from models.statuses import PartnerStatus
from models.tables.administration import AdminKey
from models.tables.partners import ApiKey

Identified = TypeVar("Identified")
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class PartnerRoute(APIRoute):
    """A route for which a partner's key is needed."""

    def get_route_handler(self) -> Handler:
        return _behind(admitted_partner, super().get_route_handler())


class AdminRoute(APIRoute):
    """A route for which an administrator's key is needed."""

    def get_route_handler(self) -> Handler:
        return _behind(admitted_administrator, super().get_route_handler())


class PublicRoute(APIRoute):
    """A route without a key: only its rate is limited, by address."""

    def get_route_handler(self) -> Handler:
        return _behind(_admit_public, super().get_route_handler())


def _behind(admit: Callable[[Request], Awaitable[object]], handle: Handler) -> Handler:
    async def admit_and_handle(request: Request) -> Response:
        name_from_here(route=request.scope["route"].path)
        await admit(request)
        return await handle(request)

    return admit_and_handle


async def admitted_partner(request: Request) -> Caller:
    """The partner whose request this is, which counts once. Raises Unauthenticated, AddressNotAllowed, RateLimited, PartnerNotActive."""
    known: Caller | None = getattr(request.state, "caller", None)
    if known is None:
        known = request.state.caller = await _admit_partner(request)
    return known


async def admitted_administrator(request: Request) -> AdminCaller:
    """The administrator whose request this is, which counts once. Raises Unauthenticated or RateLimited."""
    known: AdminCaller | None = getattr(request.state, "administrator", None)
    if known is None:
        known = request.state.administrator = await _admit_administrator(request)
    return known


async def _admit_partner(request: Request) -> Caller:
    resources: Resources = request.app.state.resources
    known = await _authenticated(request, identify_partner)
    name_from_here(partner_id=known.caller.partner_id)
    resources.last_used.note(ApiKey, known.caller.api_key_id)
    await _within(request, f"key:{known.caller.api_key_id}", known.requests_per_minute)
    if known.status is not PartnerStatus.ACTIVE:
        raise PartnerNotActive(known.status)
    return known.caller


async def _admit_administrator(request: Request) -> AdminCaller:
    resources: Resources = request.app.state.resources
    caller = await _authenticated(request, identify_administrator)
    resources.last_used.note(AdminKey, caller.admin_key_id)
    limit = resources.settings.admin_requests_per_minute
    await _within(request, f"admin-key:{caller.admin_key_id}", limit)
    return caller


async def _admit_public(request: Request) -> None:
    resources: Resources = request.app.state.resources
    place = counted_as(request.state.who.address)
    await _within(request, f"address:{place}", resources.settings.public_requests_per_minute)


async def _authenticated(
    request: Request, identify: Callable[[Request, Resources], Awaitable[Identified]]
) -> Identified:
    """Who asks. Failures count for the address, and past the limit a key is refused before it is looked at (api/failures.py)."""
    resources: Resources = request.app.state.resources
    failures = Failures.of(resources, request.state.who, credentials(request))
    refused = failures.refused()
    if refused is not None:
        _refuse(request, refused)
    try:
        found = await identify(request, resources)
    except (AddressNotAllowed, Unauthenticated):
        _pass(request, await failures.add())
        raise
    failures.none()
    return found


async def _within(request: Request, place: str, limit: int) -> None:
    """Counts one request, and says on its answer what is left. Raises RateLimited."""
    resources: Resources = request.app.state.resources
    _pass(request, await resources.limiter.take(place, limit))


def _pass(request: Request, taken: Taken) -> None:
    if not taken.accepted:
        _refuse(request, taken)
    _say(request, taken)


def _refuse(request: Request, taken: Taken) -> None:
    _say(request, taken)
    raise RateLimited(taken.limit, taken.frees_in_seconds)


def _say(request: Request, taken: Taken) -> None:
    request.state.answer_headers[:] = rate_headers(taken)
