"""One request to a URL that a partner chose, which is hostile input: the only place from where the engine sends to partners.

The name is resolved once, every address that it has must be allowed, and the connection goes to those very addresses, with
the name in SNI and Host. So a DNS answer that changes afterwards matters to nobody. Nothing is followed, no proxy is asked,
little is read, and all of it ends in time, however slowly the other side speaks.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from time import perf_counter_ns
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from activities.webhooks.urls import Target, UrlRules
from models.errors import WebhookUrlRefused

WHOLE: Final = timedelta(seconds=15)
"""For everything: the name, the connection, the request, and the answer's headers."""
FOR_BODY: Final = timedelta(seconds=2)
"""How long the first bytes of a body are waited for. By then the status, which decides, is known."""
_TO_CLOSE: Final = timedelta(milliseconds=200)
KEPT: Final = 1024
"""Bytes of an answer's body that are read, and shown to the partner."""
_MAX_LINE, _MAX_HEADERS = 8190, 128
_RESOLVERS: Final = 200
"""Threads that wait for name servers, of which some answer slowly on purpose; a thread that waits costs next to nothing."""
_FIRST_SUCCESS, _FIRST_REDIRECT = 200, 300

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""All addresses of a name. Raises OSError where it has none."""
OpenSocket = Callable[[Any], socket.socket]
"""Makes the socket for an address that was found allowed; the seam at which tests see what is connected to."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one request. ``status`` is None where no answer came, and then ``error`` says why, without the body's text."""

    latency: timedelta
    status: int | None = None
    body: bytes = b""
    error: str | None = None

    @property
    def succeeded(self) -> bool:
        return self.status is not None and _FIRST_SUCCESS <= self.status < _FIRST_REDIRECT


class Transport:
    """Sends, as an asynchronous context manager. ``tls`` is for tests; its default verifies the host's name."""

    def __init__(
        self,
        rules: UrlRules,
        *,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve | None = None,
        open_socket: OpenSocket | None = None,
        whole: timedelta = WHOLE,
    ) -> None:
        self._rules = rules
        self._tls = tls or ssl.create_default_context()
        self._threads = ThreadPoolExecutor(_RESOLVERS, thread_name_prefix="webhook-dns")
        self._resolve = resolve or self._look_up
        self._open_socket = open_socket or _open_socket
        self._whole = whole

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Never raises for what the other side does, nor for a URL that is refused: the answer says what came of it."""
        began = perf_counter_ns()
        try:
            async with asyncio.timeout(self._whole.total_seconds()) as limit:
                status, start = await self._post(self._rules.check(url), body, headers, limit)
        except WebhookUrlRefused as refused:
            return Answer(_since(began), error=f"the URL was refused: {refused.reason}")
        except TimeoutError:
            return Answer(_since(began), error=f"no answer within {self._whole.total_seconds():g} seconds")
        except (aiohttp.ClientError, OSError, ValueError) as failed:
            return Answer(_since(began), error=_in_words(failed))
        error = "redirects are not followed" if _is_redirect(status) else None
        return Answer(_since(began), status, start, error)

    async def _post(
        self, target: Target, body: bytes, headers: Mapping[str, str], limit: asyncio.Timeout
    ) -> tuple[int, bytes]:
        addresses = await self._allowed(target)
        connector = aiohttp.TCPConnector(
            resolver=_Pinned(target, addresses),
            use_dns_cache=False,
            ssl=self._tls,
            force_close=True,
            socket_factory=_only(addresses, self._open_socket),
        )
        async with (
            aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None),
                max_line_size=_MAX_LINE,
                max_field_size=_MAX_LINE,
                max_headers=_MAX_HEADERS,
                read_bufsize=KEPT,
            ) as session,
            session.post(target.url, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            try:
                return answer.status, await _start_of(answer.content, limit)
            finally:
                answer.close()  # the rest, which may be endless, is not read

    async def _allowed(self, target: Target) -> frozenset[str]:
        """Every address of the target. Raises WebhookUrlRefused where one of them is not allowed, or there is none."""
        found = [target.host] if target.is_address else await self._resolve(target.host, target.port)
        for address in found:
            if (why := self._rules.addresses.refusal(address)) is not None:
                raise WebhookUrlRefused(f"its name leads to an address that is {why}")
        if not found:
            raise WebhookUrlRefused("its name has no address")
        return frozenset(found)

    async def _look_up(self, host: str, port: int) -> Sequence[str]:
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        )
        return list(dict.fromkeys(str(address[0]) for *_, address in found))


class _Pinned(AbstractResolver):
    """Resolves one name, to what it was found to be."""

    def __init__(self, target: Target, addresses: frozenset[str]) -> None:
        self._target = target
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        del family
        if host != self._target.host:
            raise OSError(f"{host} is not what was asked for")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in sorted(self._addresses)
        ]

    async def close(self) -> None:
        """Nothing is held."""


def _only(addresses: frozenset[str], open_socket: OpenSocket) -> OpenSocket:
    """Whatever a library makes of a URL: no socket is made for an address that was not found allowed."""

    def open_allowed(info: Any) -> socket.socket:
        address = str(info[4][0])
        if address not in addresses:
            raise OSError(f"{address} is not an address that was checked")
        return open_socket(info)

    return open_allowed


def _open_socket(info: Any) -> socket.socket:
    family, kind, protocol, *_ = info
    return socket.socket(family, kind, protocol)


async def _start_of(content: aiohttp.StreamReader, limit: asyncio.Timeout) -> bytes:
    """What comes of the body in time, at most the bytes that are kept; that it breaks off changes nothing.

    It ends before the whole attempt would: a status that came in time is not lost to a body that did not.
    """
    start, now = b"", asyncio.get_running_loop().time()
    left = (limit.when() or now) - now - _TO_CLOSE.total_seconds()
    with suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(min(left, FOR_BODY.total_seconds())):
            while len(start) < KEPT and (more := await content.read(KEPT - len(start))):
                start += more
    return start


def _is_redirect(status: int) -> bool:
    return _FIRST_REDIRECT <= status < 400  # noqa: PLR2004 - the class of redirects


def _since(began: int) -> timedelta:
    return timedelta(microseconds=(perf_counter_ns() - began) // 1000)


def _in_words(failed: Exception) -> str:
    """What a partner's engineer can act on, of the error that came first."""
    cause: BaseException = failed
    if isinstance(failed, aiohttp.ClientConnectorCertificateError):
        return f"the certificate does not hold: {failed.certificate_error}"[:300]
    if isinstance(failed, aiohttp.ClientConnectorError):
        cause = failed.os_error
    if isinstance(cause, socket.gaierror):
        return "the name cannot be resolved"
    if isinstance(cause, ssl.SSLError):
        return f"TLS failed: {cause.reason or cause}"[:300]
    if isinstance(cause, OSError) and cause.strerror:
        return f"no connection: {cause.strerror}"[:300]
    if isinstance(cause, aiohttp.ServerDisconnectedError):
        return "the connection was closed before an answer came"
    return f"no valid answer ({type(cause).__name__})"
