"""Grants that administrators record: on a line that is the user's now, or that the platform wallet holds for him."""

import pytest
from eth_account import Account

from contracts.funding import open_line
from models.tables.partners import CreditLineGrant
from tests.api.admin import Admin
from tests.api.desk import USD, Desk
from tests.api.test_requests import problem

GRANTS = "/partners/acme/grants"


async def test_a_recorded_grant_lets_the_partner_borrow(admin: Admin, working_desk: Desk) -> None:
    """Its position is the line's own, and the reason and who recorded it are its evidence."""
    desk = working_desk
    problem(await desk.borrow(), 422, "grant_required")
    made = await admin.post(GRANTS, desk.grant_fields(reason="the user's letter of 3 May"))
    assert (made["position_id"], made["evidence"]) == (str(desk.world.line.position_id), "ADMINISTRATOR")
    async with desk.transaction() as session:
        row = await session.get_one(CreditLineGrant, made["grant_id"])
    assert row.evidence == {"reason": "the user's letter of 3 May", "recorded_by": "Ada"}
    assert (await desk.borrow()).json()["decision"] == "accepted"
    assert (await admin.get(GRANTS))["grants"] == [made]


async def test_a_line_that_the_platform_holds_needs_such_a_record(admin: Admin, desk: Desk) -> None:
    """There the record alone says whose the position is, so any wallet may be named."""
    line = await open_line(desk.world.owner, desk.world.contracts, desk.world.operator, 1_000 * USD)
    fields = desk.grant_fields(oaid_token_id=str(line.credit_line_id), user_wallet=str(Account.create().address))
    made = await admin.post(GRANTS, {**fields, "reason": "held in custody"})
    assert made["position_id"] == str(line.position_id)


async def test_a_wallet_that_does_not_own_the_line_gets_no_record(admin: Admin, desk: Desk) -> None:
    """Nor does a line that is not there, or a grant that has ended already."""
    fields = desk.grant_fields(reason="x")
    stranger = {**fields, "user_wallet": str(Account.create().address)}
    problem(await admin.ask("POST", GRANTS, stranger), 422, "wallet_not_owner")
    problem(await admin.ask("POST", GRANTS, {**fields, "oaid_token_id": "999"}), 422, "credit_line_not_found")
    past = {**fields, "expires_at": "2020-01-01T00:00:00Z"}
    problem(await admin.ask("POST", GRANTS, past), 422, "grant_expired")
    problem(await admin.ask("POST", "/partners/nobody/grants", fields), 404, "partner_not_found")
    assert (await admin.get(GRANTS))["grants"] == []


@pytest.mark.parametrize("reason", [None, "", " "])
async def test_a_record_without_a_reason_is_refused(admin: Admin, desk: Desk, reason: str | None) -> None:
    """Nobody could tell later what it stood on."""
    problem(await admin.ask("POST", GRANTS, desk.grant_fields(reason=reason)), 422, "invalid_request")


async def test_an_administrator_revokes_any_grant_with_a_reason(admin: Admin, working_desk: Desk) -> None:
    """A user's own as well; it serves no borrow from then on, and again is no other change."""
    desk = working_desk
    granted = (await desk.grant()).json()
    path = f"{GRANTS}/{granted['grant_id']}"
    problem(await admin.ask("DELETE", path), 422, "invalid_request")
    elsewhere = path.replace("acme", "zeta")
    problem(await admin.ask("DELETE", f"{elsewhere}?reason=x"), 404, "grant_not_found")
    await admin.delete(f"{path}?reason=the%20user%20called")
    await admin.delete(f"{path}?reason=again")
    problem(await desk.borrow(), 422, "grant_required")
    revocations = [each for each in (await admin.get("/actions"))["actions"] if each["action"] == "REVOKE_GRANT"]
    assert [each["reason"] for each in revocations] == ["the user called"]
