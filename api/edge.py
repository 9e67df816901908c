"""What stands around every request: its trace id, the limit on its body, and the answer when a bug escapes everything else.

From the outside in: ``Edge``, the request log, ``Bugs``, the routes. So the log sees the answer to a bug like any other.

Plain ASGI, since anything heavier would cost each borrow more than the routes themselves do.
"""

from collections.abc import Sequence

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.addresses import Network, client_address
from api.errors import MAX_BODY, InternalError, PayloadTooLarge
from api.problems import api_problem, problem_response
from api.trace import trace_of
from api.who import Who
from models.log_lines import lines_about
from models.redaction import redacted


class Edge:
    def __init__(self, app: ASGIApp, *, problem_base: str, proxies: Sequence[Network] = ()) -> None:
        self._app = Bugs(app, problem_base=problem_base)
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        address = client_address(scope, self._proxies)
        who = Who(address=None if address is None else str(address))
        answer = _Answer(send)
        state = scope.setdefault("state", {})
        trace = trace_of(scope["headers"])
        state.update(trace=trace, who=who, answer_headers=answer.headers)
        with lines_about(trace_id=trace.id):
            await self._app(scope, _limited(scope, receive), answer.send)


class Bugs:
    """Answers where something escapes everything else: inside the request log, and at the edge for a bug of the log itself."""

    def __init__(self, app: ASGIApp, *, problem_base: str) -> None:
        self._app = app
        self._base = problem_base

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send)
        try:
            await self._app(scope, receive, answer.send)
        except Exception:
            trace_id = scope["state"]["trace"].id
            path = redacted(scope["path"])
            structlog.get_logger(__name__).exception("unexpected failure", path=path)
            if answer.started:
                raise
            await problem_response(api_problem(InternalError(), self._base, trace_id))(scope, receive, send)


def _limited(scope: Scope, receive: Receive) -> Receive:
    """``receive``, raising 413 where the body is announced, or turns out, to be too large.

    An HTTPException, since the framework takes anything else that happens while it reads for a body it cannot parse.
    """
    left = MAX_BODY
    announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    too_large = announced.isdigit() and int(announced[:20]) > MAX_BODY

    async def limited() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if too_large or left < 0:
            raise HTTPException(PayloadTooLarge.status)
        return message

    return limited


class _Answer:
    """``headers`` are added to whatever the answer turns out to be: those who stand before the routes write there."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False
        self.headers: list[tuple[bytes, bytes]] = []

    async def send(self, message: Message) -> None:
        self.started = True
        if self.headers and message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *self.headers]}
        await self._send(message)
