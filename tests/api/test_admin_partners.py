"""Partners over the admin API: made without a key, changed field by field, suspended on the very next call."""

import asyncio
from typing import Any

import pytest
from eth_account import Account

from models.statuses import PartnerStatus
from models.tables.partners import Partner, SettlementAddress
from tests.api.admin import Admin, partner_body
from tests.api.desk import USD, Desk
from tests.api.test_requests import problem


def _address() -> str:
    return str(Account.create().address)


async def test_a_partner_is_made_with_its_tiers_terms_and_no_key(admin: Admin) -> None:
    """What is left out is the tier's, what is given is the partner's own and said to be."""
    body = partner_body(_address(), daily_borrow_limit="7", contact_email="ops@beta.example")
    made = await admin.post("/partners", body)
    assert (made["fee_bps"], made["daily_borrow_limit"], made["total_borrow_limit"]) == (75, "7", "200000000000")
    assert (made["status"], made["requests_per_minute"], made["overrides"]) == ("ACTIVE", 100, ["daily_borrow_limit"])
    assert "key" not in made
    found = await admin.get("/partners/beta")
    assert found["keys"] == {"live": 0, "last_used_at": None}
    assert (found["usage"]["daily_remaining"], found["usage"]["total_remaining"]) == ("7", "200000000000")
    assert found["lifetime"]["loans"] == 0


async def test_the_same_partner_twice_is_a_conflict(admin: Admin) -> None:
    """Even with an equal body: what was made may have been changed since."""
    body = partner_body(_address())
    await admin.post("/partners", body)
    problem(await admin.ask("POST", "/partners", body), 409, "partner_exists")


