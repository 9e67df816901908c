"""Where Prometheus scrapes a process: a thread of its own, on a port of its own, that reads memory and nothing else.

A port that cannot be had costs the metrics of this process and nothing more: an alert misses them, and money goes on.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Thread
from wsgiref.simple_server import WSGIServer

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)

from metrics.catalogue import INFO, Family


def new_registry(service: str) -> CollectorRegistry:
    """A registry of one process, which tells its memory, its time and its name."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    gauge(INFO, registry).labels(service).set(1)
    return registry


def counter(family: Family, registry: CollectorRegistry) -> Counter:
    return Counter(family.name, family.meaning, family.labels, registry=registry)


def gauge(family: Family, registry: CollectorRegistry) -> Gauge:
    return Gauge(family.name, family.meaning, family.labels, registry=registry)


def histogram(family: Family, registry: CollectorRegistry) -> Histogram:
    return Histogram(family.name, family.meaning, family.labels, registry=registry, buckets=family.edges)


@asynccontextmanager
async def served(registry: CollectorRegistry, host: str, port: int | None) -> AsyncIterator[None]:
    """Serves ``/metrics`` until the block ends; nothing where there is no port, or it cannot be had."""
    begun = await _begin(registry, host, port) if port else None
    try:
        yield
    finally:
        if begun is not None:
            await asyncio.to_thread(_end, *begun)


async def _begin(registry: CollectorRegistry, host: str, port: int) -> tuple[WSGIServer, Thread] | None:
    """In a thread, since the standard library asks a name server for the host's full name."""
    try:
        return await asyncio.to_thread(start_http_server, port, host, registry)
    except OSError as error:
        structlog.get_logger(__name__).error("no metrics: the port cannot be had", port=port, error=repr(error))
        return None


def _end(server: WSGIServer, thread: Thread) -> None:
    server.shutdown()
    server.server_close()
    thread.join()
