"""A new settlement address: two people, a delay, and loans that keep the address they were reserved with."""

import asyncio
from typing import Any

import pytest
from eth_account import Account
from sqlalchemy import func, select, text, update
from temporalio.testing import ActivityEnvironment

from activities.settlement_changes import apply_due_changes
from activities.upkeep import UpkeepActivities
from models.messages.borrow import BorrowTerms
from models.statuses import IncidentKind
from models.tables.administration import Administrator, SettlementChange
from models.tables.loans import Loan
from models.tables.operations import Operation
from models.tables.operators import Incident
from models.tables.partners import Partner, SettlementAddress
from tests.api.admin import Admin, new_admin, partner_body
from tests.api.desk import Desk
from tests.api.test_requests import problem
from wiring import upkeep_parts

CHANGES = "/partners/acme/settlement-changes"


def _address() -> str:
    return str(Account.create().address)


async def _request(admin: Admin, address: str) -> Any:
    return await admin.post(CHANGES, {"address": address, "reason": "a new bank"})


async def _agreed(admin: Admin, second: Admin, address: str) -> str:
    """The id of a change that both want; its delay runs."""
    change_id = (await _request(admin, address))["change_id"]
    await second.post(f"{CHANGES}/{change_id}/approve")
    return str(change_id)


async def _let_the_delay_pass(desk: Desk) -> None:
    """As if it had been approved that much earlier."""
    earlier = {"not_before": func.now(), "approved_at": SettlementChange.approved_at - text("interval '24 hours'")}
    async with desk.transaction() as session:
        await session.execute(update(SettlementChange).where(SettlementChange.applied_at.is_(None)).values(earlier))


async def _apply(desk: Desk) -> int:
    return await apply_due_changes(desk.transaction)


async def _paid_at(desk: Desk) -> str:
    async with desk.transaction() as session:
        return (await session.get_one(Partner, "acme")).settlement_address


async def test_a_change_waits_for_a_second_person_and_then_for_its_delay(
    admin: Admin, second_admin: Admin, desk: Desk
) -> None:
    """It applies when both are over, by the database's clock, and once."""
    old, new = await _paid_at(desk), _address()
    asked = await _request(admin, new)
    assert (asked["state"], asked["not_before"]) == ("REQUESTED", None)
    assert await _apply(desk) == 0
    approved = await second_admin.post(f"{CHANGES}/{asked['change_id']}/approve")
    assert (approved["state"], approved["approved_by"]) == ("APPROVED", second_admin.id)
    async with desk.transaction() as session:
        row = await session.get_one(SettlementChange, asked["change_id"])
        assert row.not_before is not None
        assert row.approved_at is not None
        assert row.not_before - row.approved_at == desk.settings.settlement_change_delay
    assert await _apply(desk) == 0
    assert await _paid_at(desk) == old
    await _let_the_delay_pass(desk)
    upkeep = UpkeepActivities(desk.transaction, upkeep_parts(desk.transaction, desk.settings))
    report = await ActivityEnvironment().run(upkeep.upkeep)
    assert "1 applied" in {part.said for part in report.parts}
    assert await _apply(desk) == 0
    assert await _paid_at(desk) == new
    (listed,) = (await admin.get(CHANGES))["changes"]
    assert listed["state"] == "APPLIED"
    async with desk.transaction() as session:
        owned = set(await session.scalars(select(SettlementAddress.address)))
    assert {old, new} <= owned


async def test_nobody_approves_what_he_has_requested(admin: Admin, desk: Desk) -> None:
    """Not with another key of his own either."""
    change_id = (await _request(admin, _address()))["change_id"]
    problem(await admin.ask("POST", f"{CHANGES}/{change_id}/approve"), 403, "second_administrator_needed")
    own = await admin.post(f"/administrators/{admin.id}/keys", {})
    again = Admin(desk, type(admin.key)(admin.id, own["key_id"], own["prefix"], own["key"]))
    problem(await again.ask("POST", f"{CHANGES}/{change_id}/approve"), 403, "second_administrator_needed")


async def _made_by(admin: Admin, name: str) -> Admin:
    """An administrator whose key another one has issued, and so has seen."""
    made = await admin.post("/administrators", {"name": name})
    key = await admin.post(f"/administrators/{made['administrator_id']}/keys", {})
    issued = type(admin.key)(made["administrator_id"], key["key_id"], key["prefix"], key["key"])
    return Admin(admin.desk, issued)


async def test_an_administrator_of_ones_own_making_is_no_second_person(admin: Admin) -> None:
    """Neither way round, not over a third, and not after the key that was seen is revoked."""
    puppet = await _made_by(admin, "Puppet")
    other = await _made_by(admin, "Other")
    nested = await _made_by(puppet, "Nested")
    change_id = (await _request(admin, _address()))["change_id"]
    approval = f"{CHANGES}/{change_id}/approve"
    for hand in (puppet, other, nested):
        problem(await hand.ask("POST", approval), 403, "second_administrator_needed")
    await puppet.delete(f"{CHANGES}/{change_id}")
    change_id = (await _request(puppet, _address()))["change_id"]
    approval = f"{CHANGES}/{change_id}/approve"
    await admin.delete(f"/administrators/{puppet.id}/keys/{puppet.key.key_id}")
    for hand in (admin, other):
        problem(await hand.ask("POST", approval), 403, "second_administrator_needed")
    independent = await new_admin(admin.desk, "Grace H")
    assert (await independent.post(approval))["state"] == "APPROVED"


