"""Keys over the admin API: shown once, narrowed, rotated with an overlap, refused on the very next call."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.signing import sign
from models.statuses import AdminActionKind
from models.tables.partners import ApiKey
from settings import Settings
from tests.api.admin import Admin, new_admin
from tests.api.desk import Desk, served
from tests.api.test_requests import problem

SEALING_KEY = "11" * 32


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A deployment that can seal."""
    return Settings(**{**settings.model_dump(exclude_unset=True), "sealing_key": SEALING_KEY})


async def _row(desk: Desk, key_id: str) -> ApiKey:
    async with desk.transaction() as session:
        return await session.get_one(ApiKey, key_id)


async def test_a_key_is_shown_once_and_never_again(admin: Admin, desk: Desk) -> None:
    """What is listed holds neither the key nor its hash nor a secret."""
    issued = await admin.issue_key(scopes=["read"], label="back office", with_signing_secret=True)
    assert (await desk.get("/v1/grants", key=issued["key"])).status_code == 200
    listed = await admin.get("/partners/acme/keys")
    row = await _row(desk, issued["key_id"])
    for secret in (issued["key"], issued["signing_secret"], row.secret_hash):
        assert secret not in str(listed)
        assert secret not in str(await admin.get("/actions"))
    newest = listed["keys"][0]
    assert (newest["label"], newest["scopes"], newest["has_signing_secret"]) == ("back office", ["read"], True)
    assert len(listed["keys"]) == 2


async def test_a_key_has_only_the_scopes_that_it_was_given(admin: Admin, desk: Desk) -> None:
    """A reader borrows nothing, until its scopes are changed."""
    issued = await admin.issue_key(scopes=["read"])
    problem(await desk.post("/v1/loans", desk.borrow_body(), key=issued["key"]), 403, "scope_missing")
    path = f"/partners/acme/keys/{issued['key_id']}"
    changed = await admin.patch(path, {"scopes": ["read", "borrow", "read"], "label": "till"})
    assert changed["changed"]["before"] == {"scopes": ["read"], "label": None}
    assert changed["key"]["scopes"] == ["borrow", "read"]
    assert (await desk.post("/v1/grants/typed-data", desk.grant_fields(), key=issued["key"])).status_code == 200


async def test_a_signing_secret_is_sealed_for_its_key(admin: Admin, desk: Desk) -> None:
    """What is stored opens with the deployment's sealing key, for this key's row alone."""
    issued = await admin.issue_key(must_sign=True)
    row = await _row(desk, issued["key_id"])
    sealer = desk.settings.sealer
    assert sealer is not None
    assert row.signing_secret is not None
    assert sealer.open(row.signing_secret, row.id).decode() == issued["signing_secret"]
    assert row.must_sign
    assert issued["signing_secret"].encode() not in row.signing_secret


async def test_without_a_sealing_key_no_secret_is_issued(admin: Admin, desk: Desk) -> None:
    """It is said which setting is missing, and no key is made."""
    bare = desk.settings.model_copy(update={"sealing_key": None})
    async with served(bare) as http:
        asked = {"Authorization": f"Bearer {admin.key.key}"}
        answer = await http.post("/v1/admin/partners/acme/keys", json={"must_sign": True}, headers=asked)
    assert "ENGINE_SEALING_KEY" in problem(answer, 409, "signing_not_configured")["detail"]
    assert len((await admin.get("/partners/acme/keys"))["keys"]) == 1


async def test_a_key_without_a_secret_cannot_be_made_to_sign(admin: Admin) -> None:
    """Its next request could never be made; rotation gives it a secret."""
    issued = await admin.issue_key()
    path = f"/partners/acme/keys/{issued['key_id']}"
    problem(await admin.ask("PATCH", path, {"must_sign": True}), 409, "signing_secret_missing")
    rotated = await admin.post(f"{path}/rotate", {"with_signing_secret": True})
    changed = await admin.patch(f"/partners/acme/keys/{rotated['key_id']}", {"must_sign": True})
    assert changed["changed"]["after"] == {"must_sign": True}


async def test_networks_are_stored_as_blocks(admin: Admin) -> None:
    """One address is a block of one."""
    issued = await admin.issue_key(allowed_networks=["203.0.113.7", "2001:DB8::/32"])
    (newest, _) = (await admin.get("/partners/acme/keys"))["keys"]
    assert newest["key_id"] == issued["key_id"]
    assert newest["allowed_networks"] == ["203.0.113.7/32", "2001:db8::/32"]


async def test_a_key_that_must_sign_does_nothing_without_its_secret(admin: Admin, desk: Desk) -> None:
    """What the answer shows once is what the requests are signed with."""
    issued = await admin.issue_key(must_sign=True)
    problem(await desk.get("/v1/grants", key=issued["key"]), 401, "signature_missing")
    headers = {**desk.auth(issued["key"]), **sign(issued["signing_secret"], method="GET", target="/v1/grants")}
    assert (await desk.http.get("/v1/grants", headers=headers)).status_code == 200


async def test_a_key_is_refused_from_elsewhere_on_its_very_next_call(admin: Admin, desk: Desk) -> None:
    """Its networks are narrowed, and opened again."""
    issued = await admin.issue_key()
    path = f"/partners/acme/keys/{issued['key_id']}"
    await admin.patch(path, {"allowed_networks": ["203.0.113.0/24"]})
    problem(await desk.get("/v1/grants", key=issued["key"]), 403, "address_not_allowed")
    await admin.patch(path, {"allowed_networks": ["203.0.113.0/24", "127.0.0.0/8"]})
    assert (await desk.get("/v1/grants", key=issued["key"])).status_code == 200


