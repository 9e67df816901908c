"""The command line: a partner with a key that works, shown once; what is refused changes nothing."""

import pytest
from eth_account import Account
from sqlalchemy import select

from api.keys import parse_key
from models.statuses import PartnerStatus
from models.tables.partners import ApiKey, CreditLineGrant, Partner
from tests.api.commands import Run, runner, set_environment
from tests.api.desk import Desk

CREATE = ["create", "--id", "beta", "--name", "Beta", "--tier", "BASIC", "--settlement-address"]


@pytest.fixture
def run(desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    set_environment(desk.settings, monkeypatch)
    return runner(capsys)


async def test_a_created_partner_has_its_tiers_terms_and_a_key_that_works(desk: Desk, run: Run) -> None:
    status, said = await run(*CREATE, Account.create().address, "--daily-limit", "7")
    assert status == 0, said
    key = said.split()[-1]
    assert (await desk.get("/v1/grants", key=key)).status_code == 200
    async with desk.transaction() as session:
        partner = await session.get_one(Partner, "beta")
        stored = await session.scalar(select(ApiKey).where(ApiKey.partner_id == "beta"))
    assert (partner.fee_bps, partner.daily_borrow_limit, partner.total_borrow_limit) == (75, 7, 200_000_000_000)
    parsed = parse_key(key)
    assert parsed is not None
    assert stored is not None
    assert key not in (stored.secret_hash, stored.prefix)
    assert stored.secret_hash == parsed.hash(None)


async def test_an_address_belongs_to_one_partner_for_ever(desk: Desk, run: Run) -> None:
    async with desk.transaction() as session:
        taken = (await session.get_one(Partner, "acme")).settlement_address
    status, said = await run(*CREATE, taken)
    assert (status, "belongs to partner 'acme'" in said) == (1, True)
    async with desk.transaction() as session:
        assert await session.get(Partner, "beta") is None


async def test_suspending_revoking_issuing_and_granting(desk: Desk, run: Run) -> None:
    status, said = await run("issue-key", "--partner", "acme", "--scopes", "read")
    assert status == 0
    key_id, key = said.split()[2], said.split()[-1]
    assert (await desk.get("/v1/grants", key=key)).status_code == 200
    assert (await desk.post("/v1/loans", desk.borrow_body(), key=key)).status_code == 403
    assert (await run("revoke-key", "--key", key_id))[0] == 0
    assert (await desk.get("/v1/grants", key=key)).status_code == 401
    grant = ["grant", "--partner", "acme", "--oaid-token-id", "1", "--position-id", "1", "--user-wallet", desk.user]
    terms = ["--max-amount", "5", "--expires", "2030-01-01T00:00:00Z"]
    assert (await run(*grant, *terms, "--reason", " "))[0] == 1
    assert (await run(*grant, *terms, "--reason", "a letter"))[0] == 0
    async with desk.transaction() as session:
        recorded = (await session.scalars(select(CreditLineGrant))).one()
    assert (recorded.max_amount, recorded.evidence["reason"]) == (5, "a letter")
    assert (await run("set-status", "--partner", "acme", "--status", "SUSPENDED"))[0] == 0
    async with desk.transaction() as session:
        assert (await session.get_one(Partner, "acme")).status is PartnerStatus.SUSPENDED
    assert (await run("set-status", "--partner", "nobody", "--status", "ACTIVE"))[0] == 1


@pytest.mark.parametrize("setting", ["platform_wallet", "usdc_address", "vault_address", "pool_address", None])
async def test_the_engines_own_addresses_settle_nothing(desk: Desk, run: Run, setting: str | None) -> None:
    """A payout to the engine itself, to a contract or to nobody would be booked as gone and never have left."""
    address = "0x" + "00" * 20 if setting is None else str(getattr(desk.settings, setting))
    status, said = await run(*CREATE, address)
    assert status == 1
    assert "no settlement address" in said
    async with desk.transaction() as session:
        assert await session.get(Partner, "beta") is None
