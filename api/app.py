"""The API process: one builder that wires everything, and ``main()``. ``python -m api.app --host 0.0.0.0 --port 8000``."""

import argparse
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from types import FrameType
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI

from api.addresses import networks
from api.docs import document
from api.edge import Bugs, Edge
from api.limiter import Limiter
from api.problems import ProblemHandlers
from api.request_log import RequestLogging
from api.resources import Resources, open_resources
from api.routes import (
    admin_administrators,
    admin_grants,
    admin_keys,
    admin_partners,
    admin_requests,
    admin_webhooks,
    analytics,
    chain,
    events,
    grants,
    health,
    loan_reads,
    loans,
    me,
    operations,
    requests,
    webhook_endpoints,
)
from metrics.catalogue import RATE_LIMITS_LOCAL
from metrics.endpoint import gauge, new_registry, served
from metrics.requests import CountedRequests
from settings import Settings
from startup import SettingAtFault, read_settings
from telemetry import Tracing, configure_logging

RECURSION_LIMIT = 1_000
"""Python's own. A library raises it to 100,000 on import, at which brackets nested in one body overflow the stack and kill the process."""
GRACE_SECONDS = 10
"""What a stopping server gives to requests in flight; long polls are let go at once."""

_DESCRIPTION = (
    "Borrow and repay USDC on behalf of users whose collateral backs an OAID credit line. Amounts are strings of base units "
    '(`"5000000000"` is 5,000 USDC), times RFC 3339 in UTC. Errors are RFC 9457 problems.'
)
_TAGS = [
    {"name": "loans", "description": "Borrow, repay, and what is owed"},
    {"name": "operations", "description": "Where a request that moves money stands"},
    {"name": "grants", "description": "Users' consent that this partner may borrow on their lines"},
    {"name": "me", "description": "The partner itself: what it may do, and what it has done"},
    {"name": "requests", "description": "The log of what was asked and answered"},
    {"name": "events", "description": "What has happened, to be read on from where one was"},
    {"name": "webhooks", "description": "Where events are sent to, signed as Standard Webhooks says"},
    {"name": "chain", "description": "Public reads of the chain"},
    {"name": "health", "description": "For load balancers"},
    {"name": "admin", "description": "For administrators: partners, their keys and grants, and who changed what"},
    {"name": "analytics", "description": "For administrators: figures over time"},
]

ROUTES = (
    loans,
    loan_reads,
    operations,
    grants,
    me,
    requests,
    events,
    webhook_endpoints,
    chain,
    health,
    admin_partners,
    admin_keys,
    admin_grants,
    admin_administrators,
    admin_requests,
    admin_webhooks,
    analytics,
)
"""In the order of the document."""

OpenResources = Callable[[Settings, AsyncExitStack, Tracing], Awaitable[Resources]]


def create_app(settings: Settings, *, resources: OpenResources = open_resources) -> FastAPI:
    """The application. ``resources`` is the seam for tests; it is called when the application starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.callback(tracing.close)
            app.state.resources = await resources(settings, stack, tracing)
            if registry is not None:
                limiter: Limiter = app.state.resources.limiter
                gauge(RATE_LIMITS_LOCAL, registry).set_function(lambda: limiter.away)
                await stack.enter_async_context(served(registry, settings.metrics_host, settings.metrics_port))
            yield

    sys.setrecursionlimit(RECURSION_LIMIT)
    tracing = Tracing("api", settings)
    registry = new_registry("api") if settings.metrics_port else None
    app = _Documented(
        title="Loan engine",
        version="1",
        summary="USDC is never lost and never moved twice.",
        description=_DESCRIPTION,
        openapi_tags=_TAGS,
        servers=[
            {"url": "/", "description": "where this document is from"},
            {"url": settings.public_url, "description": "from anywhere"},
        ],
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.problem_base = settings.problem_base
    app.add_middleware(Bugs, problem_base=settings.problem_base)  # from the inside out
    app.add_middleware(RequestLogging, problem_base=settings.problem_base)
    app.add_middleware(Edge, problem_base=settings.problem_base, proxies=networks(settings.trusted_proxies))
    if registry is not None:
        app.add_middleware(CountedRequests, registry=registry)
    ProblemHandlers(settings.problem_base).install(app)
    for routes in ROUTES:
        app.include_router(routes.router)
    tracing.watch_app(app)
    return app


class _Documented(FastAPI):
    def openapi(self) -> dict[str, Any]:
        return document(self, self.state.problem_base)


class _Server(uvicorn.Server):
    """Lets long polls go as soon as it is told to stop, rather than make the stop wait for them."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        resources: Resources | None = getattr(self._app.state, "resources", None)
        if resources is not None:
            resources.watch.close()
        super().handle_exit(sig, frame)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until it is told to stop. Exit status 2 where a setting is missing or malformed, and its name in the log."""
    parser = argparse.ArgumentParser(prog="python -m api.app", description="The REST API of the loan engine.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    asked = parser.parse_args(arguments)
    configure_logging("api")
    try:
        settings = settings_for(asked.port)
    except SettingAtFault as fault:
        structlog.get_logger().error("cannot start", setting=fault.setting, problem=fault.problem)
        return 2
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=asked.host,
        port=asked.port,
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # it would believe X-Forwarded-For of any peer on this machine; api/addresses.py reads it
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    _Server(config, app).run()
    return 0


def settings_for(port: int) -> Settings:
    """Raises SettingAtFault where one is wrong, or would have metrics served where partners are."""
    settings = read_settings(Settings)
    for name in ("metrics_port", "temporal_metrics_port"):
        if getattr(settings, name) == port:
            raise SettingAtFault(name.upper(), "it is the port of the API itself")
    return settings


if __name__ == "__main__":
    sys.exit(main())
