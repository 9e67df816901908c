"""Counts the API's requests and their durations. Plain ASGI, around everything else, so that no answer is missed.

Labels come from the engine's own words alone: a path that is no route, or a method that nobody uses, has one name for all.
"""

from time import perf_counter_ns

from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metrics.catalogue import HTTP_REQUESTS, HTTP_SECONDS
from metrics.endpoint import counter, histogram

_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_OTHER = "other"
_NANOSECONDS = 1_000_000_000
_NO_ANSWER = "none"
"""In place of a class of statuses: the client went away, or the process stopped, before the answer began."""


class CountedRequests:
    def __init__(self, app: ASGIApp, *, registry: CollectorRegistry) -> None:
        self._app = app
        self._requests = counter(HTTP_REQUESTS, registry)
        self._seconds = histogram(HTTP_SECONDS, registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = _NO_ANSWER

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = f"{message['status'] // 100}xx"
            await send(message)

        begun = perf_counter_ns()
        try:
            await self._app(scope, receive, noted)
        finally:
            self._count(scope, status, perf_counter_ns() - begun)

    def _count(self, scope: Scope, status: str, nanoseconds: int) -> None:
        route = str(getattr(scope.get("route"), "path", _OTHER))
        method = scope["method"] if scope["method"] in _METHODS else _OTHER
        self._requests.labels(route, method, status).inc()
        self._seconds.labels(route, method).observe(nanoseconds / _NANOSECONDS)
