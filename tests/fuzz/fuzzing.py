"""Schemathesis, all its phases, against a sandbox that runs: as a partner, as an administrator, and as nobody.

It makes requests from the OpenAPI document, valid ones and such as are not, and holds each answer against what the document
says. So that some of them get through to the business rules, it is told wallets and credit lines that there are.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder
from schemathesis.generation.meta import CaseMetadata

ADMIN = "^/v1/admin"
ADMIN_SCHEME = "administratorKey"
ENDING = ["disableAdministrator", "revokeAdminKey"]
BESIDE_A_TEMPLATE = ["/v1/grants/typed-data", "/v1/loans/preflight"]
"""Another method on these is a call about a grant or loan of that name, and rightly no 405."""
_NOT_ABOUT_METHODS = {name: {"enabled": False} for name in ("unsupported_method", "allow_header_conformance")}
ALL_PHASES = frozenset({"examples", "coverage", "fuzzing", "stateful"})
SEED = 20_261_128
OFTEN = 0.5
REFUSED = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 429]
UNPROCESSABLE = 422
FORM = "invalid_request"
BEYOND_THE_SCHEMA = (
    "checksum",
    "RFC 3339",
    "2^256",
    "installment",
    "goes with",
    "a valid integer",
    "address block",
    "buckets",
    "Must not be after",
)
"""Words of the rules of form that no JSON schema can say; to it, 60.0 is an integer."""


@schemathesis.check
def valid_form_is_not_refused_for_its_form(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    """A request that the document allows may break a business rule, and is never ``invalid_request``."""
    del ctx
    if response.status_code != UNPROCESSABLE or case.meta is None or not _is_valid(case.meta):
        return
    answer = response.json()
    if answer["code"] == FORM and not all(map(_is_beyond, answer["errors"])):
        raise AssertionError(f"the document allows what the engine refuses: {answer['errors']}")


def _is_valid(made: CaseMetadata) -> bool:
    """In all of its parts."""
    modes = [made.generation.mode, *(part.mode for part in made.components.values())]
    return all(mode is schemathesis.GenerationMode.POSITIVE for mode in modes)


def _is_beyond(fault: dict[str, str]) -> bool:
    """The patterns of parameters are in the document as they are checked; schemathesis sometimes takes what breaks one for valid."""
    ill_made = "pointer" not in fault and fault["detail"].startswith("String should match pattern")
    return ill_made or any(words in fault["detail"] for words in BEYOND_THE_SCHEMA)


@dataclass(frozen=True)
class Pass:
    """One run through the operations that it may ask for, as somebody or, without a key, as nobody."""

    name: str
    scheme: str | None = None
    key: str = field(default="", repr=False)
    phases: frozenset[str] = ALL_PHASES
    ending: bool = False
    """Only what can take the pass's own key away, which another pass therefore leaves out."""


def passes(partner_key: str, admin_key: str) -> Iterator[Pass]:
    """What an administrator changes must not take the partner's key away before the partner's pass: so that one is first."""
    yield Pass("partner", "partnerKey", partner_key)
    yield Pass("administrator", ADMIN_SCHEME, admin_key)
    yield Pass("administrator's end", ADMIN_SCHEME, admin_key, ALL_PHASES - {"stateful"}, ending=True)
    yield Pass("nobody", phases=ALL_PHASES - {"stateful"})


@dataclass
class Found:
    """What one pass did. Cases and checks by phase; what failed, each kind once for an operation."""

    operations: set[str] = field(default_factory=set)
    cases: Counter[str] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    failures: dict[tuple[str, str, str], str] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        yield f"  {len(self.operations)} operations, {sum(self.cases.values())} cases, {sum(self.checks.values())} checks"
        for phase, cases in self.cases.items():
            yield f"    {phase:<10} {cases:>7} cases {self.checks[phase]:>8} checks"
        answers = ", ".join(f"{status}: {count}" for status, count in sorted(self.answers.items()))
        yield f"    answers {answers}"
        for (operation, check, message), how in self.failures.items():
            yield f"  FAILED {operation}: {check}: {message}\n    {how}"


def run(url: str, one: Pass, world: Mapping[str, list[str]], examples: int) -> Found:
    """Asks ``url`` until the pass is through. ``examples`` is how many cases fuzzing makes for an operation, at most."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=_config(url, one, world, examples))
    found = Found()
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            _count(found, str(event.phase.value), event.recorder)
        elif isinstance(event, events.NonFatalError):
            found.failures[event.label, type(event.value).__name__, str(event.value)] = "schemathesis itself"
        elif isinstance(event, events.FatalError):
            raise event.exception
    return found


def _count(found: Found, phase: str, recorder: ScenarioRecorder) -> None:
    found.cases[phase] += len(recorder.cases)
    found.operations |= {case.value.operation.label for case in recorder.cases.values()}
    found.answers.update(asked.response.status_code for asked in recorder.interactions.values() if asked.response)
    for case_id, checks in recorder.checks.items():
        found.checks[phase] += len(checks)
        for check in checks:
            if check.status is not Status.SUCCESS and check.failure_info is not None:
                label = recorder.cases[case_id].value.operation.label
                failure = check.failure_info.failure
                found.failures.setdefault(
                    (label, check.name, f"{failure.title}: {failure.message}"), check.failure_info.code_sample
                )


def _left_out(one: Pass) -> Iterator[dict[str, Any]]:
    """Each key asks for what it is for; the matrix of tests/api has them ask for the rest."""
    if one.scheme == ADMIN_SCHEME:
        yield {"exclude-operation-id" if one.ending else "include-operation-id": ENDING, "enabled": False}
    if one.scheme is not None:
        yield {"include-path-regex": ADMIN if one.scheme != ADMIN_SCHEME else f"^(?!{ADMIN[1:]})", "enabled": False}


def _config(url: str, one: Pass, world: Mapping[str, list[str]], examples: int) -> SchemathesisConfig:
    told: dict[str, Any] = {
        "base-url": url,
        "seed": SEED,
        "warnings": False,
        "request-timeout": 60,
        "continue-on-failure": True,
        "cache": {"enabled": False},
        "generation": {"max-examples": examples, "deterministic": True, "database": "none", "no-shrink": True},
        "checks": {
            "positive_data_acceptance": {"enabled": False},  # a rule may refuse it: the check above tells the two apart
            "negative_data_rejection": {"expected-statuses": REFUSED},
            "missing_required_header": {"expected-statuses": REFUSED},
        },
        "operations": [{"include-path": BESIDE_A_TEMPLATE, "checks": _NOT_ABOUT_METHODS}, *_left_out(one)],
        "phases": {name: {"enabled": name in one.phases} for name in ALL_PHASES},
        "dictionaries": {name: {"values": values} for name, values in world.items()},
        "parameters": {f"body.{name}": {"dictionary": name, "probability": OFTEN} for name in world},
    }
    if one.scheme is not None:
        told["auth"] = {"openapi": {one.scheme: {"bearer": one.key}}}
    return SchemathesisConfig.from_dict(told)
