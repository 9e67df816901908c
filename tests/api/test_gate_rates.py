"""How often: exact moving windows that all processes share, with headers that tell the truth, and no Valkey is no failure."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr
from sqlalchemy import event, select, text, update

from api.administration import issue_key
from api.keys import new_key
from api.limiter import INCIDENT_SUBJECT, Limiter
from api.resources import Resources
from api.windows import Taken, ValkeyWindows
from models.statuses import IncidentKind, PartnerStatus
from models.tables.operators import Incident
from models.tables.partners import Partner
from sandbox.services import Valkey
from settings import Settings
from tests.api.desk import Desk
from tests.api.test_gate import GRANTS, served_at
from tests.api.test_requests import problem
from tests.engine import until

HERE = "203.0.113.9"
RATE = re.compile(r'"minute";r=(\d+);t=(\d+)')


@pytest.fixture
def shared(settings: Settings, valkey: Valkey) -> Settings:
    """Requests counted in Valkey."""
    return settings.model_copy(update={"rate_limit_url": SecretStr(valkey.url)})


def left(answer: httpx.Response) -> tuple[int, int]:
    """What remains, and in how many seconds one more place is free."""
    found = RATE.fullmatch(answer.headers["ratelimit"])
    assert found, answer.headers
    return int(found[1]), int(found[2])


async def set_terms(desk: Desk, **terms: Any) -> None:
    async with desk.transaction() as session:
        await session.execute(update(Partner).where(Partner.id == "acme").values(**terms))


async def test_each_answer_says_what_is_left_and_the_last_one_when_to_come_back(desk: Desk, shared: Settings) -> None:
    """RateLimit and RateLimit-Policy on every answer; past the limit a 429 with Retry-After, and nothing is done."""
    await set_terms(desk, requests_per_minute=3)
    async with served_at(shared, HERE) as (http, _):
        answers = [await http.get(GRANTS, headers=desk.auth()) for _ in range(2)]
        answers.append(await http.get("/v1/loans/none", headers=desk.auth()))
        refused = await http.post("/v1/loans", json=desk.borrow_body(), headers=desk.auth())
    assert [answer.status_code for answer in answers] == [200, 200, 404]
    assert [left(answer)[0] for answer in answers] == [2, 1, 0]
    assert all(0 < left(answer)[1] <= 60 for answer in answers)
    assert {answer.headers["ratelimit-policy"] for answer in [*answers, refused]} == {'"minute";q=3;w=60'}
    found = problem(refused, 429, "rate_limited")
    assert left(refused) == (0, int(refused.headers["retry-after"]))
    assert found["figures"] == {"limit_per_minute": "3", "retry_after_seconds": refused.headers["retry-after"]}
    assert await desk.operations() == 0


async def test_a_tier_has_its_limit_and_a_partner_may_have_its_own(desk: Desk, shared: Settings) -> None:
    """500 a minute for PREMIUM, unless the partner's own row says otherwise, from the next request on."""
    async with served_at(shared, HERE) as (http, _):
        policy = (await http.get(GRANTS, headers=desk.auth())).headers["ratelimit-policy"]
        assert policy == '"minute";q=500;w=60'
        await set_terms(desk, requests_per_minute=1)
        problem(await http.get(GRANTS, headers=desk.auth()), 429, "rate_limited")
        await set_terms(desk, requests_per_minute=2)
        assert (await http.get(GRANTS, headers=desk.auth())).status_code == 200


async def test_a_refusal_of_the_partner_or_the_scope_counts_too(desk: Desk, shared: Settings) -> None:
    """A suspended partner cannot ask more often than others."""
    await set_terms(desk, requests_per_minute=1, status=PartnerStatus.SUSPENDED)
    async with served_at(shared, HERE) as (http, _):
        problem(await http.get(GRANTS, headers=desk.auth()), 403, "partner_not_active")
        problem(await http.get(GRANTS, headers=desk.auth()), 429, "rate_limited")


