"""Reading the request log: whose rows are seen, in which order, by which filters, and that no filter walks the whole table."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Select, insert, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession

from api.keys import new_admin_key
from api.requests import WINDOW, AdminRequestFilters, RequestFilters, admins_query, partners_query
from models.ids import new_id
from models.tables.administration import Administrator, AdminKey
from models.tables.requests import RequestLog
from tests.api.desk import Desk, new_partner
from tests.api.test_requests import problem

ROWS = 40_000


@pytest_asyncio.fixture
async def admin(desk: Desk) -> str:
    """An administrator's key."""
    key = new_admin_key("sandbox")
    async with desk.transaction() as session:
        session.add(Administrator(id="adm_1", name="Ada"))
        await session.flush()
        session.add(AdminKey(id="akey_1", administrator_id="adm_1", prefix=key.prefix, secret_hash=key.hash(None)))
    return key.text


async def listed(
    desk: Desk, query: str, *, key: str | None = None, path: str = "/v1/me/requests"
) -> list[dict[str, Any]]:
    answer = await desk.get(f"{path}?{query}", key=key)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["requests"]
    return found


async def test_a_partner_sees_its_own_calls_newest_first_and_nobody_elses(desk: Desk) -> None:
    """Another partner's calls, and those that nobody was let in by, are not among them."""
    other = await new_partner(desk.transaction, "other")
    await desk.get("/v1/grants", key=other.key)
    await desk.get("/v1/grants", key="nonsense")
    await desk.get("/v1/grants")
    await desk.get("/v1/loans/none")
    found = await listed(desk, "")
    assert [(each["route"], each["status"]) for each in found] == [
        ("/v1/loans/{partner_loan_id}", 404),
        ("/v1/grants", 200),
    ]
    assert "partner_id" not in found[0]
    assert [each["route"] for each in await listed(desk, "", key=other.key)] == ["/v1/grants"]


async def test_filters_hold_together(desk: Desk) -> None:
    """Status, least status, method, route, operation, trace and times each leave out what they do not name."""
    await desk.borrow(amount="0")
    missing = await desk.get("/v1/operations/borrow:acme:x")
    await desk.get("/v1/grants")

    async def routes(query: str) -> list[str]:
        return [each["route"] for each in await listed(desk, query)]

    operation = "/v1/operations/{operation_id}"
    assert await routes("status=404") == [operation]
    assert await routes("min_status=400") == [operation, "/v1/loans"]
    assert await routes("method=POST") == ["/v1/loans"]
    assert await routes("route=/v1/loans") == ["/v1/loans"]
    assert await routes("operation_id=borrow:acme:x") == [operation]
    assert await routes(f"trace_id={missing.json()['trace_id']}&status=404") == [operation]
    assert await routes("status=404&method=POST") == []
    assert await routes("since=2100-01-01T00:00:00Z") == await routes("until=2000-01-01T00:00:00Z") == []
    assert len(await routes("since=2000-01-01T00:00:00Z&until=2100-01-01T00:00:00Z&route=/v1/grants")) == 1


