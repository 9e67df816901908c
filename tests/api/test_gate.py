"""Who gets in: from allowed addresses only, with a signature where one is demanded, and what a key's use leaves behind."""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import SecretStr
from sqlalchemy import select, text, update
from starlette.routing import BaseRoute

from api.administration import issue_key
from api.app import create_app
from api.auth import ADMIN_BEARER, BEARER
from api.gate import AdminRoute, PartnerRoute
from api.resources import Resources
from api.signing import IDEMPOTENCY_KEY, SIGNATURE, TIMESTAMP, new_signing_secret, sign
from models.statuses import Scope
from models.tables.partners import ApiKey
from settings import Settings
from tests.api.desk import Desk
from tests.api.test_requests import problem

GRANTS = "/v1/grants"
SEALING = "5e" * 32


@asynccontextmanager
async def served_at(settings: Settings, peer: str) -> AsyncIterator[tuple[httpx.AsyncClient, Resources]]:
    """The application as it is seen from this address."""
    app = create_app(settings)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.router.lifespan_context(app))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(peer, 40_000))
        http = httpx.AsyncClient(transport=transport, base_url="http://engine", timeout=60)
        yield await stack.enter_async_context(http), app.state.resources


async def change_key(desk: Desk, key_id: str, **values: Any) -> None:
    async with desk.transaction() as session:
        await session.execute(update(ApiKey).where(ApiKey.id == key_id).values(**values))


async def last_used(desk: Desk) -> Any:
    async with desk.transaction() as session:
        return await session.scalar(select(ApiKey.last_used_at).where(ApiKey.id == desk.partner.key_id))


@pytest.mark.parametrize(
    ("networks", "peer", "status"),
    [
        ([], "203.0.113.9", 200),
        (["203.0.113.0/24"], "203.0.113.9", 200),
        (["203.0.113.0/24"], "::ffff:203.0.113.9", 200),
        (["198.51.100.0/24", "2001:db8::/32"], "2001:db8::1", 200),
        (["203.0.113.0/24"], "198.51.100.1", 403),
        (["203.0.113.0/24"], "2001:db8::1", 403),
    ],
)
async def test_a_key_works_from_its_networks_only(desk: Desk, networks: list[str], peer: str, status: int) -> None:
    """A call from elsewhere is a 403 of its own; an empty list means anywhere."""
    await change_key(desk, desk.partner.key_id, allowed_networks=networks)
    async with served_at(desk.settings, peer) as (http, _):
        answer = await http.get(GRANTS, headers=desk.auth())
    assert answer.status_code == status
    if status == 403:
        assert problem(answer, 403, "address_not_allowed")["figures"] == {"address": peer}


async def test_the_address_is_refused_before_any_scope_is_told(desk: Desk) -> None:
    """Whoever calls from a wrong address learns nothing of what the key may do."""
    async with desk.transaction() as session:
        reader = await issue_key(session, partner_id="acme", mode="sandbox", scopes=[Scope.READ])
    await change_key(desk, reader.key_id, allowed_networks=["203.0.113.0/24"])
    problem(await desk.post("/v1/loans", desk.borrow_body(), key=reader.key), 403, "address_not_allowed")


@pytest.mark.parametrize(
    ("peer", "forwarded", "status"),
    [
        ("203.0.113.9", "198.51.100.1", 403),
        ("10.1.2.3", "198.51.100.1", 200),
        ("10.1.2.3", "198.51.100.1, 203.0.113.9", 403),
    ],
)
async def test_only_a_trusted_proxy_says_who_called(desk: Desk, peer: str, forwarded: str, status: int) -> None:
    """X-Forwarded-For from anybody else, and what the sender wrote into it before our proxy, is ignored."""
    await change_key(desk, desk.partner.key_id, allowed_networks=["198.51.100.0/24"])
    settings = desk.settings.model_copy(update={"trusted_proxies": ("10.0.0.0/8",)})
    async with served_at(settings, peer) as (http, _):
        answer = await http.get(GRANTS, headers={**desk.auth(), "X-Forwarded-For": forwarded})
    assert answer.status_code == status