async def test_a_loan_that_was_reserved_keeps_its_address(
    admin: Admin, second_admin: Admin, working_desk: Desk
) -> None:
    """Its terms are in its row, its loan and its promised payout; the next loan is paid at the new address."""
    desk = working_desk
    assert (await desk.grant()).status_code == 201
    old, new = await _paid_at(desk), _address()
    await _agreed(admin, second_admin, new)
    answer = (await desk.borrow()).json()
    await _let_the_delay_pass(desk)
    assert await _apply(desk) == 1
    async with desk.transaction() as session:
        operation = await session.get_one(Operation, answer["operation_id"])
        loan = await session.get_one(Loan, answer["loan_id"])
    assert BorrowTerms.model_validate(operation.terms).settlement_address == old
    assert loan.settlement_address == old
    assert await _paid_at(desk) == new


async def test_a_change_that_fails_holds_up_no_other(admin: Admin, second_admin: Admin, desk: Desk) -> None:
    """Neither one that cannot be nor one whose partner is locked: the others are applied, and the incident names these two."""
    new, stolen = _address(), _address()
    named = {}
    for partner_id, address in {"acme": stolen, "beta": _address(), "gamma": new}.items():
        if partner_id != "acme":
            await admin.post("/partners", partner_body(_address(), partner_id=partner_id))
        path = f"/partners/{partner_id}/settlement-changes"
        named[partner_id] = (await admin.post(path, {"address": address, "reason": "x"}))["change_id"]
        await second_admin.post(f"{path}/{named[partner_id]}/approve")
    await _let_the_delay_pass(desk)
    async with desk.transaction() as session:
        session.add(SettlementAddress(address=stolen, partner_id="gamma"))
    upkeep = UpkeepActivities(desk.transaction, upkeep_parts(desk.transaction, desk.settings))
    async with desk.transaction() as holding:
        await holding.execute(select(Partner).where(Partner.id == "beta").with_for_update())
        report = await ActivityEnvironment().run(upkeep.upkeep)
    (failed,) = [part for part in report.parts if part.failed]
    assert failed.said.startswith(f"NotApplied: 1 applied, but not {named['acme']}, {named['beta']}: InvariantBroken: ")
    async with desk.transaction() as session:
        assert (await session.get_one(Partner, "gamma")).settlement_address == new
        kind = Incident.kind == IncidentKind.UPKEEP_FAILED
        (incident,) = await session.scalars(select(Incident).where(kind, Incident.closed_at.is_(None)))
    assert incident.detail == failed.said


@pytest.mark.parametrize("requested_it", [True, False])
async def test_a_disabled_administrators_open_changes_are_cancelled(
    admin: Admin, second_admin: Admin, desk: Desk, *, requested_it: bool
) -> None:
    """Those that it requested and those that it approved, with a record of each; nothing is applied."""
    old, remaining = await _paid_at(desk), second_admin if requested_it else admin
    gone = admin if requested_it else second_admin
    change_id = await _agreed(admin, second_admin, _address())
    await _let_the_delay_pass(desk)
    await remaining.post(f"/administrators/{gone.id}/disable", {"reason": "has left"})
    assert await _apply(desk) == 0
    assert await _paid_at(desk) == old
    (listed,) = (await remaining.get(CHANGES))["changes"]
    assert listed["state"] == "CANCELLED"
    (action,) = (await remaining.get(f"/actions?subject={change_id}&action=CANCEL_SETTLEMENT_ADDRESS"))["actions"]
    assert (action["administrator_id"], action["reason"]) == (remaining.id, f"administrator {gone.id} was disabled")


async def test_a_disabled_administrator_leaves_the_changes_of_others(admin: Admin, second_admin: Admin) -> None:
    """Only what it had a hand in is cancelled, and what is over stays as it ended."""
    third = await new_admin(admin.desk, "Hedy")
    change_id = await _agreed(admin, second_admin, _address())
    await admin.post(f"/administrators/{third.id}/disable", {"reason": "x"})
    (listed,) = (await admin.get(CHANGES))["changes"]
    assert (listed["change_id"], listed["state"]) == (change_id, "APPROVED")
    await _let_the_delay_pass(admin.desk)
    assert await _apply(admin.desk) == 1
    await admin.post(f"/administrators/{second_admin.id}/disable", {"reason": "x"})
    (listed,) = (await admin.get(CHANGES))["changes"]
    assert listed["state"] == "APPLIED"


async def test_nothing_is_approved_that_a_disabled_administrator_requested(
    admin: Admin, second_admin: Admin, desk: Desk
) -> None:
    """Even where the row was left open."""
    change_id = (await _request(admin, _address()))["change_id"]
    async with desk.transaction() as session:
        await session.execute(update(Administrator).where(Administrator.id == admin.id).values(disabled_at=func.now()))
    problem(await second_admin.ask("POST", f"{CHANGES}/{change_id}/approve"), 409, "administrator_disabled")


