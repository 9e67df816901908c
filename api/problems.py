"""Every error leaves as an RFC 9457 problem, and this is the one place where it becomes one."""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.routing import Match

from api.errors import (
    ApiProblem,
    ChainUnavailable,
    DatabaseUnavailable,
    FieldFault,
    InternalError,
    InvalidRequest,
    MalformedJson,
    MethodNotAllowed,
    NotThere,
    OperationRefused,
    PayloadTooLarge,
    RouteNotFound,
)
from api.trace import Trace
from chain.errors import RpcError, RpcUnavailable
from models.errors import RefusalPayload, Refused
from models.redaction import redacted

PROBLEM_JSON = "application/problem+json"
REPLAYED = "Idempotency-Replayed"
MOST_FAULTS = 20
"""How many faults of one request are told. A body of nothing but unknown members would else come back whole, and longer."""
LONGEST_NAME = 200
"""How much of the path to a part at fault is repeated, in characters."""


class _Terse(BaseModel):
    """Leaves out what it has nothing to say of, wherever it is shown."""

    model_config = ConfigDict(frozen=True)

    @model_serializer(mode="wrap")
    def _said(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialize(self).items() if value is not None}


class ProblemField(_Terse):
    """One thing wrong with one part of the request; exactly one of pointer, parameter and header says which part."""

    detail: str
    pointer: str | None = Field(default=None, description="JSON pointer into the body; empty for the body as a whole")
    parameter: str | None = Field(default=None, description="name of a path or query parameter")
    header: str | None = Field(default=None, description="name of a header")


class Problem(_Terse):
    """An error, as RFC 9457 says, in words that an engineer can act on."""

    type: str = Field(description="a stable URI, one for each code")
    title: str
    status: int
    detail: str
    code: str = Field(description="the last part of the type; stable, for programs to match")
    trace_id: str = Field(pattern="^[0-9a-f]{32}$", description="names this request in the engine's traces")
    operation_id: str | None = Field(default=None, description="the operation that was refused, where there is one")
    errors: list[ProblemField] | None = Field(default=None, description="what is wrong with which part of the request")
    figures: dict[str, str] | None = Field(
        default=None, description="the numbers of the sentence, amounts in base units: what remains, what was asked for"
    )


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Whatever a problem says of the request, such as its path or a field's name, it repeats no key."""
    return Response(
        redacted(problem.model_dump_json()),
        status_code=problem.status,
        media_type=PROBLEM_JSON,
        headers=dict(headers or {}),
    )


def problem_of(payload: RefusalPayload, base: str, trace_id: str, operation_id: str | None = None) -> Problem:
    return Problem(
        type=base + payload.code,
        title=payload.title,
        status=payload.status,
        detail=payload.detail,
        code=payload.code,
        trace_id=trace_id,
        operation_id=operation_id,
        figures=dict(sorted(payload.figures.items())) or None,  # PostgreSQL's jsonb keeps another order than Temporal
    )


def api_problem(error: ApiProblem, base: str, trace_id: str) -> Problem:
    return Problem(
        type=base + error.code,
        title=error.title,
        status=error.status,
        detail=error.detail,
        code=error.code,
        trace_id=trace_id,
        errors=[
            ProblemField(detail=fault.detail, pointer=fault.pointer, parameter=fault.parameter, header=fault.header)
            for fault in error.faults
        ]
        or None,
        figures=error.figures or None,
    )


