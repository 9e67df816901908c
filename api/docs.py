"""What the OpenAPI document says beyond the routes' own types: every problem, each with an example of its real sentence.

The examples are made from the problems' own classes, so the document cannot promise a sentence that is never sent.
"""

import inspect
from collections import defaultdict
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.errors import (
    AddressNotAllowed,
    ApiKeyMalformed,
    ApiKeyMissing,
    ApiKeyRevoked,
    ApiKeyUnknown,
    ApiKeyWrongMode,
    ApiProblem,
    ChainUnavailable,
    DatabaseUnavailable,
    FieldFault,
    InternalError,
    InvalidRequest,
    MalformedJson,
    PayloadTooLarge,
    RateLimited,
    ReadTooSlow,
    SignatureExpired,
    SignatureInvalid,
    SignatureMissing,
    UnsupportedMediaType,
    WorkflowsUnavailable,
    every_api_problem,
)
from api.problems import PROBLEM_JSON, Problem, ProblemField
from models import errors
from models.errors import Refused, every_refusal

Kind = type[Refused] | type[ApiProblem]
Responses = dict[int | str, dict[str, Any]]

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
_CODES = "x-codes"
_NULL = {"type": "null"}
_REF = "#/components/schemas/{model}"

KEYED: tuple[Kind, ...] = (
    ApiKeyMissing,
    ApiKeyMalformed,
    ApiKeyWrongMode,
    ApiKeyUnknown,
    ApiKeyRevoked,
    SignatureMissing,
    SignatureInvalid,
    SignatureExpired,
    AddressNotAllowed,
    RateLimited,
    errors.PartnerNotActive,
    errors.ScopeMissing,
)
PUBLIC: tuple[Kind, ...] = (RateLimited,)
"""What a route without a key answers to an address that asks too often."""
ALWAYS: tuple[Kind, ...] = (InternalError, DatabaseUnavailable)
READS: tuple[Kind, ...] = (*ALWAYS, ReadTooSlow)
"""What a route that reads on the small pool answers (api/reads.py)."""
BODY: tuple[Kind, ...] = (MalformedJson, UnsupportedMediaType, PayloadTooLarge, InvalidRequest)
ON_CHAIN: tuple[Kind, ...] = (ChainUnavailable,)
LINE: tuple[Kind, ...] = (errors.CreditLineNotFound, errors.CreditLineInactive, errors.WalletNotOwner)
MONEY: tuple[Kind, ...] = (WorkflowsUnavailable, errors.IdempotencyKeyReused, errors.KeyNotValid, errors.NotStarted)
BORROW: tuple[Kind, ...] = (
    *LINE,
    errors.PartnerNotCleared,
    errors.GrantRequired,
    errors.InsufficientCredit,
    errors.LtvExceeded,
    errors.InsufficientLiquidity,
    errors.DebtCeilingExceeded,
    errors.PlanAlreadyActive,
    errors.OperatorNotApproved,
    errors.DailyLimitExceeded,
    errors.TotalLimitExceeded,
    errors.PartnerLoanIdInUse,
)
REPAY: tuple[Kind, ...] = (
    errors.LoanNotFound,
    errors.LoanNotRepayable,
    errors.RepaymentInProgress,
    errors.AmountAboveDebt,
    errors.InsufficientFunding,
    errors.TransferNotOurs,
    errors.TransferAlreadyClaimed,
    errors.TransferBeingRefunded,
    errors.TransferSenderUnknown,
    errors.TransferAmountMismatch,
    errors.TransferAmbiguous,
)
ENDINGS: tuple[Kind, ...] = (
    errors.LegReverted,
    errors.StoppedBeforeSending,
    errors.SettlementBlocked,
    errors.TransferNotFound,
)
"""What an operation that was accepted can still end in: seen in its ``problem``, never as an answer's status."""

