"""What the request log keeps of a call: its columns, taken from the request, its route and its answer, without secrets.

Everything here was sent by a stranger, so each text is made fit for PostgreSQL, cut at a size, and rid of keys.
"""

import json
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_plus

from starlette.types import Message, Receive, Scope

from api.fields import ADDRESS, MAX_UINT256, UINT256
from api.trace import Trace
from api.who import Who
from chain.codec import checksum
from models.ids import new_id
from models.redaction import GONE, is_telling, redacted, redacted_json

BODY_BYTES = 8 * 1024
"""The most that is kept of a body."""
TEXT_LENGTH = 512
"""The most that is kept of any other text, in characters."""
_SECRET_LENGTH = 38
_MICROSECOND = 1_000

Row = dict[str, Any]


class Call:
    """One request and its answer, as they pass by."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self.began = time.perf_counter_ns()
        self.duration_us = 0
        self.status = 0
        self.body_received = bytearray()
        self.body_sent = b""
        self._receive = receive

    async def receive(self) -> Message:
        message = await self._receive()
        self.body_received += message.get("body", b"")
        return message

    def answered(self, start: Message) -> None:
        self.status = start["status"]
        self.duration_us = (time.perf_counter_ns() - self.began) // _MICROSECOND

    @property
    def who(self) -> Who:
        who: Who = self.scope["state"]["who"]
        return who

    @property
    def trace_id(self) -> str:
        trace: Trace = self.scope["state"]["trace"]
        return trace.id


def row_of(call: Call) -> Row:
    """The columns of ``request_log``; the time is the database's own."""
    scope, who, text = call.scope, call.who, _Texts(bearer_of(call.scope))
    sent, answered = _members(bytes(call.body_received)), _members(call.body_sent)
    found = (scope.get("path_params") or {}, answered, sent)
    return {
        "id": new_id("req"),
        "partner_id": who.partner_id,
        "administrator_id": who.administrator_id,
        "api_key_id": who.api_key_id or who.admin_key_id,
        "key_prefix": text.short(who.key_prefix),
        "method": text.short(scope["method"]),
        "route": text.short(_route(scope)),
        "path": text.short(scope["path"]),
        "query": text.query(scope["query_string"].decode("latin-1")),
        "status": call.status,
        "code": text.short(answered.get("code")),
        "duration_us": call.duration_us,
        "address": who.address,
        "user_agent": text.short(_header(scope, b"user-agent")),
        "request_body": text.body(bytes(call.body_received)),
        "response_body": text.body(call.body_sent),
        "idempotency_key": text.short(_header(scope, b"idempotency-key")),
        "operation_id": text.short(_first("operation_id", found)),
        "loan_id": text.short(_first("loan_id", found)),
        "partner_loan_id": text.short(_first("partner_loan_id", found)),
        "user_wallet": _wallet(_first("user_wallet", found)),
        "oaid_token_id": _number(_first("oaid_token_id", found)),
        "trace_id": call.trace_id,
    }


def bearer_of(scope: Scope) -> str:
    """What the caller sent as its key, whatever it is; empty where it sent none."""
    scheme, _, credentials = (_header(scope, b"authorization") or "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else ""


class _Texts:
    """Makes texts fit to be kept. The secret of this very call is taken out in whatever form it is found again."""

    def __init__(self, bearer: str) -> None:
        self._own = bearer[-_SECRET_LENGTH:] if len(bearer) >= _SECRET_LENGTH else None

    def short(self, value: object) -> str | None:
        if not isinstance(value, str):
            return None
        return self._clean(redacted(value[: 2 * TEXT_LENGTH]))[:TEXT_LENGTH]

    def query(self, query: str) -> str | None:
        """As it was sent, unless it holds a secret: then as it reads, without."""
        if not query:
            return None
        shown = "&".join(map(_parameter, query[: 2 * TEXT_LENGTH].split("&")))
        return self._clean(shown)[:TEXT_LENGTH]

    def body(self, body: bytes) -> str | None:
        """Cut before it is redacted, which bounds the work; what a cut leaves of a secret is still seen to be one."""
        if not body:
            return None
        shown = self._clean(redacted_json(body[:BODY_BYTES].decode(errors="replace")))
        return shown if len(body) <= BODY_BYTES else f"{shown}{GONE} (cut: {len(body)} bytes in all)"

    def _clean(self, text: str) -> str:
        """PostgreSQL keeps neither NUL nor half of a surrogate pair."""
        if self._own is not None:
            text = text.replace(self._own, GONE)
        return text.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def _parameter(parameter: str) -> str:
    name, equals, _ = parameter.partition("=")
    if equals and is_telling(unquote_plus(name)):
        return f"{redacted(unquote_plus(name))}={GONE}"
    reads = unquote_plus(parameter)
    shown = redacted(reads)
    return parameter if shown == reads else shown


def _route(scope: Scope) -> str:
    """The template, so that calls of one kind are found together."""
    return str(getattr(scope.get("route"), "path", scope["path"]))


def _header(scope: Scope, wanted: bytes) -> str | None:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), None)


def _members(body: bytes) -> Mapping[str, object]:
    """The members of the object that a body is; none where it is anything else."""
    try:
        read = json.loads(body) if body else None
    except (ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}


def _first(name: str, found: tuple[Mapping[str, object], ...]) -> object:
    return next((members[name] for members in found if members.get(name) is not None), None)


def _wallet(value: object) -> str | None:
    """As every other table has it; None where it is no address."""
    return checksum(value.lower()) if isinstance(value, str) and re.fullmatch(ADDRESS, value) else None


def _number(value: object) -> int | None:
    """The id of a credit line; None where it cannot be one."""
    if isinstance(value, bool) or not isinstance(value, int | str) or not re.fullmatch(UINT256, str(value)[:100]):
        return None
    number = int(value)
    return number if number <= MAX_UINT256 else None
