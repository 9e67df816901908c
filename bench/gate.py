"""Bench 6: what each layer before a route adds to one request: who asks, how often, and the log row of what was answered.

Timed inside the application, one request at a time, so that a figure is of the layer alone: two stamps around the request
log, which the list of the application's middleware lets in, and one around the limiter, which is one of its resources.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import cycle, islice
from time import perf_counter_ns

import httpx
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.app import create_app
from api.limiter import Limiter
from api.request_log import RequestLogging
from api.resources import Resources, open_resources
from api.windows import Taken, ValkeyWindows
from bench.grown import Grown
from bench.measures import milliseconds, percentile
from bench.report import Figure, Report
from models.tables.session import Transaction
from settings import ENV_PREFIX, Settings
from telemetry import Tracing

WARM_UP = 100
OUTER, INNER = "outer", "inner"


@dataclass
class Stamps:
    """Of the request under way, in nanoseconds: when it passed, and how long each part took."""

    entered: dict[str, int] = field(default_factory=dict)
    took: dict[str, int] = field(default_factory=dict)
    asked: int = 0
    counting: int = 0

    @property
    def log(self) -> int:
        """The commit of its row is in it: the log does it while the route's answer is being sent."""
        return self.took[OUTER] - self.took[INNER]

    @property
    def authentication(self) -> int:
        """From the log to the limiter: the way to the route, and whose key it is."""
        return self.asked - self.entered[INNER]

    @property
    def rest(self) -> int:
        return self.took[INNER] - self.authentication - self.counting


class Around:
    """Stamps a request on its way in and out. What it takes to send the answer belongs to those outside."""

    def __init__(self, app: ASGIApp, *, name: str, stamps: Stamps) -> None:
        self._app = app
        self._name = name
        self._stamps = stamps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = 0

        async def timed(message: Message) -> None:
            nonlocal sending
            began = perf_counter_ns()
            await send(message)
            sending += perf_counter_ns() - began

        began = self._stamps.entered[self._name] = perf_counter_ns()
        await self._app(scope, receive, timed)
        self._stamps.took[self._name] = perf_counter_ns() - began - sending


class TimedLimiter(Limiter):
    def __init__(self, shared: ValkeyWindows, transaction: Transaction, stamps: Stamps) -> None:
        super().__init__(shared, transaction)
        self._stamps = stamps

    async def take(self, key: str, limit: int) -> Taken:
        self._stamps.asked = perf_counter_ns()
        taken = await super().take(key, limit)
        self._stamps.counting = perf_counter_ns() - self._stamps.asked
        return taken


async def gate(grown: Grown, number: int, report: Report) -> None:
    report.heading(f"6. What each layer adds to GET /v1/loans/{{partner_loan_id}}: {number} requests, one at a time")
    report.note(
        "In one process without a socket, with PostgreSQL and Valkey a socket away. Authentication is one query, with the way\n"
        "to the route; the rate limit one call of Valkey; the request log one row, committed before the answer leaves."
    )
    layers: dict[str, list[int]] = {"authentication": [], "rate limit": [], "request log": [], "the route itself": []}
    stamps = Stamps()
    async with _served(grown, stamps) as http:
        for counted, name in enumerate(islice(cycle(grown.reader_loans()), WARM_UP + number)):
            answer = await http.get(f"/v1/loans/{name}", headers=grown.headers)
            assert answer.status_code == httpx.codes.OK, answer.text
            if counted >= WARM_UP:
                parts = (stamps.authentication, stamps.counting, stamps.log, stamps.rest)
                for layer, took in zip(layers.values(), parts, strict=True):
                    layer.append(took)
    report.figures([_figure(name, took) for name, took in layers.items()])


def _figure(name: str, took: Sequence[int]) -> Figure:
    p50, p99 = (milliseconds(percentile(took, percent)) for percent in (50, 99))
    return Figure(name, f"p50 {p50}, p99 {p99}")


@asynccontextmanager
async def _served(grown: Grown, stamps: Stamps) -> AsyncIterator[httpx.AsyncClient]:
    named = grown.config.variables("http://engine")
    settings = Settings.model_validate({name.removeprefix(ENV_PREFIX).lower(): value for name, value in named.items()})

    async def timed_resources(configured: Settings, stack: AsyncExitStack, tracing: Tracing) -> Resources:
        resources = await open_resources(configured, stack, tracing)
        assert configured.rate_limit_url is not None
        shared = ValkeyWindows(configured.rate_limit_url.get_secret_value())
        limiter = TimedLimiter(shared, resources.transaction, stamps)
        limiter.open()
        stack.push_async_callback(limiter.aclose)
        return replace(resources, limiter=limiter)

    app = create_app(settings, resources=timed_resources)
    _stamp(app, stamps)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://engine", timeout=60) as client,
    ):
        yield client


def _stamp(app: FastAPI, stamps: Stamps) -> None:
    """The list is from the outside in."""
    layers: list[object] = [layer.cls for layer in app.user_middleware]
    place = layers.index(RequestLogging)
    app.user_middleware.insert(place + 1, Middleware(Around, name=INNER, stamps=stamps))
    app.user_middleware.insert(place, Middleware(Around, name=OUTER, stamps=stamps))