_SAMPLES: Mapping[str, Any] = {
    "status": "SUSPENDED",
    "scope": "borrow",
    "user_wallet": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
    "operator": "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
    "sender": "0x90F79bf6EB2c4f870365E785982E1f101E93b906",
    "settlement_address": "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
    "tx_hash": "0x" + "ab" * 32,
    "expires_at": "2026-01-01T00:00:00Z",
    "partner_loan_id": "loan-2026-000042",
    "loan_id": "loan_01JV9Y6E0SVH1Q5C3M2N8P4R7T",
    "operation_id": "borrow:acme:loan~loan-2026-000042",
    "grant_id": "grant_01JV9Y6E0SVH1Q5C3M2N8P4R7T",
    "event_id": "evt_01JV9Y6E0SVH1Q5C3M2N8P4R7T",
    "endpoint_id": "we_01JV9Y6E0SVH1Q5C3M2N8P4R7T",
    "most": 10,
    "fields": ["amount"],
    "log_indexes": [3, 7],
    "leg": "borrow",
    "reason": "Exceeds LTV limit",
    "key_mode": "live",
    "deployment_mode": "sandbox",
    "path": "/v1/loan",
    "method": "PATCH",
    "checks": {"postgresql": "ok", "temporal": "away", "rpc": "ok"},
    "oaid_token_id": 1,
    "position_id": 1,
    "nonce": 7301,
    "partner_id": "acme",
    "change_id": "change_01JV9Y6E0SVH1Q5C3M2N8P4R7T",
    "state": "CANCELLED",
    "key_id": "key_01JV9Y6E0SVH1Q5C3M2N8P4R7T",
    "administrator_id": "adm_01JV9Y6E0SVH1Q5C3M2N8P4R7T",
    "name": "Grace Hopper",
    "address": "203.0.113.7",
    "tolerance_seconds": 300,
    "limit_per_minute": 500,
    "retry_after_seconds": 12,
    "limit": 100_000_000_000,
    "ceiling": 100_000_000_000,
    "remaining": 1_200_000_000,
    "available": 1_200_000_000,
    "max_borrow": 1_200_000_000,
    "balance": 1_200_000_000,
    "debt": 4_012_345_678,
    "found": 1_200_000_000,
}
_RATE_HEADERS = {
    "RateLimit-Policy": {
        "description": "the limit: `q` requests in any `w` seconds",
        "schema": {"type": "string", "examples": ['"minute";q=500;w=60']},
    },
    "RateLimit": {
        "description": "`r` requests are left now, and one more will be in `t` seconds",
        "schema": {"type": "string", "examples": ['"minute";r=12;t=30']},
    },
}
_LATER = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_SAMPLE_AMOUNT = 5_000_000_000


_PARAMETERS: Mapping[str, Any] = {
    "limit": 50,
    "min_status": 400,
    "partner_id": "acme",
    "reason": "asked for in ticket 4711",
    "failed_authentication": True,
    "subject": "acme",
    "from": "2026-01-01",
    "to": "2026-01-31",
}
"""Examples of parameters that several routes have, where a route gives none of its own."""


def sample(kind: Kind, base: str) -> Problem:
    """The problem of this kind as it would be sent, with plausible figures."""
    error = kind(**_arguments(kind))
    return Problem(
        type=base + kind.code,
        title=kind.title,
        status=kind.status,
        detail=error.detail,
        code=kind.code,
        trace_id=TRACE_ID,
        errors=[ProblemField(detail="Must be given.", pointer="/amount")] if kind is InvalidRequest else None,
        figures=error.figures or None,
    )


def _arguments(kind: Kind) -> dict[str, Any]:
    if kind is InvalidRequest:
        return {"detail": "1 part(s) of the request are not valid; see errors.", "faults": (FieldFault("", ""),)}
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    wanted = [each for each in parameters if each.default is each.empty and each.kind is not each.VAR_KEYWORD]
    return {each.name: _SAMPLES.get(each.name, _sample_of(each.name, kind)) for each in wanted}


def _sample_of(name: str, kind: Kind) -> Any:
    return f"{kind.title}." if name == "detail" else _SAMPLE_AMOUNT


def problems(*kinds: Kind, also: tuple[tuple[Kind, int], ...] = ()) -> Responses:
    """The ``responses`` of a route that can answer with these problems; ``also`` gives one another status than its own."""
    by_status: dict[int, list[Kind]] = defaultdict(list)
    for kind in dict.fromkeys(kinds):
        by_status[kind.status].append(kind)
    for kind, status in also:
        by_status[status].append(kind)
    return {status: _response(status, found) for status, found in sorted(by_status.items())}