@pytest_asyncio.fixture
async def signing(desk: Desk) -> AsyncIterator[tuple[Desk, str]]:
    """A desk whose key must sign, and its signing secret."""
    settings = desk.settings.model_copy(update={"sealing_key": SecretStr(SEALING)})
    secret = new_signing_secret()
    assert settings.sealer is not None
    sealed = settings.sealer.seal(secret.encode(), desk.partner.key_id)
    await change_key(desk, desk.partner.key_id, signing_secret=sealed, must_sign=True)
    async with served_at(settings, "203.0.113.9") as (http, _):
        yield Desk(http, settings, desk.transaction, desk.world, desk.partner, desk.user_key), secret


def signed(desk: Desk, secret: str, body: bytes, *, age: int = 0, **changes: str) -> dict[str, str]:
    asked = {"method": "POST", "target": "/v1/loans", **changes}
    proof = sign(secret, body=body, timestamp=int(time.time()) - age, **asked)
    return {**desk.auth(), "Content-Type": "application/json", **proof}


async def test_a_signed_request_is_served_with_its_body_whole(signing: tuple[Desk, str]) -> None:
    """The body that was read for the signature is the body that the route gets."""
    desk, secret = signing
    body = json.dumps(desk.borrow_body()).encode()
    answer = await desk.http.post("/v1/loans", content=body, headers=signed(desk, secret, body))
    assert answer.status_code == 202, answer.text
    assert answer.json()["operation_id"] == f"borrow:acme:loan~{desk.names[-1]}"


async def test_path_and_query_are_signed_as_they_are_sent(signing: tuple[Desk, str]) -> None:
    """A read is signed over its query, and a percent-encoded path as it stands in the request line."""
    desk, secret = signing
    for target, status in (("/v1/operations/borrow%3Aacme%3Aloan~x?wait=0", 404), ("/v1/grants?", 200)):
        proof = sign(secret, method="GET", target=target.removesuffix("?"))
        answer = await desk.http.get(target, headers={**desk.auth(), **proof})
        assert answer.status_code == status, answer.text


@pytest.mark.parametrize("left_out", [(SIGNATURE,), (TIMESTAMP,), (SIGNATURE, TIMESTAMP)])
async def test_a_key_that_must_sign_is_refused_without(signing: tuple[Desk, str], left_out: tuple[str, ...]) -> None:
    """Both headers are needed, and nothing is recorded without them."""
    desk, secret = signing
    headers = {name: value for name, value in signed(desk, secret, b"{}").items() if name not in left_out}
    problem(await desk.http.post("/v1/loans", content=b"{}", headers=headers), 401, "signature_missing")
    assert await desk.operations() == 0


ALTERED: list[tuple[dict[str, Any], str]] = [
    ({"target": "/v1/loans/x/repayments"}, "signature_invalid"),
    ({"target": "/v1/loans?a=1"}, "signature_invalid"),
    ({"method": "PUT"}, "signature_invalid"),
    ({"age": 310}, "signature_expired"),
    ({"age": -310}, "signature_expired"),
]


@pytest.mark.parametrize(("changes", "code"), ALTERED, ids=repr)
async def test_a_signature_of_another_request_is_refused(
    signing: tuple[Desk, str], changes: dict[str, Any], code: str
) -> None:
    """Another path, query or method is no proof; a good one that is too old or from the future is told so."""
    desk, secret = signing
    body = json.dumps(desk.borrow_body()).encode()
    answer = await desk.http.post("/v1/loans", content=body, headers=signed(desk, secret, body, **changes))
    assert "Bearer" in answer.headers["www-authenticate"]
    problem(answer, 401, code)
    assert await desk.operations() == 0