async def test_an_approval_and_a_disabling_at_the_same_moment(admin: Admin, second_admin: Admin, desk: Desk) -> None:
    """Whichever comes first, the change ends cancelled, and nobody waits for ever."""
    third = await new_admin(desk, "Hedy")
    change_id = (await _request(admin, _address()))["change_id"]
    approved, disabled = await asyncio.gather(
        second_admin.ask("POST", f"{CHANGES}/{change_id}/approve"),
        third.ask("POST", f"/administrators/{admin.id}/disable", {"reason": "x"}),
    )
    assert disabled.status_code == 200
    assert approved.status_code in (200, 409)
    (listed,) = (await third.get(CHANGES))["changes"]
    assert listed["state"] == "CANCELLED"


async def test_an_address_that_waits_is_nobody_elses(admin: Admin, second_admin: Admin, desk: Desk) -> None:
    """Another partner can neither be created with it nor ask for it, while it is not registered to anyone."""
    address = _address()
    await admin.post("/partners", partner_body(_address()))
    await _agreed(admin, second_admin, address)
    created = await admin.ask("POST", "/partners", partner_body(address, partner_id="gamma"))
    problem(created, 409, "settlement_address_taken")
    body = {"address": address, "reason": "mine"}
    asked = await admin.ask("POST", "/partners/beta/settlement-changes", body)
    problem(asked, 409, "settlement_address_taken")
    async with desk.transaction() as session:
        assert await session.get(SettlementAddress, address) is None


async def test_a_cancelled_change_leaves_its_address_free(admin: Admin, second_admin: Admin, desk: Desk) -> None:
    """Even after its approval; it never applies, and another partner may have the address."""
    address = _address()
    change_id = await _agreed(admin, second_admin, address)
    path = f"{CHANGES}/{change_id}"
    assert (await admin.delete(f"{path}?reason=wrong%20bank"))["state"] == "CANCELLED"
    assert (await admin.delete(path))["state"] == "CANCELLED"
    await _let_the_delay_pass(desk)
    assert await _apply(desk) == 0
    await admin.post("/partners", partner_body(address))
    problem(await second_admin.ask("POST", f"{path}/approve"), 409, "settlement_change_over")


async def test_what_is_applied_or_approved_is_past_it(admin: Admin, second_admin: Admin, desk: Desk) -> None:
    """An applied change is not cancelled, and an approved one not approved again: its delay would begin anew."""
    change_id = await _agreed(admin, second_admin, _address())
    problem(await second_admin.ask("POST", f"{CHANGES}/{change_id}/approve"), 409, "settlement_change_over")
    await _let_the_delay_pass(desk)
    await _apply(desk)
    problem(await admin.ask("DELETE", f"{CHANGES}/{change_id}"), 409, "settlement_change_over")


@pytest.mark.parametrize("kind", ["engine", "zero", "other", "same"])
async def test_an_address_that_cannot_be_is_refused_when_it_is_asked_for(admin: Admin, desk: Desk, kind: str) -> None:
    """The engine's own, nobody's, another partner's, and the partner's present one."""
    other = _address()
    await admin.post("/partners", partner_body(other))
    address, code = {
        "engine": (desk.settings.vault_address, "settlement_address_invalid"),
        "zero": ("0x" + "00" * 20, "settlement_address_invalid"),
        "other": (other, "settlement_address_taken"),
        "same": (await _paid_at(desk), "settlement_address_unchanged"),
    }[kind]
    answer = await admin.ask("POST", CHANGES, {"address": address, "reason": "x"})
    problem(answer, 422 if kind in ("engine", "zero") else 409, code)


async def test_a_partner_has_one_open_change(admin: Admin) -> None:
    """A second one is told which stands against it, also where both come at once."""
    bodies = [{"address": _address(), "reason": "x"} for _ in range(5)]
    answers = await asyncio.gather(*(admin.ask("POST", CHANGES, body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 4
    assert {answer.json().get("code") for answer in answers} == {None, "settlement_change_open"}


async def test_a_partner_may_go_back_to_an_address_of_its_own(admin: Admin, second_admin: Admin, desk: Desk) -> None:
    """An address belongs to it for ever, so it is free for it alone."""
    old = await _paid_at(desk)
    for address in (_address(), old):
        await _agreed(admin, second_admin, address)
        await _let_the_delay_pass(desk)
        assert await _apply(desk) == 1
    assert await _paid_at(desk) == old


async def test_a_change_of_another_partner_is_not_there(admin: Admin, second_admin: Admin) -> None:
    """A path that names the wrong partner approves nothing."""
    await admin.post("/partners", partner_body(_address()))
    change_id = (await _request(admin, _address()))["change_id"]
    path = f"/partners/beta/settlement-changes/{change_id}"
    problem(await second_admin.ask("POST", f"{path}/approve"), 404, "settlement_change_not_found")
    problem(await second_admin.ask("DELETE", path), 404, "settlement_change_not_found")
