"""Administrators and partners at the same moment: nobody waits for the other for ever, and nobody loses a limit."""

import asyncio
from itertools import cycle, islice

import httpx
from eth_account import Account
from sqlalchemy import func, select, update

from activities.settlement_changes import apply_due_changes
from contracts.funding import open_line, set_operator
from models.tables.administration import SettlementChange
from models.tables.loans import Reservation
from models.tables.partners import Partner
from tests.api.admin import Admin
from tests.api.desk import USD, Desk

BORROWS = 12


async def _granted_lines(desk: Desk) -> list[str]:
    """Credit lines of the user, one for each borrow, since a position carries one loan at a time."""
    world = desk.world
    lines = []
    for _ in range(BORROWS):
        line = await open_line(world.owner, world.contracts, world.user, 1_000 * USD)
        lines.append(str(line.credit_line_id))
    await set_operator(world.user, world.contracts, world.operator.address)
    for each in lines:
        assert (await desk.grant(oaid_token_id=each)).status_code == 201
    return lines


async def _administer(admin: Admin, rounds: int) -> list[httpx.Response]:
    """Suspended and let work again, changed, and given keys: whatever takes a lock of the partner or of its key."""
    acme, key = "/partners/acme", f"/partners/acme/keys/{admin.desk.partner.key_id}"
    deeds = [
        ("POST", f"{acme}/suspend", {"reason": "x"}),
        ("PATCH", acme, {"fee_bps": 10}),
        ("POST", f"{acme}/reactivate", {"reason": "x"}),
        ("PATCH", key, {"label": "one"}),
        ("PATCH", acme, {"fee_bps": None}),
        ("POST", f"{acme}/keys", {}),
        ("PATCH", key, {"label": None}),
    ]
    return [await admin.ask(*deed) for deed in islice(cycle(deeds), rounds * len(deeds))]


async def _apply_often(admin: Admin, second: Admin) -> None:
    """Settlement addresses that change all the while."""
    path = "/partners/acme/settlement-changes"
    for _ in range(6):
        asked = await admin.post(path, {"address": str(Account.create().address), "reason": "x"})
        await second.post(f"{path}/{asked['change_id']}/approve")
        due = update(SettlementChange).where(SettlementChange.applied_at.is_(None)).values(not_before=func.now())
        async with admin.desk.transaction() as session:
            await session.execute(due)
        assert await apply_due_changes(admin.desk.transaction) == 1


async def test_borrows_and_changes_at_the_same_moment_end(
    admin: Admin, second_admin: Admin, working_desk: Desk
) -> None:
    """No deadlock and no failure; what is reserved is exactly what was accepted."""
    desk = working_desk
    lines = await _granted_lines(desk)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_apply_often(admin, second_admin))
        deeds = [tasks.create_task(_administer(each, 5)) for each in (admin, second_admin)]
        asked = [tasks.create_task(desk.borrow(oaid_token_id=line, amount=str(USD))) for line in lines]
    borrows = [each.result() for each in asked]
    assert {answer.status_code for each in deeds for answer in each.result()} <= {200, 201}
    assert {answer.status_code for answer in borrows} <= {202, 403}
    accepted = [answer for answer in borrows if answer.status_code == 202]
    async with desk.transaction() as session:
        partner = await session.get_one(Partner, "acme")
        reserved = (await session.scalars(select(Reservation.amount))).all()
    assert partner.reserved == sum(reserved) == len(accepted) * USD
