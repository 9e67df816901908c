"""The import of partners: what a file says, all of it or nothing, and nothing that must not come by a file."""

import json
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from sqlalchemy import func, select

from api.partner_file import FileRefused, read_partners
from models.statuses import AdminActionKind, PartnerStatus
from models.tables.partners import ApiKey, Partner
from tests.api.admin import trail
from tests.api.commands import Run, runner, set_environment
from tests.api.desk import Desk

EXAMPLE = Path(__file__).parents[2] / "configs" / "partner_platforms.json"


@pytest.fixture
def run(desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    set_environment(desk.settings, monkeypatch)
    return runner(capsys)


def _entry(partner_id: str = "beta", **changes: Any) -> dict[str, Any]:
    entry = {
        "partnerId": partner_id,
        "partnerName": "Beta",
        "apiKeyPrefix": f"pk_{partner_id}",
        "status": "ACTIVE",
        "tier": "BASIC",
        "dailyBorrowLimit": "50000000000",
        "totalBorrowLimit": "200000000000",
        "platformFeePercentage": 75,
        "settlementAddress": str(Account.create().address),
        "contactEmail": "ops@beta.example",
        "kycVerified": True,
        "contractSigned": False,
    }
    return {**entry, **changes}


def _text(*entries: dict[str, Any]) -> str:
    return json.dumps({"partners": entries}, indent=1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "partners.json"


def _write(file: Path, text: str) -> None:
    file.write_text(text)


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines()


async def _count(desk: Desk) -> int:
    async with desk.transaction() as session:
        return (await session.scalar(select(func.count()).select_from(Partner))) or 0


async def test_the_example_can_be_imported(run: Run) -> None:
    """It is what the documentation shows; one of its partners is there already, at another address."""
    status, said = await run("import", str(EXAMPLE))
    assert status == 0, said
    assert "borealis: created, without a key" in said
    assert "acme: settlementAddress is" in said


async def test_an_import_makes_partners_without_keys(desk: Desk, run: Run, file: Path) -> None:
    """The file's prefix is kept as the name of a key that is none of ours."""
    entry = _entry(webhookUrl="https://beta.example/hooks", publicKey="04ab")
    _write(file, _text(entry))
    assert await run("import", str(file)) == (0, "beta: created, without a key\n1 of 1 partners changed\n")
    async with desk.transaction() as session:
        made = await session.get_one(Partner, "beta")
        keys = await session.scalar(select(func.count()).where(ApiKey.partner_id == "beta"))
    assert (made.fee_bps, made.daily_borrow_limit, made.total_borrow_limit) == (75, 50_000 * 10**6, 200_000 * 10**6)
    assert (made.external_key_prefix, made.public_key, keys) == ("pk_beta", "04ab", 0)
    assert (made.kyc_verified, made.contract_signed) == (True, False)
    assert [row.action for row in await trail(desk)][-1] is AdminActionKind.IMPORT_PARTNER


async def test_a_second_run_changes_nothing_and_says_so(desk: Desk, run: Run, file: Path) -> None:
    """No row of the trail either."""
    _write(file, _text(_entry(), _entry("gamma")))
    await run("import", str(file))
    rows = len(await trail(desk))
    assert await run("import", str(file)) == (0, "beta: unchanged\ngamma: unchanged\nnothing to change\n")
    assert len(await trail(desk)) == rows


async def test_a_dry_run_says_what_would_change_and_changes_nothing(desk: Desk, run: Run, file: Path) -> None:
    """It says the same as the real run, in the conditional."""
    entry = _entry()
    _write(file, _text(entry))
    assert (await run("import", str(file)))[0] == 0
    _write(file, _text(entry | {"tier": "PREMIUM", "platformFeePercentage": 50}, _entry("gamma")))
    rows = len(await trail(desk))
    _, said = await run("import", str(file), "--dry-run")
    assert "beta: would be changed: tier BASIC → PREMIUM; fee_bps 75 → 50" in said
    assert "gamma: would be created" in said
    assert "2 of 2 partners would change" in said
    assert (await _count(desk), len(await trail(desk))) == (2, rows)
    _, done = await run("import", str(file))
    assert "beta: changed: tier BASIC → PREMIUM; fee_bps 75 → 50" in done
    assert await _count(desk) == 3


async def test_an_import_changes_no_settlement_address(desk: Desk, run: Run, file: Path) -> None:
    """It says who must ask for it, and does the rest."""
    entry = _entry()
    _write(file, _text(entry))
    await run("import", str(file))
    other = _entry(partnerName="Beta Two")
    _write(file, _text(other))
    status, said = await run("import", str(file))
    assert (status, "must be requested" in said) == (0, True)
    async with desk.transaction() as session:
        partner = await session.get_one(Partner, "beta")
    assert (partner.name, partner.settlement_address) == ("Beta Two", entry["settlementAddress"])


async def test_an_import_suspends_and_never_reactivates(desk: Desk, run: Run, file: Path) -> None:
    """A list may be older than the suspension."""
    entry, said = _entry(), ""
    for status in ("ACTIVE", "SUSPENDED", "ACTIVE"):
        _write(file, _text(entry | {"status": status}))
        _, said = await run("import", str(file))
    assert "an import reactivates nobody" in said
    async with desk.transaction() as session:
        assert (await session.get_one(Partner, "beta")).status is PartnerStatus.SUSPENDED


async def test_one_malformed_entry_keeps_all_out(desk: Desk, run: Run, file: Path) -> None:
    """Each fault has its line, and nothing of the file is written."""
    _write(file, _text(_entry(), _entry("gamma", settlementAddress="0x12", tier="GOLD")))
    lines = _lines(file)
    status, said = await run("import", str(file))
    assert status == 1
    for field in ("settlementAddress", "tier"):
        line = max(number for number, text in enumerate(lines, 1) if f'"{field}"' in text)
        assert f"line {line}: partners[1].{field}: " in said
    assert await _count(desk) == 1


async def test_an_address_that_is_taken_keeps_all_out(desk: Desk, run: Run, file: Path) -> None:
    """Another partner's, or the engine's own: the line of the address is named."""
    async with desk.transaction() as session:
        taken = (await session.get_one(Partner, "acme")).settlement_address
    own = desk.settings.vault_address
    _write(file, _text(_entry(), _entry("gamma", settlementAddress=taken), _entry("delta", settlementAddress=own)))
    lines = _lines(file)
    status, said = await run("import", str(file))
    assert status == 1
    for address in (taken, own):
        (line,) = [number for number, text in enumerate(lines, 1) if address in text]
        assert f"line {line}: " in said
    assert await _count(desk) == 1


async def test_a_file_that_is_not_there_is_said(run: Run, file: Path) -> None:
    """With status 1, like all that is refused."""
    status, said = await run("import", str(file))
    assert (status, "cannot be read" in said) == (1, True)


AMBIGUOUS: list[dict[str, Any]] = [
    {"dailyBorrowLimit": 50_000},
    {"dailyBorrowLimit": 50_000_000_000},
    {"totalBorrowLimit": "50000"},
    {"totalBorrowLimit": "50,000"},
    {"totalBorrowLimit": "50000.5"},
    {"platformFeePercentage": 0.5},
    {"platformFeePercentage": "50"},
    {"platformFeePercentage": 10_000},
]


@pytest.mark.parametrize("changes", AMBIGUOUS, ids=repr)
def test_what_could_be_whole_usdc_or_base_units_is_refused(changes: dict[str, Any]) -> None:
    """Limits are strings of base units, and not below 1,000 USDC; the fee is whole basis points."""
    with pytest.raises(FileRefused, match=next(iter(changes))):
        read_partners(_text(_entry(**changes)))


def test_a_limit_of_nothing_is_no_mistake() -> None:
    """A partner may be let borrow nothing at all."""
    (placed,) = read_partners(_text(_entry(dailyBorrowLimit="0")))
    assert placed.entry.daily_borrow_limit == 0


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{\n"partners": [\n}', 3),
        ('{\n"partners": [],\n}', 3),
        ('{"partners": []}\n\nx', 3),
        ('{"partners": [],\n "partners": []}', 2),
        ('{"partners":\n [NaN]}', 2),
        ('{\n\n"partners": 7}', 3),
        ('{"partner": []}', 1),
        ("", 1),
        ("[" * 100_000, 1),
        ('{"partners": [{\n"partnerId": "a\n"}]}', 2),
    ],
)
def test_a_file_that_is_no_list_of_partners_is_refused_by_line(text: str, line: int) -> None:
    """Wherever it breaks off."""
    with pytest.raises(FileRefused, match=f"line {line}: "):
        read_partners(text)


def test_a_missing_field_is_told_with_its_entrys_line() -> None:
    """There is no line of what is not there."""
    entry = _entry()
    del entry["tier"]
    text = _text(entry)
    begins = next(number for number, line in enumerate(text.splitlines(), 1) if line.strip() == "{" and number > 1)
    with pytest.raises(FileRefused, match=rf"line {begins}: partners\[0\].tier: must be given"):
        read_partners(text)


def test_two_entries_of_one_partner_or_one_address_are_refused() -> None:
    """The second one is named, with the line of the first."""
    one = _entry()
    with pytest.raises(FileRefused, match="'beta' is on line 3 already"):
        read_partners(_text(one, _entry()))
    with pytest.raises(FileRefused, match="is another partner's, on line"):
        read_partners(_text(one, _entry("gamma", settlementAddress=one["settlementAddress"].lower())))