@pytest.mark.parametrize(
    "altered",
    [
        {"body": b'{"amount": "2"}'},
        {"secret": "another"},
        {SIGNATURE: "v1="},
        {SIGNATURE: "v0=00"},
        {SIGNATURE: "v1=\u00e9".encode().decode("latin-1")},
        {TIMESTAMP: "1"},
        {TIMESTAMP: "now"},
        {TIMESTAMP: "9" * 30},
        {TIMESTAMP: "\u00b2".encode().decode("latin-1")},
    ],
    ids=repr,
)
async def test_what_was_altered_on_the_way_is_refused(signing: tuple[Desk, str], altered: dict[str, Any]) -> None:
    """Another body, secret, signature or timestamp than was signed is a 401, however it is malformed."""
    desk, secret = signing
    headers = signed(desk, altered.pop("secret", secret), b'{"amount": "1"}')
    sent = altered.pop("body", b'{"amount": "1"}')
    raw = [(name.encode(), value.encode("latin-1")) for name, value in {**headers, **altered}.items()]
    problem(await desk.http.post("/v1/loans", content=sent, headers=raw), 401, "signature_invalid")


MONEY = [("/v1/loans/none/repayments", b'{"payoff": true}'), ("/v1/loans", None)]
ANOTHER: list[list[tuple[str, str]]] = [
    [(IDEMPOTENCY_KEY, "k-2")],
    [],
    [(IDEMPOTENCY_KEY, "")],
    [(IDEMPOTENCY_KEY, "k-1"), (IDEMPOTENCY_KEY, "k-2")],
    [(IDEMPOTENCY_KEY, "k-2"), (IDEMPOTENCY_KEY, "k-1")],
]


@pytest.mark.parametrize("keys", ANOTHER, ids=repr)
@pytest.mark.parametrize(("target", "body"), MONEY, ids=["repayment", "borrow"])
async def test_a_signature_is_for_its_idempotency_key_alone(
    signing: tuple[Desk, str], target: str, body: bytes | None, keys: list[tuple[str, str]]
) -> None:
    """Sent again with another Idempotency-Key, with none or with two, a signed request is no new operation: it is a 401."""
    desk, secret = signing
    sent = body or json.dumps(desk.borrow_body()).encode()
    headers = signed(desk, secret, sent, target=target, idempotency_key="k-1")
    answer = await desk.http.post(target, content=sent, headers=[*headers.items(), *keys])
    problem(answer, 401, "signature_invalid")
    assert await desk.operations() == 0


@pytest.mark.parametrize(("target", "body"), MONEY, ids=["repayment", "borrow"])
async def test_a_key_that_was_not_signed_makes_the_signature_void(
    signing: tuple[Desk, str], target: str, body: bytes | None
) -> None:
    """A request that was signed without an Idempotency-Key cannot be given one."""
    desk, secret = signing
    sent = body or json.dumps(desk.borrow_body()).encode()
    headers = signed(desk, secret, sent, target=target)
    answer = await desk.http.post(target, content=sent, headers={**headers, IDEMPOTENCY_KEY: "k-1"})
    problem(answer, 401, "signature_invalid")
    assert await desk.operations() == 0


