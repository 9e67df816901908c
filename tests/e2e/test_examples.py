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

FIRST = ("makeGrantTypedData", "createGrant", "borrow")
PATIENCE = 30
REFUSED_FORM = httpx.codes.UNPROCESSABLE_ENTITY


@pytest.mark.timeout(180)
async def test_every_example_is_a_request_that_the_sandbox_takes(sandbox: Sandbox) -> None:
    """Posted in the order of a first integration; none is refused for what it says."""
    headers = {"Authorization": f"Bearer {sandbox.manifest.partner_key}"}
    async with httpx.AsyncClient(base_url=sandbox.engine.api_url, headers=headers, timeout=60, trust_env=False) as http:
        document = (await http.get("/openapi.json")).json()
        for operation_id, request in sorted(_requests(document), key=_order):
            answer = await http.send(http.build_request(**request))
            assert answer.status_code < REFUSED_FORM, (operation_id, answer.text)
            if operation_id in FIRST:
                assert answer.is_success, (operation_id, answer.text)
            if answer.status_code == httpx.codes.ACCEPTED:
                await _done(PartnerClient(http), answer.json()["operation_id"])


def _order(named: tuple[str, dict[str, Any]]) -> tuple[int, str]:
    """What has to be there first, then the rest, and what takes away at last."""
    operation_id, request = named
    if operation_id in FIRST:
        return FIRST.index(operation_id), ""
    return len(FIRST) + (request["method"] == "delete"), operation_id


def _requests(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each body's examples, and each request without a body, as the docs page sends them."""
    for path, route in document["paths"].items():
        for method, operation in route.items():
            request = {"method": method, "url": _filled(path, operation), "headers": _headers(operation)}
            bodies = operation.get("requestBody", {"content": {"": {"examples": {"none": {"value": None}}}}})["content"]
            for content in bodies.values():
                assert content["examples"], path
                for example in content["examples"].values():
                    yield operation["operationId"], {**request, "json": example["value"]}


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