async def test_public_routes_are_limited_by_address_and_health_is_not(shared: Settings) -> None:
    """Another address has a count of its own; one sender's /64 of IPv6 has one."""
    settings = shared.model_copy(update={"public_requests_per_minute": 2})
    for peer, neighbour in (("198.51.100.7", "198.51.100.8"), ("2001:db8:7::1", "2001:db8:8::1")):
        async with served_at(settings, peer) as (http, _), served_at(settings, neighbour) as (other, _):
            answers = [await http.get("/v1/positions/999999") for _ in range(3)]
            assert [answer.status_code for answer in answers] == [404, 404, 429], peer
            assert left(answers[0])[0] == 1
            assert (await other.get("/v1/positions/999999")).status_code == 404
            assert (await http.get("/v1/health/live")).status_code == 200
    async with served_at(settings, "2001:db8:7::2") as (http, _):
        problem(await http.get("/v1/positions/999999"), 429, "rate_limited")


async def test_keys_cannot_be_guessed_at_speed_and_a_neighbour_goes_on(desk: Desk, shared: Settings) -> None:
    """Past the limit of failures a key is not looked at any more, unless it was good from that very address before."""
    settings = shared.model_copy(update={"failed_keys_per_minute": 3})
    async with served_at(settings, "198.51.100.9") as (http, _), served_at(settings, "198.51.100.10") as (other, _):
        assert (await http.get(GRANTS, headers=desk.auth())).status_code == 200
        for _ in range(3):
            wrong = {"Authorization": f"Bearer {new_key('acme', 'sandbox').text}"}
            problem(await http.get(GRANTS, headers=wrong), 401, "api_key_unknown")
        refused = await http.get(GRANTS, headers={"Authorization": f"Bearer {new_key('acme', 'sandbox').text}"})
        problem(refused, 429, "rate_limited")
        assert 0 < int(refused.headers["retry-after"]) <= 60
        assert (await http.get(GRANTS, headers=desk.auth())).status_code == 200
        assert (await other.get(GRANTS, headers=desk.auth())).status_code == 200
        guessed = await issue_key_of(desk)
        problem(await http.get(GRANTS, headers={"Authorization": f"Bearer {guessed}"}), 429, "rate_limited")


@pytest.mark.parametrize("same", [True, False], ids=["one-key", "another-each-time"])
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/me", 401), ("GET", "/nope", 404), ("PUT", "/v1/loans", 405), ("GET", "/v1/positions/99", 404)],
)
async def test_invented_keys_cost_no_more_than_the_limit(
    desk: Desk, shared: Settings, *, method: str, path: str, status: int, same: bool
) -> None:
    """200 of them leave at most the limit's rows and look-ups, on any path, and a good partner at that address is served."""
    address = f"2001:db8:{uuid4().hex[:4]}:{uuid4().hex[:4]}::1"  # of this test alone, since all share one Valkey
    settings = shared.model_copy(update={"failed_keys_per_minute": 5})
    key = new_key("acme", "sandbox").text
    async with served_at(settings, address) as (http, resources):
        assert (await http.get("/v1/me", headers=desk.auth())).status_code == 200
        looked_up = count_selects(resources)
        answers = []
        for _ in range(200):
            sent = key if same else new_key("acme", "sandbox").text
            answers.append(await http.request(method, path, headers={"Authorization": f"Bearer {sent}"}))
        lookups = len(looked_up)
        assert (await http.get("/v1/me", headers=desk.auth())).status_code == 200
        problem(await http.get("/nope", headers=desk.auth()), 404, "route_not_found")
    assert [answer.status_code for answer in answers[:5]] == [status] * 5
    if path != "/v1/positions/99":
        assert {answer.status_code for answer in answers[6:]} == {429}
        assert answers[-1].headers["ratelimit-policy"] == '"minute";q=5;w=60'
        assert 0 < int(answers[-1].headers["retry-after"]) <= 60
        problem(answers[-1], 429, "rate_limited")
    assert lookups <= 6
    async with desk.transaction() as session:
        unknown = await session.scalar(text("SELECT count(*) FROM request_log WHERE partner_id IS NULL"))
        known = await session.scalar(text("SELECT count(*) FROM request_log WHERE partner_id = 'acme'"))
    assert unknown == 5
    assert known == 3


