"""The OpenAPI document: complete, with examples that hold, and every problem declared where it can be met."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter

from api.admin_bodies import (
    AdministratorBody,
    AdminKeyBody,
    ChangeKeyBody,
    ChangePartnerBody,
    KeyBody,
    PartnerBody,
    ReasonBody,
    RecordGrantBody,
    RotateKeyBody,
    SettlementChangeBody,
)
from api.app import create_app
from api.bodies import BorrowBody, GrantBody, RepayBody, TypedDataBody
from api.docs import ENDINGS, kinds_by_code, sample
from api.problems import PROBLEM_JSON, Problem
from api.webhook_forms import EndpointBody, EndpointChangeBody, RedeliverBody
from settings import Settings

ADDRESS = "0x" + "11" * 20
BASE = "https://problems.example/"


def offline_settings() -> Settings:
    """Good for the document only: there is nothing where they point."""
    return Settings(
        database_url="postgresql+psycopg://nowhere",
        rpc_url="http://nowhere",
        chain_id=1,
        usdc_address=ADDRESS,
        oaid_address=ADDRESS,
        vault_address=ADDRESS,
        pool_address=ADDRESS,
        confirmations=1,
        platform_wallet=ADDRESS,
        problem_base=BASE,
    )


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(offline_settings()).openapi()


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, route in document["paths"].items():
        for method, operation in route.items():
            yield f"{method} {path}", operation


def test_every_operation_has_a_name_a_tag_and_a_summary(document: dict[str, Any]) -> None:
    operations = list(_operations(document))
    assert len({operation["operationId"] for _, operation in operations}) == len(operations)
    assert all(operation["tags"] and operation["summary"] for _, operation in operations)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    for reference in references(document):
        found: Any = document
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]


def test_every_error_is_declared_as_a_problem_with_examples_that_are_problems(document: dict[str, Any]) -> None:
    for name, operation in _operations(document):
        for status, response in operation["responses"].items():
            if int(status) < 400:
                continue
            content = response["content"]
            assert list(content) == [PROBLEM_JSON], name
            for code, example in content[PROBLEM_JSON]["examples"].items():
                shown = Problem.model_validate(example["value"])
                assert (shown.code, shown.status, shown.type) == (code, int(status), BASE + code)


def test_every_problem_is_declared_by_some_operation_except_what_no_route_answers(document: dict[str, Any]) -> None:
    declared = {
        code
        for _, operation in _operations(document)
        for status, response in operation["responses"].items()
        if int(status) >= 400
        for code in response["content"][PROBLEM_JSON]["examples"]
    }
    of_no_operation = {"route_not_found", "method_not_allowed"} | {kind.code for kind in ENDINGS}
    assert set(kinds_by_code()) - declared == of_no_operation


def test_money_and_reads_need_a_key_and_public_routes_do_not(document: dict[str, Any]) -> None:
    assert set(document["components"]["securitySchemes"]) == {"partnerKey", "administratorKey"}
    for name, operation in _operations(document):
        scheme = "administratorKey" if "/v1/admin" in name else "partnerKey"
        assert operation.get("security", [{scheme: []}]) == [{scheme: []}], name
        public = any(part in name for part in ("/credit-lines", "/positions/", "/health/"))
        assert ("security" in operation) is not public, name
        assert ("401" in operation["responses"]) is not public, name


def test_every_sample_is_a_sentence_without_holes() -> None:
    for kind in kinds_by_code().values():
        shown = sample(kind, BASE)
        assert shown.detail.endswith((".", "'true'", '"true"')), shown.detail
        assert "None" not in shown.detail
        assert shown.type == BASE + kind.code


def _speaks_for_itself(parameter: dict[str, Any]) -> bool:
    """The docs page offers the words there are; a status of HTTP and the cursor of an answer are what they are."""
    schema = parameter["schema"].get("items", parameter["schema"])
    forms = schema.get("anyOf", [schema])
    return parameter["name"] in ("cursor", "status") or any("$ref" in form or "enum" in form for form in forms)


def test_every_parameter_and_every_body_has_an_example(document: dict[str, Any]) -> None:
    """Where the docs page fills them in, if the request cannot do without."""
    for name, operation in _operations(document):
        for parameter in operation.get("parameters", []):
            assert _speaks_for_itself(parameter) or parameter["schema"].get("examples"), (name, parameter["name"])
            assert ("example" in parameter) is parameter["required"], (name, parameter["name"])
        for content in operation.get("requestBody", {"content": {}})["content"].values():
            assert content["examples"], name


ADMIN_BODIES = [
    AdminKeyBody,
    AdministratorBody,
    ChangeKeyBody,
    ChangePartnerBody,
    KeyBody,
    PartnerBody,
    ReasonBody,
    RecordGrantBody,
    RotateKeyBody,
    SettlementChangeBody,
]

WEBHOOK_BODIES: list[type[Any]] = [EndpointBody, EndpointChangeBody, RedeliverBody]


@pytest.mark.parametrize("body", [BorrowBody, RepayBody, TypedDataBody, GrantBody, *WEBHOOK_BODIES, *ADMIN_BODIES])
def test_the_examples_of_bodies_are_valid_bodies(body: type[Any]) -> None:
    examples = TypeAdapter(body).json_schema()["examples"]
    assert examples
    for example in examples:
        body.model_validate(example)


def test_nothing_of_the_frameworks_own_errors_is_left(document: dict[str, Any]) -> None:
    assert "HTTPValidationError" not in str(document)
