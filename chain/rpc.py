"""JSON-RPC over HTTP: one request is sent once, and every way of not getting an answer has one name.

web3.py's provider forms and encodes the requests. Three of its habits are replaced. It repeats a request up to five
times, which would send a transaction twice. It opens a connection for each request. And it takes a thread lock on the
way, which a cancelled task can leave locked for good.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout
from eth_typing import URI
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from web3 import AsyncHTTPProvider
from web3.types import RPCEndpoint

from chain.errors import MalformedAnswer, RpcError, RpcUnavailable

JSON = {"Content-Type": "application/json"}
DEFAULT_TIMEOUT = timedelta(seconds=10)
DEFAULT_MAX_BATCH = 100
_OVERLOADED = frozenset({429, -32005})
"""Codes with which a node says inside a good HTTP answer that it did not serve the request."""

_TRACER = trace.get_tracer(__name__)

RpcRequest = tuple[str, Sequence[object]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a node said to one request of a batch."""

    result: Any = None
    error: RpcError | None = None

    def value(self) -> Any:
        """The result. Raises RpcUnavailable where the node was too busy, else the node's RpcError."""
        if self.error is None:
            return self.result
        if self.error.code in _OVERLOADED:
            raise RpcUnavailable(str(self.error))
        raise self.error


class JsonRpc:
    """A node behind a URL. `requests_sent` counts HTTP requests, a batch as one."""

    def __init__(self, url: str, *, timeout: timedelta = DEFAULT_TIMEOUT, max_batch: int = DEFAULT_MAX_BATCH) -> None:
        self.max_batch = max_batch
        self.requests_sent = 0
        self._url = url
        self._timeout = ClientTimeout(total=timeout.total_seconds())
        self._provider = AsyncHTTPProvider(URI(url), exception_retry_configuration=None)
        self._session: ClientSession | None = None

    async def call(self, method: str, *params: object) -> Any:
        """The result of one request. Raises RpcUnavailable or RpcError."""
        (answer,) = await self.batch([(method, params)])
        return answer.value()

    async def batch(self, requests: Sequence[RpcRequest]) -> list[Answer]:
        """The answers in the order of the requests, in as few HTTP requests as the node's batch limit allows.

        Raises RpcUnavailable where any of these HTTP requests got no usable answer.
        """
        answers: list[Answer] = []
        for start in range(0, len(requests), self.max_batch):
            answers += await self._batch_once(requests[start : start + self.max_batch])
        return answers

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _batch_once(self, requests: Sequence[RpcRequest]) -> list[Answer]:
        forms = [self._provider.form_request(RPCEndpoint(method), params) for method, params in requests]
        # The node's URL often holds a key, and the parameters what was signed: the span names the methods alone.
        methods = sorted({method for method, _ in requests})
        with _TRACER.start_as_current_span(" ".join(methods), kind=SpanKind.CLIENT) as span:
            span.set_attributes({"rpc.system": "jsonrpc", "rpc.method": methods, "rpc.requests": len(requests)})
            body = await self._post(self._provider.encode_batch_request_dicts(forms))
        by_id = _answers_by_id(_parse(body))
        missing = [form["id"] for form in forms if form["id"] not in by_id]
        if missing:
            raise MalformedAnswer(f"the node left {len(missing)} of {len(forms)} requests of a batch unanswered")
        return [by_id[form["id"]] for form in forms]

    async def _post(self, body: bytes) -> bytes:
        self.requests_sent += 1
        try:
            async with self._open_session().post(self._url, data=body, headers=JSON, allow_redirects=False) as response:
                content = await response.read()
        except (ClientError, OSError, TimeoutError) as error:
            raise RpcUnavailable(self._describe(error)) from error
        if response.status != HTTPStatus.OK:
            raise RpcUnavailable(f"HTTP status {response.status}")
        return content

    def _open_session(self) -> ClientSession:
        if self._session is None:
            self._session = ClientSession(timeout=self._timeout)
        return self._session

    def _describe(self, error: Exception) -> str:
        """The error without the URL, which often contains a key."""
        return f"{type(error).__name__}: {error}".replace(self._url, "the node")


def _parse(body: bytes) -> object:
    try:
        content: object = json.loads(body)
    except ValueError as error:
        raise MalformedAnswer(f"not JSON: {body[:80]!r}") from error
    return content


def _answers_by_id(content: object) -> dict[object, Answer]:
    if isinstance(content, Mapping):
        # One object for a whole batch: the node refused it as such, so nothing is known of its parts.
        raise RpcUnavailable(f"the node refused the batch: {content.get('error', content)}")
    if not isinstance(content, list):
        raise MalformedAnswer(f"a batch was answered with {type(content).__name__}")
    return {item["id"]: _answer(item) for item in content if isinstance(item, Mapping) and "id" in item}


def _answer(item: Mapping[str, Any]) -> Answer:
    error = item.get("error")
    if isinstance(error, Mapping):
        code = error.get("code")
        return Answer(
            error=RpcError(code if isinstance(code, int) else 0, str(error.get("message")), error.get("data"))
        )
    if error is not None or "result" not in item:
        raise MalformedAnswer(f"neither result nor error: {dict(item)!r:.200}")
    return Answer(result=item["result"])