@pytest.mark.parametrize(("target", "body"), MONEY, ids=["repayment", "borrow"])
async def test_a_signed_request_sent_again_is_the_same_operation(
    signing: tuple[Desk, str], target: str, body: bytes | None
) -> None:
    """Word for word it passes again, and moves nothing a second time."""
    desk, secret = signing
    sent = body or json.dumps(desk.borrow_body()).encode()
    headers = {**signed(desk, secret, sent, target=target, idempotency_key="k-1"), IDEMPOTENCY_KEY: "k-1"}
    answers = [await desk.http.post(target, content=sent, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[1].headers["idempotency-replayed"] == "true"
    assert await desk.operations() == 1


async def test_a_signature_that_is_sent_is_checked_though_it_is_not_demanded(signing: tuple[Desk, str]) -> None:
    """Where a key may sign or not, a wrong signature is refused, and none is fine."""
    desk, secret = signing
    await change_key(desk, desk.partner.key_id, must_sign=False)
    assert (await desk.get(GRANTS)).status_code == 200
    good = sign(secret, method="GET", target=GRANTS)
    assert (await desk.http.get(GRANTS, headers={**desk.auth(), **good})).status_code == 200
    wrong = sign("another", method="GET", target=GRANTS)
    problem(await desk.http.get(GRANTS, headers={**desk.auth(), **wrong}), 401, "signature_invalid")


async def test_a_key_without_a_secret_proves_nothing_by_a_signature(desk: Desk) -> None:
    """Who signs with a key that has no signing secret is told so instead of being believed."""
    headers = {**desk.auth(), **sign("a secret", method="GET", target=GRANTS)}
    problem(await desk.http.get(GRANTS, headers=headers), 401, "signature_invalid")


def test_the_signed_text_is_as_documented() -> None:
    """The example of the docs: fixed inputs give this signature for ever, and no key is an empty line."""
    asked = {"method": "post", "target": "/v1/loans?a=b", "body": b"{}", "timestamp": 1_767_225_600}
    proof = sign("ss_example", idempotency_key="loan-1", **asked)  # type: ignore[arg-type]
    text = f"v1\nPOST\n/v1/loans?a=b\n\n1767225600\n{hashlib.sha256(b'{}').hexdigest()}"
    bare = hmac.new(b"ss_example", text.encode(), hashlib.sha256).hexdigest()
    assert sign("ss_example", **asked)[SIGNATURE] == f"v1={bare}"  # type: ignore[arg-type]
    assert proof[TIMESTAMP] == "1767225600"
    assert proof[SIGNATURE] == "v1=f77355b6700e2c0e621a6644d1e77ef951d4e662fd2d1c8b948f5b8cd7bc6b39"


async def test_a_body_that_cannot_be_read_is_no_way_around_the_gate(desk: Desk) -> None:
    """Who sends no key, or one from a wrong address, is told that before anything is said of the body."""
    headers = {"Content-Type": "application/json"}
    problem(await desk.http.post("/v1/loans", content=b"{", headers=headers), 401, "api_key_missing")
    answer = await desk.http.post("/v1/loans", content=b"{", headers={**headers, **desk.auth()})
    problem(answer, 400, "malformed_json")
    assert answer.headers["ratelimit-policy"] == '"minute";q=500;w=60'


async def test_use_of_a_key_is_written_once_a_minute(desk: Desk) -> None:
    """The first use is written, and the next only when a minute has passed."""
    async with served_at(desk.settings, "203.0.113.9") as (http, resources):
        await http.get(GRANTS, headers=desk.auth())
        await resources.last_used.flush()
        first = await last_used(desk)
        assert first is not None
        await http.get(GRANTS, headers=desk.auth())
        await resources.last_used.flush()
        assert await last_used(desk) == first
    async with served_at(desk.settings, "203.0.113.9") as (http, resources):
        await http.get(GRANTS, headers=desk.auth())
        await resources.last_used.flush()
        assert await last_used(desk) == first
        await change_key(desk, desk.partner.key_id, last_used_at=text("last_used_at - interval '61 seconds'"))
    async with served_at(desk.settings, "203.0.113.9") as (http, _):
        await http.get(GRANTS, headers=desk.auth())
    assert await last_used(desk) > first


async def test_a_key_that_the_lane_has_locked_is_passed_over(desk: Desk) -> None:
    """While a leg's gate holds the key, its use is not written, and nobody waits for anybody."""
    async with served_at(desk.settings, "203.0.113.9") as (http, resources):
        await http.get(GRANTS, headers=desk.auth())
        async with desk.transaction() as session:
            await session.execute(select(ApiKey.id).where(ApiKey.id == desk.partner.key_id).with_for_update(read=True))
            async with asyncio.timeout(5):
                await resources.last_used.flush()
        assert await last_used(desk) is None


def test_every_route_with_a_key_stands_behind_the_gate(settings: Settings) -> None:
    """A router that forgets its route class would parse bodies of nobody."""
    seen = 0
    for route in _every_route(create_app(settings).routes):
        asked = list(_asked_for(route.dependant))
        assert isinstance(route, PartnerRoute) is (BEARER in asked), route.path
        assert isinstance(route, AdminRoute) is (ADMIN_BEARER in asked), route.path
        seen += 1
    assert seen >= 13


def _every_route(routes: Iterable[BaseRoute]) -> Iterator[APIRoute]:
    """Of the application and of the routers that it includes."""
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        yield from _every_route(getattr(getattr(route, "original_router", None), "routes", ()))


def _asked_for(dependant: Dependant) -> Iterator[object]:
    """Every dependency of a route, however deep."""
    for each in dependant.dependencies:
        yield each.call
        yield from _asked_for(each)