async def test_the_same_partner_ten_times_at_once_is_made_once(admin: Admin) -> None:
    """Whoever comes second is told so, and nothing fails."""
    bodies = [partner_body(_address()) for _ in range(10)]
    answers = await asyncio.gather(*(admin.ask("POST", "/partners", body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9


async def test_one_address_for_ten_partners_at_once_is_one_partners(admin: Admin) -> None:
    """An address belongs to one partner, whoever asks at the same moment."""
    address = _address()
    bodies = [partner_body(address, partner_id=f"beta-{number}") for number in range(10)]
    answers = await asyncio.gather(*(admin.ask("POST", "/partners", body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9
    assert {answer.json().get("code") for answer in answers} == {None, "settlement_address_taken"}


async def test_an_address_of_the_engine_or_of_another_partner_is_refused(admin: Admin, desk: Desk) -> None:
    """Nothing of a refused partner is left."""
    async with desk.transaction() as session:
        taken = (await session.get_one(Partner, "acme")).settlement_address
    refused = await admin.ask("POST", "/partners", partner_body(desk.settings.platform_wallet))
    problem(refused, 422, "settlement_address_invalid")
    problem(await admin.ask("POST", "/partners", partner_body(taken)), 409, "settlement_address_taken")
    problem(await admin.ask("GET", "/partners/beta"), 404, "partner_not_found")


NONSENSE: list[dict[str, Any]] = [
    {"partner_id": "a:b"},
    {"name": " "},
    {"name": "a\nb"},
    {"tier": "GOLD"},
    {"fee_bps": 10_000},
    {"fee_bps": -1},
    {"fee_bps": "50"},
    {"daily_borrow_limit": 5},
    {"daily_borrow_limit": "-5"},
    {"requests_per_minute": 0},
    {"settlement_address": "0x12"},
    {"contact_email": "nobody"},
    {"webhook_url": "http://beta.example"},
    {"kyc_verified": "yes"},
    {"public_key": "x"},
]


@pytest.mark.parametrize("changes", NONSENSE, ids=repr)
async def test_a_malformed_partner_is_refused_by_its_field(admin: Admin, changes: dict[str, Any]) -> None:
    """The problem points at the field."""
    refused = problem(await admin.ask("POST", "/partners", partner_body(_address(), **changes)), 422, "invalid_request")
    assert refused["errors"][0]["pointer"] == f"/{next(iter(changes))}"


async def test_a_change_says_what_changed_and_nothing_else_does(admin: Admin) -> None:
    """A field that is named with the value that it has is no change, and makes no row."""
    changed = await admin.patch("/partners/acme", {"name": "Acme", "fee_bps": 10, "kyc_verified": True})
    assert changed["changed"] == {
        "before": {"fee_bps": 50, "kyc_verified": False},
        "after": {"fee_bps": 10, "kyc_verified": True},
    }
    assert (changed["partner"]["fee_bps"], changed["partner"]["overrides"]) == (10, ["fee_bps"])
    rows = len(await admin.actions())
    assert (await admin.patch("/partners/acme", {"fee_bps": 10}))["changed"] == {"before": {}, "after": {}}
    assert len(await admin.actions()) == rows


async def test_null_takes_an_override_back(admin: Admin) -> None:
    """What then counts is the tier's; where nothing is no override, null empties the field or is refused."""
    own = {"fee_bps": 10, "daily_borrow_limit": "0", "requests_per_minute": 7, "contact_email": "a@b.example"}
    changed = (await admin.patch("/partners/acme", own))["partner"]
    assert changed["overrides"] == ["fee_bps", "daily_borrow_limit", "requests_per_minute"]
    back = (await admin.patch("/partners/acme", dict.fromkeys(own)))["partner"]
    assert (back["fee_bps"], back["daily_borrow_limit"], back["requests_per_minute"]) == (50, "100000000000", 500)
    assert (back["contact_email"], back["overrides"]) == (None, [])
    problem(await admin.ask("PATCH", "/partners/acme", {"tier": None}), 422, "invalid_request")


async def test_another_tier_brings_its_terms_but_not_over_the_partners_own(admin: Admin) -> None:
    """A term that was the old tier's follows; one that was the partner's own, or is given, stays."""
    await admin.patch("/partners/acme", {"fee_bps": 10})
    moved = (await admin.patch("/partners/acme", {"tier": "ENTERPRISE", "daily_borrow_limit": "1"}))["partner"]
    assert (moved["fee_bps"], moved["daily_borrow_limit"], moved["total_borrow_limit"]) == (10, "1", "2000000000000")
    assert moved["requests_per_minute"] == 2_000


async def test_a_settlement_address_is_nothing_that_a_patch_changes(admin: Admin) -> None:
    """It has a way of its own, with a second administrator."""
    refused = await admin.ask("PATCH", "/partners/acme", {"settlement_address": _address()})
    problem(refused, 422, "invalid_request")


@pytest.mark.parametrize(("deed", "status"), [("suspend", "SUSPENDED"), ("deactivate", "INACTIVE")])
async def test_a_suspended_partner_fails_on_its_very_next_call(
    admin: Admin, desk: Desk, deed: str, status: str
) -> None:
    """Reads included; reactivated it works again at once."""
    assert (await desk.get("/v1/grants")).status_code == 200
    done = await admin.post(f"/partners/acme/{deed}", {"reason": "a complaint"})
    assert done["changed"] == {"before": {"status": "ACTIVE"}, "after": {"status": status}}
    problem(await desk.get("/v1/grants"), 403, "partner_not_active")
    problem(await desk.borrow(), 403, "partner_not_active")
    await admin.post("/partners/acme/reactivate", {"reason": "settled"})
    assert (await desk.get("/v1/grants")).status_code == 200


async def test_partners_come_in_pages_by_their_ids_with_filters(admin: Admin) -> None:
    """Each partner once, whatever the size of the page."""
    for number in range(4):
        await admin.post("/partners", partner_body(_address(), partner_id=f"beta-{number}"))
    await admin.post("/partners/beta-2/suspend", {"reason": "x"})
    seen: list[str] = []
    path = "/partners?limit=2"
    while path:
        page = await admin.get(path)
        seen += [each["partner_id"] for each in page["partners"]]
        path = page["next_cursor"] and f"/partners?limit=2&cursor={page['next_cursor']}"
    assert seen == ["acme", "beta-0", "beta-1", "beta-2", "beta-3"]
    assert [each["partner_id"] for each in (await admin.get("/partners?status=SUSPENDED"))["partners"]] == ["beta-2"]
    assert [each["partner_id"] for each in (await admin.get("/partners?tier=PREMIUM"))["partners"]] == ["acme"]


async def test_usage_shows_what_counts_against_the_limits(admin: Admin, working_desk: Desk) -> None:
    """A borrow that is accepted is reserved, of the day and of the total."""
    assert (await working_desk.grant()).status_code == 201
    answer = await working_desk.borrow()
    assert answer.json()["decision"] == "accepted", answer.text
    usage = (await admin.get("/partners/acme"))["usage"]
    assert (usage["reserved"], usage["reserved_today"]) == (str(5_000 * USD), str(5_000 * USD))
    assert usage["daily_remaining"] == str(95_000 * USD)


async def test_a_partners_own_key_opens_no_admin_route(desk: Desk, admin: Admin) -> None:
    """Nor an administrator's key a partner's route; each is unknown there."""
    problem(await desk.get("/v1/admin/partners"), 401, "api_key_unknown")
    problem(await desk.get("/v1/grants", key=admin.key.key), 401, "api_key_unknown")
    problem(await desk.http.get("/v1/admin/partners"), 401, "api_key_missing")


async def test_nothing_registers_an_address_of_a_partner_that_was_refused(admin: Admin, desk: Desk) -> None:
    """A refused creation leaves its address free."""
    address = _address()
    problem(await admin.ask("POST", "/partners", partner_body(address, partner_id="acme")), 409, "partner_exists")
    async with desk.transaction() as session:
        assert await session.get(SettlementAddress, address) is None
        assert (await session.get_one(Partner, "acme")).status is PartnerStatus.ACTIVE