async def test_the_log_goes_back_a_month_unless_more_is_asked_for(desk: Desk) -> None:
    """Older calls are found with ``since`` or ``until``, and those of one trace at any time."""
    old = datetime.now(UTC) - WINDOW - timedelta(days=1)
    async with desk.transaction() as session:
        await add_rows(session, [old, old + timedelta(days=2)], partner_id="acme", trace_id="ab" * 16)
    assert len(await listed(desk, "route=/v1/grants")) == 1
    assert len(await listed(desk, "route=/v1/grants&since=2020-01-01T00:00:00Z")) == 2
    until = (old + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert len(await listed(desk, f"route=/v1/grants&until={until}")) == 1
    assert len(await listed(desk, f"trace_id={'ab' * 16}")) == 2
    assert await listed(desk, "until=2000-01-01T00:00:00Z") == []


async def test_pages_follow_each_other_without_gap_or_repeat(desk: Desk) -> None:
    """Also where rows were written in the same moment; what is written meanwhile is on no later page."""
    same = datetime.now(UTC) - timedelta(minutes=1)
    async with desk.transaction() as session:
        await add_rows(session, [same] * 5, partner_id="acme")
    seen: list[str] = []
    answer = (await desk.get("/v1/me/requests?limit=2")).json()
    while True:
        seen += [each["request_id"] for each in answer["requests"]]
        if answer["next_cursor"] is None:
            break
        answer = (await desk.get(f"/v1/me/requests?limit=2&cursor={answer['next_cursor']}")).json()
    assert len(seen) == len(set(seen)) == 5
    assert seen == sorted(seen, reverse=True)


@pytest.mark.parametrize(
    "query", ["limit=201", "limit=0", "cursor=x", "status=1", "route=%00", "since=now", "unknown=1"]
)
async def test_what_is_no_filter_is_refused(desk: Desk, query: str) -> None:
    """Each is a 422 that names its parameter."""
    found = problem(await desk.get(f"/v1/me/requests?{query}"), 422, "invalid_request")
    assert found["errors"][0]["parameter"] == query.partition("=")[0]


async def test_administrators_see_everybodys_calls(desk: Desk, admin: str) -> None:
    """By partner, by key, and those whose authentication failed; a partner's key opens nothing here."""
    other = await new_partner(desk.transaction, "other")
    await desk.get("/v1/grants", key=other.key)
    await desk.get("/v1/grants", key="nonsense")
    await desk.get("/v1/grants")
    path = "/v1/admin/requests"
    found = await listed(desk, "", key=admin, path=path)
    assert [each["partner_id"] for each in found] == ["acme", None, "other"]
    found = await listed(desk, "route=/v1/admin/requests", key=admin, path=path)
    assert [(each["administrator_id"], each["key_prefix"]) for each in found] == [("adm_1", admin[:15])]
    assert [each["partner_id"] for each in await listed(desk, "partner_id=other", key=admin, path=path)] == ["other"]
    by_key = await listed(desk, f"key_prefix={desk.partner.prefix}", key=admin, path=path)
    assert [each["partner_id"] for each in by_key] == ["acme"]
    failed = await listed(desk, "failed_authentication=true", key=admin, path=path)
    assert [each["code"] for each in failed] == ["api_key_malformed"]
    problem(await desk.get(path), 401, "api_key_unknown")
    problem(await desk.get("/v1/me/requests", key=admin), 401, "api_key_unknown")


async def add_rows(session: AsyncSession, moments: list[datetime], **fields: Any) -> None:
    """Rows of calls at these moments; fields may depend on a row's number."""
    rows = [
        {
            "at": at,
            "id": new_id("req"),
            "method": "GET",
            "route": "/v1/grants",
            "path": "/v1/grants",
            "status": 200,
            "duration_us": 1,
            "trace_id": f"{number:032x}",
            **{name: value(number) if callable(value) else value for name, value in fields.items()},
        }
        for number, at in enumerate(moments)
    ]
    await session.execute(insert(RequestLog), rows)


@pytest_asyncio.fixture
async def full(desk: Desk) -> AsyncIterator[AsyncSession]:
    """A log of forty thousand calls by fifty partners, some refused, spread over the days of this month so far."""
    now = datetime.now(UTC)
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    moments = [first + (now - first) * number / ROWS for number in range(ROWS)]
    async with desk.transaction() as session:
        await add_rows(
            session,
            moments,
            partner_id=lambda number: None if number % 500 == 0 else f"partner-{number % 50}",
            key_prefix=lambda number: f"pk_partner-{number % 50}_live_abcd",
            status=lambda number: 401 if number % 500 == 0 else 422 if number % 97 == 0 else 200,
            operation_id=lambda number: f"borrow:partner-{number % 50}:{number // 50}",
        )
    async with desk.transaction() as session:
        await session.execute(text("ANALYZE request_log"))
        yield session


QUERIES = {
    "a partner's": partners_query("partner-7", RequestFilters()),
    "a partner's next page": partners_query(
        "partner-7", RequestFilters(cursor=f"{1_800_000_000_000_000}.req_{'0' * 26}")
    ),
    "a partner's errors": partners_query("partner-7", RequestFilters(min_status=400)),
    "a partner's of one status": partners_query("partner-7", RequestFilters(status=422)),
    "a partner's operation": partners_query("partner-7", RequestFilters(operation_id="borrow:partner-7:3")),
    "a partner's by route": partners_query("partner-7", RequestFilters(route="/v1/grants", method="GET")),
    "a partner's by time": partners_query("partner-7", RequestFilters(since="2026-01-01T00:00:00Z")),
    "everybody's": admins_query(AdminRequestFilters()),
    "everybody's of a partner": admins_query(AdminRequestFilters(partner_id="partner-7")),
    "everybody's of a key": admins_query(AdminRequestFilters(key_prefix="pk_partner-7_live_abcd")),
    "failed authentications": admins_query(AdminRequestFilters(failed_authentication=True)),
    "an operation's": admins_query(AdminRequestFilters(operation_id="borrow:partner-7:3")),
    "a trace's": admins_query(AdminRequestFilters(trace_id=f"{77:032x}")),
}


async def test_no_filter_walks_the_table(full: AsyncSession) -> None:
    """Every query is led by an index: no sequential scan but of empty months, and a few hundred pages at most."""
    for name, query in QUERIES.items():
        plan = await explained(full, query)
        walked = [node for node in nodes(plan) if node["Node Type"] == "Seq Scan"]
        scanned = [node["Relation Name"] for node in walked if node["Shared Hit Blocks"] + node["Shared Read Blocks"]]
        assert scanned == [], (name, plan)
        read = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        assert read < 400, (name, read, plan)


async def explained(session: AsyncSession, query: Select[Any]) -> dict[str, Any]:
    words = query.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})  # type: ignore[no-untyped-call]  # SQLAlchemy's own
    plan = await session.scalar(text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {words}".replace(":", r"\:")))
    found: dict[str, Any] = plan[0]["Plan"]
    return found


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for part in plan.get("Plans", []) for node in nodes(part))]
