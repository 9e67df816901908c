"""What can be wrong with a request before any business rule is asked, and with the engine while it answers.

::

    EngineError
    ├── Refused (models/errors.py)    a business rule says no
    ├── NotThere (404)                the same about the thing asked for
    ├── OperationRefused              the same, stored with an operation and told again word for word
    └── ApiProblem
        ├── Unauthenticated (401)     the key: missing, mistyped, of another deployment, unknown, revoked, expired; or
        │                             the signature: missing, wrong, too old
        ├── AddressNotAllowed (403)   the key, from an address that is not on its list
        ├── RateLimited (429)         more requests than the limit lets pass; the same request works later
        ├── BadRequest (4xx)          the request's form: route, method, size, media type, JSON, fields
        ├── InternalError (500)       a bug; only the trace id leaves
        └── Unavailable (503)         something the engine needs is away; the same request works later

Each leaf has a ``code``, the last part of its problem ``type``, and a ``title``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from models.errors import EngineError, RefusalPayload, Refused

MAX_BODY = 64 * 1024
"""Bytes of a request's body; the largest honest request is well under a tenth of it."""


@dataclass(frozen=True, slots=True)
class FieldFault:
    """One thing wrong with one part of a request: ``pointer`` into the body, or the name of a parameter or header."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None
    header: str | None = None


class NotThere(EngineError):
    """A refusal about the very thing that was asked for, and so a 404, while in a larger request it is a broken rule."""

    def __init__(self, refusal: Refused) -> None:
        super().__init__(refusal.detail)
        self.payload = refusal.payload().model_copy(update={"status": 404})


class ApiProblem(EngineError):
    code: ClassVar[str]
    title: ClassVar[str]
    status: ClassVar[int]
    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self, detail: str, *, faults: tuple[FieldFault, ...] = (), figures: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.faults = faults
        self.figures = figures or {}


class OperationRefused(EngineError):
    """A refusal that is part of an operation: a repeat of the request gives the same answer, trace id included."""

    def __init__(self, payload: RefusalPayload, operation_id: str, trace_id: str | None, *, replayed: bool) -> None:
        super().__init__(payload.detail)
        self.payload = payload
        self.operation_id = operation_id
        self.trace_id = trace_id
        self.replayed = replayed


def every_api_problem() -> list[type[ApiProblem]]:
    """All leaves, sorted by code: with ``every_refusal()`` the source of the OpenAPI document and of the problem pages."""
    found: list[type[ApiProblem]] = []
    waiting: list[type[ApiProblem]] = [ApiProblem]
    while waiting:
        kind = waiting.pop()
        waiting.extend(kind.__subclasses__())
        if "code" in vars(kind):
            found.append(kind)
    return sorted(found, key=lambda kind: kind.code)


class Unauthenticated(ApiProblem):
    status = 401
    headers = MappingProxyType({"WWW-Authenticate": "Bearer"})


class ApiKeyMissing(Unauthenticated):
    code = "api_key_missing"
    title = "The API key is missing"

    def __init__(self) -> None:
        super().__init__("Send your API key as 'Authorization: Bearer pk_…'.")


class ApiKeyMalformed(Unauthenticated):
    code = "api_key_malformed"
    title = "The API key is mistyped or incomplete"

    def __init__(self) -> None:
        super().__init__("The key's checksum does not hold, so it was mistyped or cut. Copy it again, whole.")


class ApiKeyWrongMode(Unauthenticated):
    code = "api_key_wrong_mode"
    title = "The API key is for another deployment"

    def __init__(self, key_mode: str, deployment_mode: str) -> None:
        super().__init__(f"This is a {key_mode} key, and this deployment takes {deployment_mode} keys only.")


class ApiKeyUnknown(Unauthenticated):
    code = "api_key_unknown"
    title = "The API key is unknown"

    def __init__(self) -> None:
        super().__init__("This key is well formed, and no partner here has it. It may belong to another deployment.")


class ApiKeyRevoked(Unauthenticated):
    code = "api_key_revoked"
    title = "The API key was revoked or has expired"

    def __init__(self) -> None:
        super().__init__("This key was revoked or has expired. Ask the operator for a new one.")


class SignatureMissing(Unauthenticated):
    code = "signature_missing"
    title = "The request is not signed"

    def __init__(self) -> None:
        super().__init__("Sign the request: send both X-Signature and X-Timestamp, as the guide shows.")


class SignatureInvalid(Unauthenticated):
    code = "signature_invalid"
    title = "The signature does not fit the request"

    def __init__(self) -> None:
        super().__init__(
            "The signature is not that of this method, path with query, Idempotency-Key, timestamp and body under this key's "
            "signing secret."
        )


class SignatureExpired(Unauthenticated):
    code = "signature_expired"
    title = "The signature is too old or from the future"

    def __init__(self, tolerance_seconds: int) -> None:
        super().__init__(
            f"X-Timestamp is more than {tolerance_seconds} seconds from the engine's clock. Sign the request again now."
        )


class AddressNotAllowed(ApiProblem):
    code = "address_not_allowed"
    title = "The API key may not be used from this address"
    status = 403

    def __init__(self, address: str) -> None:
        super().__init__(
            f"The request came from {address}, and this key has a list of networks that the address is not in.",
            figures={"address": address},
        )


class RateLimited(ApiProblem):
    code = "rate_limited"
    title = "Too many requests"
    status = 429

    def __init__(self, limit_per_minute: int, retry_after_seconds: int) -> None:
        super().__init__(
            f"At most {limit_per_minute} such requests are let through in any minute. Try again in "
            f"{retry_after_seconds} second(s), with the same Idempotency-Key.",
            figures={"limit_per_minute": str(limit_per_minute), "retry_after_seconds": str(retry_after_seconds)},
        )
        self.headers = {"Retry-After": str(retry_after_seconds)}


class BadRequest(ApiProblem):
    status = 400


class MalformedJson(BadRequest):
    code = "malformed_json"
    title = "The body is not valid JSON"


class InvalidRequest(BadRequest):
    code = "invalid_request"
    title = "The request is not valid"
    status = 422


class RouteNotFound(BadRequest):
    code = "route_not_found"
    title = "There is no such route"
    status = 404

    def __init__(self, path: str) -> None:
        super().__init__(f"The API has no route '{path}'. GET /openapi.json lists all of them.")


class MethodNotAllowed(BadRequest):
    code = "method_not_allowed"
    title = "The route does not take this method"
    status = 405

    def __init__(self, method: str) -> None:
        super().__init__(f"This route does not take {method}. The Allow header names what it takes.")


class PayloadTooLarge(BadRequest):
    code = "payload_too_large"
    title = "The body is too large"
    status = 413

    def __init__(self) -> None:
        super().__init__(f"A request's body may have at most {MAX_BODY} bytes.")


class UnsupportedMediaType(BadRequest):
    code = "unsupported_media_type"
    title = "The body is not declared as JSON"
    status = 415

    def __init__(self) -> None:
        super().__init__("Send the body as 'Content-Type: application/json'.")


class InternalError(ApiProblem):
    code = "internal_error"
    title = "The engine failed unexpectedly"
    status = 500

    def __init__(self) -> None:
        super().__init__(
            "The engine failed in a way that it should not. Repeating the request with the same Idempotency-Key is safe. "
            "Tell the operator the trace_id."
        )


class Unavailable(ApiProblem):
    status = 503
    headers = MappingProxyType({"Retry-After": "5"})


class DatabaseUnavailable(Unavailable):
    code = "database_unavailable"
    title = "The engine's database does not answer"

    def __init__(self) -> None:
        super().__init__("The database does not answer now. Repeat the same request, with the same Idempotency-Key.")


class ReadTooSlow(Unavailable):
    code = "read_too_slow"
    title = "The question takes too long to answer"

    def __init__(self) -> None:
        super().__init__(
            "The answer was not found in time. Ask for a shorter time or with fewer filters, or repeat the request later; requests "
            "that move money are not concerned."
        )


class WorkflowsUnavailable(Unavailable):
    code = "workflows_unavailable"
    title = "The engine's workflows cannot be reached"

    def __init__(self) -> None:
        super().__init__(
            "The request is recorded, and it is not known to have started. Repeat it unchanged, with the same "
            "Idempotency-Key: however often it is repeated, it moves money once."
        )


class ChainUnavailable(Unavailable):
    code = "chain_unavailable"
    title = "The chain cannot be read"

    def __init__(self) -> None:
        super().__init__("The node of the chain does not answer now. Repeat the request later.")


class WebhooksNotConfigured(Unavailable):
    code = "webhooks_not_configured"
    title = "This deployment cannot keep webhook secrets"

    def __init__(self) -> None:
        super().__init__(
            "The operator has set no sealing key, so no secret can be kept. Read GET /v1/events meanwhile."
        )


class NotReady(Unavailable):
    code = "not_ready"
    title = "Something that the engine needs is away"

    def __init__(self, checks: dict[str, str]) -> None:
        away = ", ".join(sorted(name for name, state in checks.items() if state != "ok"))
        super().__init__(f"Not ready: {away}.", figures=checks)
