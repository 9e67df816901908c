"""What the docs page fills in works when it is sent to the sandbox as it is."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from api.answers import OperationAnswer
from models.statuses import OperationState
from sandbox.demo.partner import PartnerClient
from sandbox.world import Sandbox
from tests.sandbox import administrator_key

Request = tuple[str, str | None, dict[str, Any]]
"""Operation, security scheme, and what httpx is told."""

PARTNER, ADMINISTRATOR = "partnerKey", "administratorKey"
FIRST = ("makeGrantTypedData", "createGrant", "borrow")
PATIENCE = 30
REFUSED_FORM = httpx.codes.UNPROCESSABLE_ENTITY


@pytest.mark.timeout(180)
async def test_every_example_is_a_request_that_the_sandbox_takes(sandbox: Sandbox) -> None:
    """Posted in the order of a first integration; none is refused for what it says."""
    keys = {PARTNER: sandbox.manifest.partner_key, ADMINISTRATOR: await administrator_key(sandbox)}
    async with httpx.AsyncClient(base_url=sandbox.engine.api_url, timeout=60, trust_env=False) as http:
        document = (await http.get("/openapi.json")).json()
        http.headers["Authorization"] = f"Bearer {keys[PARTNER]}"
        for operation_id, scheme, request in sorted(_requests(document), key=_order):
            if scheme is not None:
                request["headers"]["Authorization"] = f"Bearer {keys[scheme]}"
            answer = await http.send(http.build_request(**request))
            assert answer.status_code < REFUSED_FORM, (operation_id, answer.text)
            if operation_id in FIRST:
                assert answer.is_success, (operation_id, answer.text)
            if answer.status_code == httpx.codes.ACCEPTED:
                await _done(PartnerClient(http), answer.json()["operation_id"])


def _order(named: Request) -> tuple[int, bool, str]:
    """What has to be there first, then the rest, then what takes away; and administrators, who can suspend the partner, at last."""
    operation_id, scheme, request = named
    if operation_id in FIRST:
        return FIRST.index(operation_id), False, ""
    return len(FIRST) + (scheme == ADMINISTRATOR), request["method"] == "delete", operation_id


def _requests(document: dict[str, Any]) -> Iterator[Request]:
    """Each body's examples, and each request without a body, as the docs page sends them."""
    for path, route in document["paths"].items():
        for method, operation in route.items():
            request = {
                "method": method,
                "url": _filled(path, operation),
                "params": {parameter["name"]: parameter["example"] for parameter in _required(operation, "query")},
            }
            scheme = next((name for each in operation.get("security", []) for name in each), None)
            bodies = operation.get("requestBody", {"content": {"": {"examples": {"none": {"value": None}}}}})["content"]
            for content in bodies.values():
                assert content["examples"], path
                for example in content["examples"].values():
                    sent = {**request, "headers": _headers(operation), "json": example["value"]}
                    yield operation["operationId"], scheme, sent


def _filled(path: str, operation: dict[str, Any]) -> str:
    for parameter in _required(operation, "path"):
        path = path.replace("{" + parameter["name"] + "}", quote(str(parameter["example"]), safe=""))
    return path


def _headers(operation: dict[str, Any]) -> dict[str, str]:
    return {parameter["name"]: parameter["example"] for parameter in _required(operation, "header")}


def _required(operation: dict[str, Any], place: str) -> Iterator[dict[str, Any]]:
    for parameter in operation.get("parameters", []):
        if parameter["required"] and parameter["in"] == place:
            yield parameter


async def _done(partner: PartnerClient, operation_id: str) -> OperationAnswer:
    for _ in range(PATIENCE):
        operation = await partner.operation(operation_id)
        if operation.state is OperationState.DONE:
            return operation
    raise AssertionError(f"{operation_id} was not done in {PATIENCE} looks of a second")
