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
from models.tables.administration import SettlementChange
from models.tables.loans import Loan
from models.tables.operations import Operation
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
    async with desk.transaction() as session:
        return await apply_due_changes(session)


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
