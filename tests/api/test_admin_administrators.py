"""Administrators over the admin API, and the trail: whatever anybody changes is on record, and never with a secret."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from eth_account import Account
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from api.app import create_app
from models.statuses import AdminActionKind
from models.tables.administration import AdminAction, Administrator
from tests.api.admin import Admin, partner_body, trail
from tests.api.desk import Desk
from tests.api.test_requests import TRACE, problem

Names = dict[str, str]
Step = tuple[str, str, Any, AdminActionKind]


async def test_an_administrator_is_made_and_gets_a_key_that_works(admin: Admin) -> None:
    """A name is given once, so that the trail stays readable."""
    made = await admin.post("/administrators", {"name": "Grace"})
    assert made["keys"] == []
    issued = await admin.post(
        f"/administrators/{made['administrator_id']}/keys", {"expires_at": "2030-01-01T00:00:00Z"}
    )
    grace = Admin(admin.desk, type(admin.key)(**issued))
    listed = (await grace.get("/administrators"))["administrators"]
    assert [each["name"] for each in listed] == ["Ada", "Grace"]
    assert (listed[1]["keys"][0]["issued_by"], listed[0]["keys"][0]["issued_by"]) == (admin.id, None)
    assert issued["key"] not in str(listed)
    problem(await admin.ask("POST", "/administrators", {"name": "Grace"}), 409, "administrator_exists")


async def test_the_last_administrator_stays(admin: Admin, second_admin: Admin) -> None:
    """Two who disable each other at once leave one; disabling again changes nothing."""
    answers = await asyncio.gather(
        admin.ask("POST", f"/administrators/{second_admin.id}/disable", {"reason": "x"}),
        second_admin.ask("POST", f"/administrators/{admin.id}/disable", {"reason": "x"}),
    )
    assert sorted(answer.status_code for answer in answers) in ([200, 401], [200, 409])
    async with admin.desk.transaction() as session:
        left = select(Administrator).where(Administrator.disabled_at.is_(None))
        (one,) = await session.scalars(left)
    last = admin if one.id == admin.id else second_admin
    problem(await last.ask("POST", f"/administrators/{last.id}/disable", {"reason": "x"}), 409, "last_administrator")
    other = second_admin if last is admin else admin
    await last.post(f"/administrators/{other.id}/disable", {"reason": "again"})
    assert [each for each, _ in await admin.actions()].count(AdminActionKind.DISABLE_ADMINISTRATOR) == 1


async def test_what_is_not_there_is_not_found(admin: Admin) -> None:
    """Ids that are well formed and belong to nobody."""
    ulid = "01JV9Y6E0SVH1Q5C3M2N8P4R7T"
    nobody = f"/administrators/adm_{ulid}"
    problem(await admin.ask("POST", f"{nobody}/disable", {"reason": "x"}), 404, "administrator_not_found")
    problem(await admin.ask("POST", f"{nobody}/keys", {}), 404, "administrator_not_found")
    problem(await admin.ask("DELETE", f"{nobody}/keys/{admin.key.key_id}"), 404, "key_not_found")
    problem(await admin.ask("DELETE", f"/administrators/{admin.id}/keys/adminkey_{ulid}"), 404, "key_not_found")


async def test_the_trail_is_read_by_partner_subject_and_action(admin: Admin) -> None:
    """Newest first, in pages, with who, when, before and after."""
    for fee in range(1, 5):
        await admin.patch("/partners/acme", {"fee_bps": fee, "reason": f"step {fee}"})
    seen: list[str] = []
    path = "/actions?subject=acme&action=CHANGE_PARTNER&limit=3"
    while path:
        page = await admin.get(path)
        seen += [action["reason"] for action in page["actions"]]
        path = page["next_cursor"] and f"/actions?subject=acme&limit=3&cursor={page['next_cursor']}"
    assert seen == ["step 4", "step 3", "step 2", "step 1", None]
    newest = (await admin.get("/actions?partner_id=acme&limit=1"))["actions"][0]
    assert (newest["actor"], newest["administrator_id"]) == ("Ada", admin.id)
    assert (newest["before"], newest["after"]) == ({"fee_bps": 3}, {"fee_bps": 4})
    assert (await admin.get("/actions?partner_id=nobody"))["actions"] == []


async def test_the_trail_cannot_be_changed(admin: Admin, desk: Desk) -> None:
    """The database itself refuses it."""
    await admin.patch("/partners/acme", {"fee_bps": 1})
    for statement in (
        "UPDATE admin_actions SET actor = 'nobody'",
        "DELETE FROM admin_actions",
        "TRUNCATE admin_actions",
    ):
        with pytest.raises(DBAPIError):
            async with desk.transaction() as session:
                await session.execute(text(statement))


def _steps(desk: Desk) -> list[Callable[[Names], Step]]:
    """Every change that the admin API can make, once, in an order in which each finds what it changes."""
    address = str(Account.create().address)
    grant = desk.grant_fields(reason="a letter")
    partner, changes, keys = "/partners/beta", "/partners/beta/settlement-changes", "/partners/beta/keys"
    kind = AdminActionKind
    return [
        lambda _: ("POST", "/partners", partner_body(address), kind.CREATE_PARTNER),
        lambda _: ("PATCH", partner, {"fee_bps": 1, "reason": "r"}, kind.CHANGE_PARTNER),
        lambda _: ("POST", f"{partner}/suspend", {"reason": "r"}, kind.SUSPEND_PARTNER),
        lambda _: ("POST", f"{partner}/deactivate", {"reason": "r"}, kind.DEACTIVATE_PARTNER),
        lambda _: ("POST", f"{partner}/reactivate", {"reason": "r"}, kind.REACTIVATE_PARTNER),
        lambda _: ("POST", keys, {"label": "one"}, kind.ISSUE_KEY),
        lambda n: ("PATCH", f"{keys}/{n['key_id']}", {"label": "two"}, kind.CHANGE_KEY),
        lambda n: ("POST", f"{keys}/{n['key_id']}/rotate", {}, kind.ROTATE_KEY),
        lambda n: ("DELETE", f"{keys}/{n['key_id']}", None, kind.REVOKE_KEY),
        lambda _: ("POST", f"{partner}/grants", grant, kind.RECORD_GRANT),
        lambda n: ("DELETE", f"{partner}/grants/{n['grant_id']}?reason=r", None, kind.REVOKE_GRANT),
        lambda _: ("POST", changes, {"address": str(Account.create().address), "reason": "r"},
                   kind.REQUEST_SETTLEMENT_ADDRESS),
        lambda n: ("POST", f"{changes}/{n['change_id']}/approve", None, kind.APPROVE_SETTLEMENT_ADDRESS),
        lambda n: ("DELETE", f"{changes}/{n['change_id']}", None, kind.CANCEL_SETTLEMENT_ADDRESS),
        lambda _: ("POST", "/administrators", {"name": "Lin"}, kind.CREATE_ADMINISTRATOR),
        lambda n: ("POST", f"/administrators/{n['administrator_id']}/keys", {}, kind.ISSUE_ADMIN_KEY),
        lambda n: ("DELETE", f"/administrators/{n['administrator_id']}/keys/{n['key_id']}", None,
                   kind.REVOKE_ADMIN_KEY),
        lambda n: ("POST", f"/administrators/{n['administrator_id']}/disable", {"reason": "r"},
                   kind.DISABLE_ADMINISTRATOR),
    ]  # fmt: skip


async def test_every_change_leaves_one_row(admin: Admin, second_admin: Admin, desk: Desk) -> None:
    """Of its kind, with who, the trace and what changed; none holds a secret; and no changing route is left out."""
    names: Names = {}
    secrets: set[str] = set()
    walked: set[tuple[str, str]] = set()
    for step in _steps(desk):
        method, path, body, kind = step(names)
        who = second_admin if path.endswith("/approve") else admin
        walked.add((method, _route(path, names)))
        before = {row.id for row in await trail(desk)}
        answer = await who.ask(method, path, body, traceparent=f"00-{TRACE}-{'1' * 16}-01")
        assert answer.is_success, (path, answer.text)
        (row,) = [each for each in await trail(desk) if each.id not in before]
        _assert_tells_all(row, kind, who)
        found = answer.json() if answer.content else {}
        secrets |= {found[name] for name in ("key", "signing_secret") if isinstance(found.get(name), str)}
        names |= {name: value for name, value in found.items() if name.endswith("_id")}
    assert walked == _changing_routes(desk)
    everything = str([(row.before, row.after, row.reason) for row in await trail(desk)])
    assert secrets
    assert not [secret for secret in secrets if secret in everything]


def _assert_tells_all(row: AdminAction, kind: AdminActionKind, who: Admin) -> None:
    assert (row.action, row.administrator_id, row.trace_id) == (kind, who.id, TRACE)
    assert row.actor in ("Ada", "Grace")
    assert row.after
    assert row.before or kind.name.startswith(("CREATE", "ISSUE", "RECORD"))
    if "ADMIN" not in kind:
        assert row.partner_id == "beta"


def _route(path: str, names: Names) -> str:
    """The path with names of its parts, as the document has it."""
    parts = {"beta": "partner_id", **{value: name for name, value in names.items() if name != "partner_id"}}
    shown = "/".join(f"{{{parts[step]}}}" if step in parts else step for step in path.partition("?")[0].split("/"))
    return f"/v1/admin{shown}"


def _changing_routes(desk: Desk) -> set[tuple[str, str]]:
    """All but those of webhooks, which tests/webhooks/test_admin.py walks."""
    document = create_app(desk.settings).openapi()
    return {
        (method.upper(), path)
        for path, route in document["paths"].items()
        for method in route
        if path.startswith("/v1/admin") and method != "get" and not ("webhook" in path or "/events/" in path)
    }
