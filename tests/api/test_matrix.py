"""Every route, asked by everybody who may not: exact status and problem type each time, and nothing of anybody's leaks."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import select, update

from api.administration import issue_key, revoke_key, set_status
from api.app import create_app
from api.keys import new_admin_key, new_key
from models.ids import defaulted_key, new_id, operation_id
from models.sealing import KEY_BYTES
from models.statuses import EventType, OperationKind, PartnerStatus, Scope
from models.tables.administration import Administrator, AdminKey
from models.tables.partners import ApiKey, Partner
from models.tables.requests import RequestLog
from settings import Settings
from tests.api.desk import Desk, new_partner
from tests.api.rights import RIGHTS, Administrators, Anybody, Partners, Right, Things
from tests.api.test_openapi import offline_settings
from tests.factories import new_endpoint, new_event, new_loan, new_operation

METHODS = ("delete", "get", "patch", "post", "put")
PLACEHOLDER = "x" * 12


@dataclass(frozen=True)
class Route:
    """One operation of the OpenAPI document."""

    operation_id: str
    method: str
    path: str

    def right(self) -> Right:
        return RIGHTS[self.operation_id]


ROUTES = [
    Route(operation["operationId"], method, path)
    for path, operations in create_app(offline_settings()).openapi()["paths"].items()
    for method, operation in operations.items()
]


def of_kind(*kinds: type[Right]) -> list[Route]:
    return [route for route in ROUTES if isinstance(RIGHTS.get(route.operation_id), kinds)]


@dataclass
class Walk:
    """Asks for the first partner's things, and remembers what it asked: each is to be in the request log."""

    desk: Desk
    things: Things
    answers: list[tuple[str, httpx.Response]] = field(default_factory=list)

    async def ask(self, route: Route, key: str | None) -> httpx.Response:
        right = route.right()
        body = right.body(self.things) if isinstance(right, Partners) and right.body is not None else None
        trace_id = secrets.token_hex(16)
        headers = {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01", "Idempotency-Key": f"matrix-{trace_id}"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        query = {"user_wallet": self.things["user_wallet"]} if route.operation_id == "listCreditLines" else {}
        answer = await self.desk.http.request(route.method, self._path(route), params=query, json=body, headers=headers)
        self.answers.append((trace_id, answer))
        return answer

    async def refused(self, route: Route, key: str | None, status: int, code: str) -> httpx.Response:
        answer = await self.ask(route, key)
        refused(route, answer, status, code, self.things)
        return answer

    def _path(self, route: Route) -> str:
        path = route.path
        for name, value in self.things.items():
            path = path.replace("{" + name + "}", quote(value, safe=""))
        assert "{" not in path, f"{route.operation_id}: the things of the first partner lack what {path} names"
        return path

    async def is_logged(self) -> None:
        """Once, with its status and its problem's code."""
        wanted = select(RequestLog).where(RequestLog.trace_id.in_([trace_id for trace_id, _ in self.answers]))
        async with self.desk.transaction() as session:
            rows = list(await session.scalars(wanted))
        found = sorted((row.trace_id, row.method, row.path, row.status, row.code) for row in rows)
        assert found == sorted(map(_as_logged, self.answers))


def _as_logged(asked: tuple[str, httpx.Response]) -> tuple[str, str, str, int, str | None]:
    trace_id, answer = asked
    code = answer.json()["code"] if answer.is_error else None
    return trace_id, answer.request.method, answer.request.url.path, answer.status_code, code


def refused(route: Route, answer: httpx.Response, status: int, code: str, things: Things) -> None:
    assert answer.status_code == status, (route, answer.text)
    assert answer.headers["content-type"] == "application/problem+json", route
    problem = answer.json()
    assert (problem["code"], problem["status"]) == (code, status), route
    assert problem["type"].endswith(f"/{code}"), route
    if status == httpx.codes.UNAUTHORIZED:
        assert answer.headers["www-authenticate"] == "Bearer", route
    nothing_leaks(route, answer, things)


def nothing_leaks(route: Route, answer: httpx.Response, things: Things) -> None:
    """What the asker did not say is not in the answer, headers included."""
    asked = f"{answer.request.url} {answer.request.content.decode()} {httpx.QueryParams(answer.request.url.path)}"
    told = f"{answer.text} {dict(answer.headers)}"
    for name, value in things.items():
        if len(value) > 2 and value not in asked and quote(value, safe="") not in asked:
            assert value not in told, (route, name)


@pytest.fixture
async def settings(settings: Settings) -> Settings:
    """Nobody is slowed down here; tests/api/test_gate_rates.py is about that."""
    plenty = dict.fromkeys(("failed_keys_per_minute", "public_requests_per_minute", "admin_requests_per_minute"), 10**6)
    return settings.model_copy(update={**plenty, "sealing_key": SecretStr("5e" * KEY_BYTES)})


@dataclass(frozen=True)
class Keys:
    """One key of each kind that is not good for what it is used for."""

    mistyped: str
    other_mode: str
    unknown: str
    revoked: str
    expired: str


@pytest.fixture
async def walk(desk: Desk, things: Things) -> AsyncIterator[Walk]:
    """What was asked on it is in the request log at the end."""
    walked = Walk(desk, things)
    yield walked
    await walked.is_logged()


@pytest.fixture
async def things(desk: Desk) -> Things:
    """The first partner's, all of them in the rows: a grant, and a loan with the operation that made it."""
    signed = await desk.signed_grant()
    grant = (await desk.post("/v1/grants", signed)).json()
    name, first = "loan-of-the-first", desk.partner.partner_id
    async with desk.transaction() as session:
        partner = await session.get_one(Partner, first)
        operation = await new_operation(
            session, partner, id=operation_id(OperationKind.BORROW, first, defaulted_key(name)), partner_loan_id=name
        )
        loan = await new_loan(session, operation, id=new_id("loan"), partner_loan_id=name, user_wallet=desk.user)
        event = await new_event(session, operation, EventType.LOAN_BORROWED, id=new_id("evt"))
        endpoint = await new_endpoint(session, partner, id=new_id("we"))
    return {
        "oaid_token_id": str(desk.world.line.credit_line_id),
        "position_id": str(desk.world.line.position_id),
        "user_wallet": desk.user,
        "partner_loan_id": name,
        "loan_id": loan.id,
        "event_id": event.id,
        "endpoint_id": endpoint.id,
        "endpoint_url": endpoint.url,
        "operation_id": operation.id,
        "settlement_address": partner.settlement_address,
        "grant_id": grant["grant_id"],
        "nonce": signed["nonce"],
        "signature": signed["signature"],
        "partner_id": desk.partner.partner_id,
        "partner_name": desk.partner.partner_id.title(),
        "key_id": desk.partner.key_id,
        "key_prefix": desk.partner.prefix,
        "change_id": new_id("change"),
        "administrator_id": new_id("adm"),
    }


async def partner_keys(desk: Desk) -> Keys:
    partner_id = desk.partner.partner_id
    async with desk.transaction() as session:
        revoked = await issue_key(session, partner_id=partner_id, mode="sandbox")
        await revoke_key(session, revoked.key_id)
        hour_ago = datetime.now(UTC) - timedelta(hours=1)
        expired = await issue_key(session, partner_id=partner_id, mode="sandbox", expires_at=hour_ago)
    return Keys(
        mistyped=_mistyped(desk.partner.key),
        other_mode=new_key(partner_id, "live").text,
        unknown=new_key(partner_id, "sandbox").text,
        revoked=revoked.key,
        expired=expired.key,
    )


async def administrator_keys(desk: Desk) -> Keys:
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    return Keys(
        mistyped=_mistyped(await new_administrator(desk, "Grace")),
        other_mode=new_admin_key("live").text,
        unknown=new_admin_key("sandbox").text,
        revoked=await new_administrator(desk, "Edsger", revoked_at=hour_ago),
        expired=await new_administrator(desk, "Barbara", expires_at=hour_ago),
    )


async def new_administrator(desk: Desk, name: str, *, disabled: bool = False, **terms: Any) -> str:
    """The key of an administrator."""
    key = new_admin_key("sandbox")
    async with desk.transaction() as session:
        row = Administrator(id=new_id("admin"), name=name, disabled_at=datetime.now(UTC) if disabled else None)
        session.add(row)
        await session.flush()
        session.add(
            AdminKey(
                id=new_id("adminkey"),
                administrator_id=row.id,
                prefix=key.prefix,
                secret_hash=key.hash(desk.settings.key_pepper),
                **terms,
            )
        )
    return key.text


def _mistyped(key: str) -> str:
    return key[:-1] + ("A" if key[-1] != "A" else "B")


def test_every_route_is_in_the_table_and_the_table_has_no_other() -> None:
    """A new route says who may call it, or this fails."""
    assert {route.operation_id for route in ROUTES} == set(RIGHTS)


@pytest.mark.parametrize(
    ("kind", "keys"),
    [(Partners, partner_keys), (Administrators, administrator_keys)],
    ids=["partners", "administrators"],
)
async def test_no_route_takes_a_key_that_is_missing_mistyped_unknown_or_over(
    walk: Walk, kind: type[Right], keys: Callable[[Desk], Awaitable[Keys]]
) -> None:
    bad = await keys(walk.desk)
    refusals = {
        None: "api_key_missing",
        "": "api_key_missing",
        PLACEHOLDER: "api_key_malformed",
        bad.mistyped: "api_key_malformed",
        bad.other_mode: "api_key_wrong_mode",
        bad.unknown: "api_key_unknown",
        bad.revoked: "api_key_revoked",
        bad.expired: "api_key_revoked",
    }
    for route in of_kind(kind):
        for key, code in refusals.items():
            await walk.refused(route, key, 401, code)


async def test_partners_and_administrators_have_no_use_for_each_others_keys(walk: Walk) -> None:
    """A key of the other kind is as unknown as one that nobody has."""
    administrator = await new_administrator(walk.desk, "Ada")
    for route in of_kind(Partners):
        await walk.refused(route, administrator, 401, "api_key_unknown")
    for route in of_kind(Administrators):
        await walk.refused(route, walk.desk.partner.key, 401, "api_key_unknown")


async def test_a_disabled_administrators_key_is_over(walk: Walk) -> None:
    disabled = await new_administrator(walk.desk, "Alan", disabled=True)
    for route in of_kind(Administrators):
        await walk.refused(route, disabled, 401, "api_key_revoked")


@pytest.mark.parametrize("status", [PartnerStatus.SUSPENDED, PartnerStatus.INACTIVE])
async def test_a_partner_that_is_not_active_is_refused_everywhere(walk: Walk, status: PartnerStatus) -> None:
    """From the very next call on, whatever the key."""
    async with walk.desk.transaction() as session:
        await set_status(session, walk.desk.partner.partner_id, status)
    for route in of_kind(Partners):
        await walk.refused(route, walk.desk.partner.key, 403, "partner_not_active")


@pytest.mark.parametrize("lacking", list(Scope))
async def test_a_key_without_the_routes_scope_is_refused(walk: Walk, lacking: Scope) -> None:
    async with walk.desk.transaction() as session:
        scopes = [scope for scope in Scope if scope is not lacking]
        key = await issue_key(session, partner_id=walk.desk.partner.partner_id, mode="sandbox", scopes=scopes)
    for route in of_kind(Partners):
        right = route.right()
        assert isinstance(right, Partners)
        if right.scope is lacking:
            answer = await walk.refused(route, key.key, 403, "scope_missing")
            assert answer.json()["figures"] == {"scope": str(lacking)}


async def test_a_key_is_refused_from_an_address_that_is_not_on_its_list(walk: Walk) -> None:
    key = await _key_with(walk.desk, lambda _: {"allowed_networks": ["203.0.113.0/24", "2001:db8::/32"]})
    for route in of_kind(Partners):
        answer = await walk.refused(route, key, 403, "address_not_allowed")
        assert answer.json()["figures"] == {"address": "127.0.0.1"}


async def test_a_key_that_must_sign_is_refused_without_a_signature(walk: Walk) -> None:
    sealer = walk.desk.settings.sealer
    assert sealer is not None
    key = await _key_with(walk.desk, lambda key_id: {"must_sign": True, "signing_secret": sealer.seal(b"ss_1", key_id)})
    for route in of_kind(Partners):
        await walk.refused(route, key, 401, "signature_missing")


async def _key_with(desk: Desk, terms: Callable[[str], dict[str, Any]]) -> str:
    """A key of the first partner's with these terms."""
    async with desk.transaction() as session:
        issued = await issue_key(session, partner_id=desk.partner.partner_id, mode="sandbox")
        await session.execute(update(ApiKey).where(ApiKey.id == issued.key_id).values(**terms(issued.key_id)))
    return issued.key


async def test_another_partner_learns_nothing_of_the_first_ones_things(working_desk: Desk, walk: Walk) -> None:
    """Its own key is good, and what it asks for is not its own. Its lists hold what it said itself, so one that is silent reads them."""
    other = await new_partner(working_desk.transaction, "zeta")
    for route in of_kind(Partners):
        right = route.right()
        assert isinstance(right, Partners)
        status, code = right.other
        if code is None:
            silent = await new_partner(working_desk.transaction, f"silent-{route.operation_id}")
            answer = await walk.ask(route, silent.key)
            assert answer.status_code == status, (route, answer.text)
            nothing_leaks(route, answer, walk.things)
        else:
            await walk.refused(route, other.key, status, code)


async def test_public_routes_ask_nobody_who_they_are(desk: Desk, things: Things) -> None:
    """With no key, and with one that is wrong, the answer is the same; it is the chain's alone, and nobody's to log."""
    walk = Walk(desk, things)
    for route in of_kind(Anybody):
        right = route.right()
        assert isinstance(right, Anybody)
        for key in (None, PLACEHOLDER, desk.partner.key):
            answer = await walk.ask(route, key)
            assert answer.status_code == right.status, (route, answer.text)
            public = {name: value for name, value in things.items() if name != "user_wallet"}
            nothing_leaks(route, answer, public)


def _not_taken() -> Iterator[tuple[str, str, set[str]]]:
    """Method, path and what the path does take. A path beside a template also takes what the template takes."""
    taken: dict[str, set[str]] = {}
    for route in ROUTES:
        taken.setdefault(route.path, set()).add(route.method.upper())
    for path, methods in taken.items():
        beside = [other for other in taken if other != path and _template_of(other, path)]
        allowed = methods.union(*(taken[other] for other in beside))
        for method in METHODS:
            if method.upper() not in allowed:
                yield method, path, allowed


def _template_of(template: str, path: str) -> bool:
    steps, others = template.split("/"), path.split("/")
    same = (step == other or step.startswith("{") for step, other in zip(steps, others, strict=False))
    return len(steps) == len(others) and all(same)


async def test_no_route_takes_another_method_and_each_says_what_it_takes(desk: Desk, things: Things) -> None:
    """Whoever asks: which methods there are is no secret."""
    for method, path, allowed in _not_taken():
        route = Route("", method, path)
        answer = await desk.http.request(method, path.replace("{", "").replace("}", ""), headers=desk.auth())
        refused(route, answer, 405, "method_not_allowed", things)
        assert set(answer.headers["allow"].split(", ")) == allowed, route


UNKNOWN: Sequence[str] = (
    "/",
    "/v1",
    "/v1/",
    "/v1/loan",
    "/v1/loans/",
    "/v2/loans",
    "/v1/admin/nothing",
    "/.env",
    "/V1/loans",
)


@pytest.mark.parametrize("path", UNKNOWN)
async def test_what_is_not_there_is_a_problem_of_its_own(desk: Desk, path: str) -> None:
    for method in METHODS:
        answer = await desk.http.request(method, path)
        refused(Route("", method, path), answer, 404, "route_not_found", {})
