"""Administrators from the command line: the first key of a deployment, shown once; and every command's row in the trail."""

from pathlib import Path

import pytest
from eth_account import Account
from sqlalchemy import select

from api.keys import parse_key
from models.statuses import AdminActionKind
from models.tables.administration import Administrator, AdminKey
from tests.api.admin import trail
from tests.api.commands import Run, runner, set_environment
from tests.api.desk import Desk
from tests.api.test_requests import problem


@pytest.fixture
def run(desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    set_environment(desk.settings, monkeypatch)
    return runner(capsys)


async def _create(run: Run, name: str) -> tuple[str, str, str]:
    """The ids of an administrator and of his key, and the key."""
    status, said = await run("admin", "create", "--name", name)
    assert status == 0, said
    administrator, key_id, key = (line.rpartition(": ")[2] for line in said.splitlines())
    return administrator, key_id, key


async def test_the_first_admin_key_comes_by_command_and_is_shown_once(desk: Desk, run: Run) -> None:
    """It opens the admin API, and only its hash is stored."""
    administrator, _, key = await _create(run, "Ada")
    assert (await desk.get("/v1/admin/partners", key=key)).status_code == 200
    async with desk.transaction() as session:
        row = (await session.scalars(select(AdminKey))).one()
    parsed = parse_key(key)
    assert parsed is not None
    assert (row.secret_hash, row.administrator_id, row.issued_by) == (parsed.hash(None), administrator, None)
    _, listed = await run("admin", "list")
    assert row.prefix in listed
    assert key not in listed


async def test_further_administrators_come_and_go(desk: Desk, run: Run) -> None:
    """A key is revoked, an administrator disabled, and each of it counts from the next call on."""
    ada, ada_key_id, ada_key = await _create(run, "Ada")
    grace, _, grace_key = await _create(run, "Grace")
    assert (await run("admin", "revoke-key", "--key", ada_key_id))[0] == 0
    problem(await desk.get("/v1/admin/partners", key=ada_key), 401, "api_key_revoked")
    status, said = await run("admin", "issue-key", "--id", ada, "--expires", "2030-01-01T00:00:00Z")
    assert (status, (await desk.get("/v1/admin/partners", key=said.split()[-1])).status_code) == (0, 200)
    assert (await run("admin", "disable", "--id", grace, "--reason", "left")) == (0, "Grace is disabled\n")
    problem(await desk.get("/v1/admin/partners", key=grace_key), 401, "api_key_revoked")
    _, listed = await run("admin", "list")
    assert listed.count("revoked at") == 1
    assert "Grace  disabled" in listed


async def test_what_cannot_be_is_refused_in_words_and_with_status_1(desk: Desk, run: Run) -> None:
    """And nothing is stored."""
    ada, _, _ = await _create(run, "Ada")
    rows = len(await trail(desk))
    for arguments, words in [
        (("create", "--name", "Ada"), "administrator 'Ada' already"),
        (("create", "--name", " "), "needs a name"),
        (("issue-key", "--id", "adm_nobody"), "no administrator 'adm_nobody'"),
        (("disable", "--id", ada), "last administrator"),
        (("disable", "--id", "adm_nobody"), "no administrator 'adm_nobody'"),
        (("revoke-key", "--key", "adminkey_none"), "no key 'adminkey_none'"),
    ]:
        status, said = await run("admin", *arguments)
        assert (status, words in said) == (1, True), said
    assert len(await trail(desk)) == rows
    async with desk.transaction() as session:
        assert len(list(await session.scalars(select(Administrator)))) == 1


async def test_every_command_that_changes_something_leaves_its_rows(desk: Desk, run: Run, tmp_path: Path) -> None:
    """The actor is the command line, no administrator is named, and no key is in the trail."""
    file = tmp_path / "partners.json"
    file.write_text('{"partners": []}')
    partner = ["create", "--id", "beta", "--name", "Beta", "--tier", "BASIC"]
    line = ["--oaid-token-id", "1", "--position-id", "1", "--user-wallet", desk.user, "--max-amount", "5"]
    kind = AdminActionKind
    said_all, expected = "", [kind.CREATE_PARTNER, kind.ISSUE_KEY]  # the desk's own partner
    for arguments, kinds in [
        (["admin", "create", "--name", "Ada"], [kind.CREATE_ADMINISTRATOR, kind.ISSUE_ADMIN_KEY]),
        ([*partner, "--settlement-address", Account.create().address], [kind.CREATE_PARTNER, kind.ISSUE_KEY]),
        (["issue-key", "--partner", "beta"], [kind.ISSUE_KEY]),
        (["set-status", "--partner", "beta", "--status", "SUSPENDED"], [kind.SUSPEND_PARTNER]),
        (["set-status", "--partner", "beta", "--status", "SUSPENDED"], []),
        (["set-status", "--partner", "beta", "--status", "INACTIVE"], [kind.DEACTIVATE_PARTNER]),
        (["set-status", "--partner", "beta", "--status", "ACTIVE", "--reason", "r"], [kind.REACTIVATE_PARTNER]),
        (
            ["grant", "--partner", "beta", *line, "--expires", "2030-01-01T00:00:00Z", "--reason", "r"],
            [kind.RECORD_GRANT],
        ),
        (["revoke-key", "--key", desk.partner.key_id], [kind.REVOKE_KEY]),
        (["revoke-key", "--key", desk.partner.key_id], []),
        (["import", str(file)], []),
    ]:
        status, said = await run(*arguments)
        assert status == 0, said
        said_all += said
        expected += kinds
        assert [row.action for row in await trail(desk)] == expected
    rows = await trail(desk)
    assert {(row.actor, row.administrator_id) for row in rows} == {("command line", None)}
    keys = [word for word in said_all.split() if parse_key(word) is not None]
    assert len(keys) == 3
    assert not [key for key in keys if key in str([(row.before, row.after) for row in rows])]