class ProblemHandlers:
    """Turns exceptions into problems whose types begin with ``base``."""

    def __init__(self, base: str) -> None:
        self._base = base

    def install(self, app: FastAPI) -> None:
        app.exception_handler(ApiProblem)(self.of_api)
        app.exception_handler(Refused)(self.of_refusal)
        app.exception_handler(NotThere)(self.of_not_there)
        app.exception_handler(OperationRefused)(self.of_operation)
        app.exception_handler(RequestValidationError)(self.of_validation)
        app.exception_handler(HTTPException)(self.of_http)
        for database in (OperationalError, InterfaceError, PoolTimeout):
            app.exception_handler(database)(self.of_database)
        for node in (RpcUnavailable, RpcError):
            app.exception_handler(node)(self.of_chain)

    async def of_api(self, request: Request, error: ApiProblem) -> Response:
        return self._answer(request, error)

    async def of_refusal(self, request: Request, error: Refused) -> Response:
        return problem_response(problem_of(error.payload(), self._base, _trace_id(request)))

    async def of_not_there(self, request: Request, error: NotThere) -> Response:
        return problem_response(problem_of(error.payload, self._base, _trace_id(request)))

    async def of_operation(self, request: Request, error: OperationRefused) -> Response:
        trace_id = error.trace_id or _trace_id(request)
        problem = problem_of(error.payload, self._base, trace_id, error.operation_id)
        return problem_response(problem, {REPLAYED: "true"} if error.replayed else None)

    async def of_validation(self, request: Request, error: RequestValidationError) -> Response:
        return self._answer(request, _validation_problem(error.errors()))

    async def of_http(self, request: Request, error: HTTPException) -> Response:
        problem = _http_problem(request, error)
        taken = {"Allow": _methods(request)} if isinstance(problem, MethodNotAllowed) else {}
        return self._answer(request, problem, {**(error.headers or {}), **taken})

    async def of_database(self, request: Request, error: Exception) -> Response:
        structlog.get_logger(__name__).warning("database unavailable", error=str(error))
        return self._answer(request, DatabaseUnavailable())

    async def of_chain(self, request: Request, error: Exception) -> Response:
        structlog.get_logger(__name__).warning("chain unavailable", error=str(error))
        return self._answer(request, ChainUnavailable())

    def _answer(self, request: Request, error: ApiProblem, headers: Mapping[str, str] | None = None) -> Response:
        return problem_response(
            api_problem(error, self._base, _trace_id(request)), {**error.headers, **(headers or {})}
        )


def _trace_id(request: Request) -> str:
    trace: Trace = request.state.trace
    return trace.id


def _methods(request: Request) -> str:
    """What may be done at this path; the framework names the first of its routes only."""
    every = ("GET", "POST", "PUT", "PATCH", "DELETE")
    routes = request.app.routes
    return ", ".join(
        method
        for method in every
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    )


def _http_problem(request: Request, error: HTTPException) -> ApiProblem:
    """What the framework itself refuses: there is no such route, not this method, or a body that cannot be read."""
    if error.status_code == RouteNotFound.status:
        return RouteNotFound(_cut(request.url.path))
    if error.status_code == MethodNotAllowed.status:
        return MethodNotAllowed(request.method)
    if error.status_code == PayloadTooLarge.status:
        return PayloadTooLarge()
    if error.status_code == MalformedJson.status:
        return MalformedJson("The body cannot be read as JSON.")
    return InternalError()


def _validation_problem(errors: Sequence[Any]) -> ApiProblem:
    if len(errors) == 1 and errors[0]["type"] == "json_invalid":
        return MalformedJson(f"The body is not valid JSON at character {errors[0]['loc'][-1]}.")
    faults = tuple(_fault(error) for error in errors[:MOST_FAULTS])
    more = len(errors) - len(faults)
    told = f"see errors, which names the first {MOST_FAULTS} of them" if more else "see errors"
    return InvalidRequest(f"{len(errors)} part(s) of the request are not valid; {told}.", faults=faults)


def _fault(error: Mapping[str, Any]) -> FieldFault:
    where, *path = error["loc"]
    detail = _DETAILS.get(error["type"], error["msg"])
    if where == "body":
        return FieldFault(detail, pointer=_pointer(path))
    name = _cut(".".join(map(str, path)))
    return FieldFault(detail, header=name) if where == "header" else FieldFault(detail, parameter=name)


_DETAILS: Mapping[str, str] = {
    "extra_forbidden": "There is no such field.",
    "missing": "Must be given.",
    "model_attributes_type": "Must be a JSON object.",
}


_OF_THE_NAME = "[key]"
"""What pydantic adds where the name of a member is at fault, and not its value. No pointer can say that."""


def _pointer(path: Sequence[object]) -> str:
    """RFC 6901: each step after a ``/``, with ``~`` and ``/`` escaped."""
    steps = [step for step in path if step != _OF_THE_NAME]
    return _cut("".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps))


def _cut(name: str) -> str:
    """No name of ours is as long; of a stranger's the beginning says which it is."""
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}\N{HORIZONTAL ELLIPSIS}"