def _response(status: int, kinds: list[Kind]) -> dict[str, Any]:
    retry_after = {"Retry-After": {"description": "seconds", "schema": {"type": "string"}}}
    return {
        "description": HTTPStatus(status).phrase + ": " + ", ".join(f"`{kind.code}`" for kind in kinds),
        "headers": retry_after if status in _LATER else {},
        "content": {PROBLEM_JSON: {_CODES: [kind.code for kind in kinds]}},
    }


def document(app: FastAPI, problem_base: str) -> dict[str, Any]:
    """The OpenAPI document, made once: problems are declared as such, and their examples carry this deployment's URIs.

    What is needed to send a request has its example where the docs page fills it in.
    """
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            description=app.description,
            tags=app.openapi_tags,
            servers=app.servers,
            routes=app.routes,
        )
        schemas = made["components"]["schemas"]
        schemas.update(_problem_schemas())
        _name_alternatives(schemas)
        for route in made["paths"].values():
            for operation in route.values():
                _declare_problems(operation, problem_base)
                _declare_rates(operation)
                _fill_in(operation, schemas)
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        app.openapi_schema = made
    return app.openapi_schema


def _declare_problems(operation: dict[str, Any], base: str) -> None:
    for status, response in operation["responses"].items():
        content = response.get("content", {}).get(PROBLEM_JSON)
        if content is not None:
            content["schema"] = {"$ref": _REF.format(model=Problem.__name__)}
            content["examples"] = {
                code: _example(kinds_by_code()[code], int(status), base) for code in content.pop(_CODES)
            }


def _declare_rates(operation: dict[str, Any]) -> None:
    """A route whose rate is limited says on each answer what is left; a request that was not counted yet has no such headers."""
    if str(HTTPStatus.TOO_MANY_REQUESTS.value) in operation["responses"]:
        for response in operation["responses"].values():
            response["headers"] = {**response.get("headers", {}), **_RATE_HEADERS}


def _fill_in(operation: dict[str, Any], schemas: Mapping[str, Any]) -> None:
    """Optional parameters keep their examples to themselves: filled in they would narrow what is asked for."""
    for parameter in operation.get("parameters", []):
        schema = parameter["schema"] = _never_null(parameter["schema"])  # none can be sent as null
        if "examples" not in schema and parameter["name"] in _PARAMETERS:
            schema["examples"] = [_PARAMETERS[parameter["name"]]]
        if parameter["required"] and "examples" in schema:
            parameter["example"] = schema["examples"][0]
    for content in operation.get("requestBody", {"content": {}})["content"].values():
        schema = schemas.get(content["schema"].get("$ref", "").rpartition("/")[2], {})
        content["examples"] = {
            f"example {number}": {"value": value} for number, value in enumerate(schema.get("examples", []), start=1)
        }


def kinds_by_code() -> dict[str, Kind]:
    """Every problem that there is."""
    kinds: list[Kind] = [*every_refusal(), *every_api_problem()]
    return {kind.code: kind for kind in kinds}


def _example(kind: Kind, status: int, base: str) -> dict[str, Any]:
    shown = sample(kind, base).model_copy(update={"status": status})
    return {"summary": kind.title, "value": shown.model_dump(mode="json", exclude_none=True)}


def _name_alternatives(schemas: dict[str, Any]) -> None:
    """The titled branches of a ``oneOf`` become schemas of their own, so that generated clients call them by their titles."""
    for schema in list(schemas.values()):
        for place, branch in enumerate(schema.get("oneOf", [])):
            if "title" in branch:
                schemas[branch["title"]] = branch
                schema["oneOf"][place] = {"$ref": _REF.format(model=branch["title"])}


def _problem_schemas() -> dict[str, Any]:
    schema = Problem.model_json_schema(ref_template=_REF)
    schemas = {**schema.pop("$defs", {}), Problem.__name__: schema}
    for each in schemas.values():
        each["properties"] = {name: _never_null(form) for name, form in each["properties"].items()}
    return schemas


def _never_null(form: dict[str, Any]) -> dict[str, Any]:
    """Of an optional field or parameter that is left out where there is nothing to say."""
    said = [each for each in form.get("anyOf", []) if each != _NULL]
    if len(said) != 1:
        return form
    rest = {name: value for name, value in form.items() if name not in ("anyOf", "default")}
    return {**said[0], **rest}