NONSENSE: list[dict[str, Any]] = [
    {"allowed_networks": ["203.0.113.7/24"]},
    {"allowed_networks": ["example.com"]},
    {"allowed_networks": ["fe80::1%eth0"]},
    {"allowed_networks": [7]},
    {"scopes": []},
    {"scopes": ["admin"]},
    {"expires_at": "tomorrow"},
    {"secret_hash": "x"},
]


@pytest.mark.parametrize("fields", NONSENSE, ids=repr)
async def test_a_malformed_key_is_refused(admin: Admin, fields: dict[str, Any]) -> None:
    """The field is named, and no key is made."""
    problem(await admin.ask("POST", "/partners/acme/keys", fields), 422, "invalid_request")
    assert len((await admin.get("/partners/acme/keys"))["keys"]) == 1


async def test_a_revoked_key_fails_on_its_very_next_call(admin: Admin, desk: Desk) -> None:
    """Revoking it again changes nothing, and is recorded once."""
    issued = await admin.issue_key()
    assert (await desk.get("/v1/grants", key=issued["key"])).status_code == 200
    path = f"/partners/acme/keys/{issued['key_id']}"
    await admin.delete(f"{path}?reason=leaked")
    problem(await desk.get("/v1/grants", key=issued["key"]), 401, "api_key_revoked")
    first = (await admin.get("/partners/acme/keys"))["keys"][0]["revoked_at"]
    await admin.delete(path)
    assert (await admin.get("/partners/acme/keys"))["keys"][0]["revoked_at"] == first
    assert [each for each, _ in await admin.actions()].count(AdminActionKind.REVOKE_KEY) == 1
    problem(await admin.ask("PATCH", path, {"label": "x"}), 409, "key_over")
    problem(await admin.ask("POST", f"{path}/rotate", {}), 409, "key_over")


async def test_a_key_of_another_partner_is_not_there(admin: Admin, desk: Desk) -> None:
    """A path that names the wrong partner changes nothing."""
    path = f"/partners/zeta/keys/{desk.partner.key_id}"
    problem(await admin.ask("DELETE", path), 404, "key_not_found")
    problem(await admin.ask("PATCH", path, {"label": "x"}), 404, "key_not_found")
    assert (await desk.get("/v1/grants")).status_code == 200


async def test_a_rotated_key_works_on_beside_the_new_one(admin: Admin) -> None:
    """The new key has the old one's settings, and the old one ends a day from now."""
    terms: dict[str, Any] = {"scopes": ["read"], "label": "till", "allowed_networks": ["0.0.0.0/0"], "must_sign": True}
    old = await admin.issue_key(**terms)
    new = await admin.post(f"/partners/acme/keys/{old['key_id']}/rotate", {})
    assert new["signing_secret"] not in (None, old["signing_secret"])
    listed = {key["key_id"]: key for key in (await admin.get("/partners/acme/keys"))["keys"]}
    assert {name: listed[new["key_id"]][name] for name in terms} == terms
    assert listed[new["key_id"]]["expires_at"] is None
    ends = datetime.fromisoformat(listed[old["key_id"]]["expires_at"])
    assert timedelta(hours=23) < ends - datetime.now(UTC) < timedelta(hours=25)


async def test_a_rotation_without_overlap_ends_the_old_key_at_once(admin: Admin, desk: Desk) -> None:
    """For a key that leaked."""
    old = await admin.issue_key()
    new = await admin.post(f"/partners/acme/keys/{old['key_id']}/rotate", {"overlap_seconds": 0})
    problem(await desk.get("/v1/grants", key=old["key"]), 401, "api_key_revoked")
    assert (await desk.get("/v1/grants", key=new["key"])).status_code == 200


async def test_a_rotation_never_prolongs_the_old_key(admin: Admin) -> None:
    """A key that ends sooner than the overlap still does; the new one ends when it is told to."""
    soon = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    old = await admin.issue_key(expires_at=soon)
    same = await admin.post(f"/partners/acme/keys/{old['key_id']}/rotate", {})
    endless = await admin.post(f"/partners/acme/keys/{old['key_id']}/rotate", {"expires_at": None})
    listed = {key["key_id"]: key["expires_at"] for key in (await admin.get("/partners/acme/keys"))["keys"]}
    assert (listed[old["key_id"]], listed[same["key_id"]], listed[endless["key_id"]]) == (soon, soon, None)


async def test_a_key_of_nobody_is_refused(admin: Admin) -> None:
    """A partner must be there to get a key."""
    problem(await admin.ask("POST", "/partners/nobody/keys", {}), 404, "partner_not_found")
    problem(await admin.ask("GET", "/partners/nobody/keys"), 404, "partner_not_found")


async def test_an_administrators_revoked_key_fails_on_its_very_next_call(desk: Desk) -> None:
    """So does every key of one who is disabled."""
    ada, grace = await new_admin(desk, "Ada L"), await new_admin(desk, "Grace H")
    other = await ada.post(f"/administrators/{grace.id}/keys", {})
    await ada.delete(f"/administrators/{grace.id}/keys/{grace.key.key_id}")
    problem(await grace.ask("GET", "/partners"), 401, "api_key_revoked")
    again = Admin(desk, type(grace.key)(grace.id, other["key_id"], other["prefix"], other["key"]))
    assert (await again.ask("GET", "/partners")).status_code == 200
    await ada.post(f"/administrators/{grace.id}/disable", {"reason": "left"})
    problem(await again.ask("GET", "/partners"), 401, "api_key_revoked")
    problem(await ada.ask("POST", f"/administrators/{grace.id}/keys", {}), 409, "administrator_disabled")
