"""The command line: a partner with a key that works, shown once; what is refused changes nothing."""

import asyncio

import pytest
from eth_account import Account
from sqlalchemy import select

from api import partners
from api.keys import parse_key
from models.statuses import PartnerStatus
from models.tables.partners import ApiKey, CreditLineGrant, Partner
from settings import Settings
from tests.api.desk import Desk

CREATE = ["create", "--id", "beta", "--name", "Beta", "--tier", "BASIC", "--settlement-address"]


@pytest.fixture
def environment(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The command reads its settings from the environment, as in production."""
    for name, value in desk.settings.model_dump(exclude_none=True, include=set(desk.settings.model_fields_set)).items():
        shown = value.get_secret_value() if hasattr(value, "get_secret_value") else value
        monkeypatch.setenv(f"ENGINE_{name.upper()}", str(shown))
    return desk.settings


async def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = await asyncio.to_thread(partners.main, arguments)
    said = capsys.readouterr()
    return status, said.out + said.err


async def test_a_created_partner_has_its_tiers_terms_and_a_key_that_works(
    desk: Desk, environment: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    del environment
    status, said = await _run(capsys, *CREATE, Account.create().address, "--daily-limit", "7")
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


async def test_an_address_belongs_to_one_partner_for_ever(
    desk: Desk, environment: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    del environment
    async with desk.transaction() as session:
        taken = (await session.get_one(Partner, "acme")).settlement_address
    status, said = await _run(capsys, *CREATE, taken)
    assert (status, "belongs to partner 'acme'" in said) == (1, True)
    async with desk.transaction() as session:
        assert await session.get(Partner, "beta") is None


async def test_suspending_revoking_issuing_and_granting(
    desk: Desk, environment: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    del environment
    status, said = await _run(capsys, "issue-key", "--partner", "acme", "--scopes", "read")
    assert status == 0
    key_id, key = said.split()[2], said.split()[-1]
    assert (await desk.get("/v1/grants", key=key)).status_code == 200
    assert (await desk.post("/v1/loans", desk.borrow_body(), key=key)).status_code == 403
    assert (await _run(capsys, "revoke-key", "--key", key_id))[0] == 0
    assert (await desk.get("/v1/grants", key=key)).status_code == 401
    grant = ["grant", "--partner", "acme", "--oaid-token-id", "1", "--position-id", "1", "--user-wallet", desk.user]
    terms = ["--max-amount", "5", "--expires", "2030-01-01T00:00:00Z"]
    assert (await _run(capsys, *grant, *terms, "--reason", " "))[0] == 1
    assert (await _run(capsys, *grant, *terms, "--reason", "a letter"))[0] == 0
    async with desk.transaction() as session:
        recorded = (await session.scalars(select(CreditLineGrant))).one()
    assert (recorded.max_amount, recorded.evidence["reason"]) == (5, "a letter")
    assert (await _run(capsys, "set-status", "--partner", "acme", "--status", "SUSPENDED"))[0] == 0
    async with desk.transaction() as session:
        assert (await session.get_one(Partner, "acme")).status is PartnerStatus.SUSPENDED
    assert (await _run(capsys, "set-status", "--partner", "nobody", "--status", "ACTIVE"))[0] == 1


@pytest.mark.parametrize("setting", ["platform_wallet", "usdc_address", "vault_address", "pool_address", None])
async def test_the_engines_own_addresses_settle_nothing(
    desk: Desk, environment: Settings, capsys: pytest.CaptureFixture[str], setting: str | None
) -> None:
    """A payout to the engine itself, to a contract or to nobody would be booked as gone and never have left."""
    address = "0x" + "00" * 20 if setting is None else str(getattr(environment, setting))
    status, said = await _run(capsys, *CREATE, address)
    assert status == 1
    assert "no settlement address" in said
    async with desk.transaction() as session:
        assert await session.get(Partner, "beta") is None