def count_selects(resources: Resources) -> list[str]:
    """The look-ups of keys from now on."""
    seen: list[str] = []
    engine = resources.statements.kw["bind"].sync_engine

    @event.listens_for(engine, "before_cursor_execute")
    def see(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "secret_hash" in statement:
            seen.append(statement)

    return seen


async def test_a_call_from_a_wrong_address_costs_the_partner_nothing(desk: Desk, shared: Settings) -> None:
    """Who has the key alone cannot use up the partner's requests."""
    await set_terms(desk, requests_per_minute=1)
    async with desk.transaction() as session:
        await session.execute(text("UPDATE api_keys SET allowed_networks = '{203.0.113.0/24}'"))
    async with served_at(shared, "198.51.100.11") as (thief, _), served_at(shared, HERE) as (http, _):
        problem(await thief.get(GRANTS, headers=desk.auth()), 403, "address_not_allowed")
        assert (await http.get(GRANTS, headers=desk.auth())).status_code == 200


async def test_two_processes_share_one_count(desk: Desk, shared: Settings) -> None:
    """What one lets through, the other does not."""
    await set_terms(desk, requests_per_minute=10)
    async with served_at(shared, HERE) as (one, _), served_at(shared, HERE) as (two, _):
        asked = [http.get(GRANTS, headers=desk.auth()) for http in (one, two) for _ in range(20)]
        answers = await asyncio.gather(*asked)
    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [429] * 30


async def test_three_thousand_at_once_pass_exactly_so_many(valkey: Valkey, desk: Desk) -> None:
    """3,000 at once in three processes on a limit of 500: exactly 500, each place given once, and Valkey is not lost."""
    limiters = [Limiter(ValkeyWindows(valkey.url), desk.transaction) for _ in range(3)]
    taken = await asyncio.gather(*(each.take("many", 500) for _ in range(1000) for each in limiters))
    lost = [each.counts_locally for each in limiters]
    for each in limiters:
        await each.aclose()
    assert lost == [False] * 3
    assert sorted(one.remaining for one in taken if one.accepted) == list(range(500))
    assert all(one.frees_in <= 60_000 for one in taken)


async def test_a_place_is_free_when_the_oldest_has_left_and_not_before(valkey: Valkey) -> None:
    """The window moves by Valkey's own clock: an entry of 59.5 s ago counts, one of 60 s ago does not."""
    windows = ValkeyWindows(valkey.url)
    await windows.take([("moving", 3)])
    for age, accepted in ((59_500_000, False), (60_000_001, True)):
        await valkey_says(windows, "DEL", "loan-engine:requests:moving")
        seconds, micros = await valkey_says(windows, "TIME")
        now = int(seconds) * 1_000_000 + int(micros)
        await valkey_says(windows, "RPUSH", "loan-engine:requests:moving", now, now, now - age)
        (taken,) = await windows.take([("moving", 3)])
        assert (taken.accepted, taken.remaining) == (accepted, 0)
        assert taken.frees_in <= (60_000 if accepted else 500)
    await windows.aclose()


async def test_a_lowered_limit_frees_a_place_only_when_enough_have_left(valkey: Valkey) -> None:
    """With more in the window than the limit now allows, the newest of those that must leave decides."""
    windows = ValkeyWindows(valkey.url)
    seconds, micros = await valkey_says(windows, "TIME")
    now = int(seconds) * 1_000_000 + int(micros)
    ages = [1_000_000 * age for age in (10, 20, 30, 40)]
    await valkey_says(windows, "RPUSH", "loan-engine:requests:lowered", *(now - age for age in ages))
    (taken,) = await windows.take([("lowered", 2)])
    await windows.aclose()
    assert not taken.accepted
    assert 39_000 < taken.frees_in <= 40_000


class Counted:
    """A store that counts how often it is asked, and refuses."""

    asked = 0

    async def take(self, asked: Sequence[tuple[str, int]]) -> list[Taken]:
        self.asked += len(asked)
        return [Taken(limit, accepted=False, remaining=0, frees_in=60_000) for _, limit in asked]

    async def aclose(self) -> None:
        """Nothing is open."""


async def test_what_is_known_to_be_full_is_not_asked_for_again(desk: Desk) -> None:
    """A flood of refused requests costs Valkey nothing; another limit for the same key is asked for anew."""
    store = Counted()
    limiter = Limiter(store, desk.transaction)  # type: ignore[arg-type]
    for _ in range(10):
        assert not (await limiter.take("key", 5)).accepted
    await limiter.take("key", 6)
    await limiter.aclose()
    assert store.asked == 2


class Silent(Counted):
    """A store that never answers."""

    async def take(self, asked: Sequence[tuple[str, int]]) -> list[Taken]:
        self.asked += len(asked)
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_silent_store_holds_up_one_request_and_not_the_next(desk: Desk) -> None:
    """The first waits a quarter of a second, and the others are counted here without waiting."""
    store = Silent()
    limiter = Limiter(store, desk.transaction)  # type: ignore[arg-type]
    began = asyncio.get_running_loop().time()
    taken = [await limiter.take("key", 5) for _ in range(8)]
    assert asyncio.get_running_loop().time() - began < 2
    await limiter.aclose()
    assert store.asked == 1
    assert [one.accepted for one in taken] == [True] * 5 + [False] * 3
    assert [one.remaining for one in taken[:5]] == [4, 3, 2, 1, 0]


@pytest_asyncio.fixture
async def own_valkey(tmp_path: Path) -> AsyncIterator[Valkey]:
    """One that a test may kill."""
    async with Valkey.start(tmp_path / "valkey") as own:
        yield own


async def incidents(desk: Desk) -> list[bool]:
    """Whether each that there was is open."""
    asked = select(Incident.closed_at).where(
        Incident.kind == IncidentKind.RATE_LIMITS_LOCAL, Incident.subject == INCIDENT_SUBJECT
    )
    async with desk.transaction() as session:
        return [closed is None for closed in (await session.scalars(asked.order_by(Incident.opened_at))).all()]


@pytest.mark.parametrize("frozen", [False, True], ids=["killed", "frozen"])
async def test_without_valkey_each_process_counts_and_it_is_used_again_when_it_is_back(
    desk: Desk, own_valkey: Valkey, frozen: bool
) -> None:
    """No request fails; the same limit holds here; an incident is opened once, and closed when Valkey is back."""
    settings = desk.settings.model_copy(update={"rate_limit_url": SecretStr(own_valkey.url)})
    await set_terms(desk, requests_per_minute=8)
    async with served_at(settings, HERE) as (http, resources):
        assert left(await http.get(GRANTS, headers=desk.auth()))[0] == 7
        if frozen:
            own_valkey.process.freeze()
        else:
            await own_valkey.process.kill()
        answers = [await http.get(GRANTS, headers=desk.auth()) for _ in range(10)]
        assert [answer.status_code for answer in answers] == [200] * 8 + [429] * 2
        assert left(answers[0])[0] == 7
        assert resources.limiter.counts_locally
        await until(lambda: is_told(desk, [True]))
        if frozen:
            own_valkey.process.thaw()
        else:
            await own_valkey.process.start()
        await until(lambda: is_shared(resources))
        await until(lambda: is_told(desk, [False]))


async def test_a_valkey_that_is_away_at_the_start_is_used_when_it_comes(desk: Desk, own_valkey: Valkey) -> None:
    """The API starts and is ready without it; an incident that an earlier process left open is closed by its return."""
    settings = desk.settings.model_copy(update={"rate_limit_url": SecretStr(own_valkey.url)})
    await own_valkey.process.kill()
    async with served_at(settings, HERE) as (http, resources):
        assert (await http.get("/v1/health/ready")).status_code == 200
        assert (await http.get(GRANTS, headers=desk.auth())).status_code == 200
        await until(lambda: is_told(desk, [True]))
    await own_valkey.process.start()
    async with served_at(settings, HERE) as (_, resources):
        await until(lambda: is_told(desk, [False]))
        assert not resources.limiter.counts_locally


async def is_told(desk: Desk, told: list[bool]) -> bool:
    return await incidents(desk) == told


async def is_shared(resources: Resources) -> bool:
    return not resources.limiter.counts_locally


async def valkey_says(windows: ValkeyWindows, *words: Any) -> Any:
    return await windows._client.execute_command(*words)  # type: ignore[no-untyped-call]


async def issue_key_of(desk: Desk) -> str:
    async with desk.transaction() as session:
        return (await issue_key(session, partner_id="acme", mode="sandbox")).key
