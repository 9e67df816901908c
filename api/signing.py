"""Signed requests: whoever has only the key, and not its signing secret, can do nothing with a key that must sign.

What is signed is ``signed_text``; it is documented there, and ``sign`` is what partners, the docs and the tests all do.
A request that is sent again within the tolerance passes again, word for word: its Idempotency-Key is signed as well. So one
that moves money, or that hands in a grant, is the same operation with the same answer, and a read only reads. What has no
such key is done again: a signed change of a webhook endpoint (its URL, its secret, a ping) can be repeated for five minutes.
"""

import hashlib
import hmac
import secrets
import time
from urllib.parse import quote

from fastapi import Request

from api.errors import SignatureExpired, SignatureInvalid, SignatureMissing

SIGNATURE, TIMESTAMP = "X-Signature", "X-Timestamp"
IDEMPOTENCY_KEY = "Idempotency-Key"
VERSION = "v1"
TOLERANCE_SECONDS = 300
"""How far the timestamp may be from the engine's clock, either way."""
_SECRET_BYTES = 32
_LONGEST_TIMESTAMP = 12


def new_signing_secret() -> str:
    """256 random bits, as text: the text itself is the HMAC's key."""
    return f"ss_{secrets.token_urlsafe(_SECRET_BYTES)}"


def signed_text(method: str, target: str, idempotency_key: str, timestamp: int, body: bytes) -> bytes:
    """What the signature is over: six lines, joined by a line feed, without one at the end.

    ::

        v1
        POST                                  the method, in capitals
        /v1/loans?status=ACTIVE               path and query exactly as they stand in the request line
        repay-2026-000042                     the value of Idempotency-Key; an empty line where it is not sent
        1767225600                            the value of X-Timestamp
        9f86d081884c7d659a2feaa0c55ad015…     SHA-256 of the body's bytes in hex, also where the body is empty
    """
    digest = hashlib.sha256(body).hexdigest()
    return "\n".join((VERSION, method.upper(), target, idempotency_key, str(timestamp), digest)).encode()


def sign(
    secret: str,
    *,
    method: str,
    target: str,
    idempotency_key: str = "",
    body: bytes = b"",
    timestamp: int | None = None,
) -> dict[str, str]:
    """The two headers that prove a request. ``target`` is its path with the query, ``timestamp`` in Unix seconds, now by default.

    ``idempotency_key`` is that of the header, empty where none is sent.
    """
    moment = int(time.time()) if timestamp is None else timestamp
    text = signed_text(method, target, idempotency_key, moment, body)
    mac = hmac.new(secret.encode(), text, hashlib.sha256)
    return {SIGNATURE: f"{VERSION}={mac.hexdigest()}", TIMESTAMP: str(moment)}


def claims_signature(request: Request) -> bool:
    return SIGNATURE in request.headers or TIMESTAMP in request.headers


async def check_signature(request: Request, secret: str | None) -> None:
    """Reads the body, which the framework then finds where it was kept. ``secret`` is None where the key has none.

    Raises SignatureMissing, SignatureInvalid, or SignatureExpired, the last only for a signature that is otherwise good.
    """
    signature, timestamp = request.headers.get(SIGNATURE), request.headers.get(TIMESTAMP)
    if signature is None or timestamp is None:
        raise SignatureMissing
    moment = _moment(timestamp)
    if secret is None or moment is None:
        raise SignatureInvalid
    wanted = sign(
        secret,
        method=request.method,
        target=_target(request),
        idempotency_key=_idempotency_key(request),
        body=await request.body(),
        timestamp=moment,
    )
    if not hmac.compare_digest(wanted[SIGNATURE].encode(), signature.strip().encode()):
        raise SignatureInvalid
    if abs(int(time.time()) - moment) > TOLERANCE_SECONDS:
        raise SignatureExpired(TOLERANCE_SECONDS)


def _moment(timestamp: str) -> int | None:
    fits = timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _LONGEST_TIMESTAMP
    return int(timestamp) if fits else None


def _idempotency_key(request: Request) -> str:
    """All of them, where several are sent: whichever of them counts, it is not the one that was signed alone."""
    return ",".join(request.headers.getlist(IDEMPOTENCY_KEY))


def _target(request: Request) -> str:
    raw: bytes | None = request.scope.get("raw_path")
    path = quote(request.scope["path"]) if raw is None else raw.partition(b"?")[0].decode("latin-1")
    query: bytes = request.scope["query_string"]
    return f"{path}?{query.decode('latin-1')}" if query else path
