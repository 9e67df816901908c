"""Settings: read from the environment, checked at once, and never shown where they are secret."""

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from models.messages.common import Pace
from settings import ENV_PREFIX, DatabaseSettings, Settings, SignerSettings, surroundings
from startup import SettingAtFault, read_settings

ADDRESS = f"0x{'ab' * 20}"
CHECKSUMMED = "0xABaBaBaBABabABabAbAbABAbABabababaBaBABaB"
NEEDED = {
    "DATABASE_URL": "postgresql+psycopg://engine:hush-database@db/engine",
    "RPC_URL": "https://node/hush-rpc",
    "CHAIN_ID": "31337",
    "USDC_ADDRESS": ADDRESS,
    "OAID_ADDRESS": ADDRESS,
    "VAULT_ADDRESS": ADDRESS,
    "POOL_ADDRESS": ADDRESS,
    "PLATFORM_WALLET": ADDRESS,
    "CONFIRMATIONS": "12",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """What an engine needs, and nothing of the engine's that was set before."""
    for name in set(map(str.upper, [*Settings.model_fields, *SignerSettings.model_fields])):
        monkeypatch.delenv(f"{ENV_PREFIX}{name}", raising=False)
    for name, value in NEEDED.items():
        monkeypatch.setenv(f"{ENV_PREFIX}{name}", value)
    return monkeypatch


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("PT0.25S", timedelta(milliseconds=250)),
        ("PT90S", timedelta(seconds=90)),
        ("00:01:30", timedelta(seconds=90)),
        ("P1DT1H", timedelta(days=1, hours=1)),
    ],
)
def test_how_a_duration_is_written(environment: pytest.MonkeyPatch, text: str, duration: timedelta) -> None:
    """ISO 8601, or hours, minutes and seconds."""
    environment.setenv("ENGINE_BLOCK_POLL", text)
    assert read_settings(Settings).block_poll == duration


@pytest.mark.parametrize(
    ("text", "count"), [("", 0), (ADDRESS, 1), (f"{ADDRESS},{CHECKSUMMED}", 2), (f"{ADDRESS},", 1)]
)
def test_how_a_list_of_addresses_is_written(environment: pytest.MonkeyPatch, text: str, count: int) -> None:
    """Addresses with commas between them, each in its checksummed spelling; nothing is an empty list."""
    environment.setenv("ENGINE_TREASURY_ADDRESSES", text)
    assert read_settings(Settings).treasury_addresses == (CHECKSUMMED,) * count


def test_spaces_in_a_list_are_allowed(environment: pytest.MonkeyPatch) -> None:
    """A list that a person wrote with a space after the comma is the same list."""
    environment.setenv("ENGINE_TREASURY_ADDRESSES", f"{ADDRESS}, {ADDRESS}")
    assert read_settings(Settings).treasury_addresses == (CHECKSUMMED,) * 2


def test_one_wrong_address_is_refused(environment: pytest.MonkeyPatch) -> None:
    """A list with one wrong address is no list, and the variable is named."""
    environment.setenv("ENGINE_TREASURY_ADDRESSES", f"{ADDRESS},0x12")
    with pytest.raises(SettingAtFault) as fault:
        read_settings(Settings)
    assert fault.value.setting == "ENGINE_TREASURY_ADDRESSES"


@pytest.mark.parametrize("name", NEEDED)
def test_what_is_missing_is_named(environment: pytest.MonkeyPatch, name: str) -> None:
    """Each variable that has no default is asked for by its name."""
    environment.delenv(f"{ENV_PREFIX}{name}")
    with pytest.raises(SettingAtFault) as fault:
        read_settings(Settings)
    assert fault.value.setting == f"{ENV_PREFIX}{name}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHAIN_ID", "one"),
        ("CONFIRMATIONS", "0"),
        ("DATABASE_POOL_SIZE", "0"),
        ("FINALITY_TAG", "latest"),
        ("KEY_MODE", "test"),
        ("PLATFORM_WALLET", "0x12"),
        ("SETTLE_DEADLINE", "90"),
        ("SETTLE_DEADLINE", "soon"),
    ],
)
def test_what_is_wrong_is_named(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A value that cannot be is refused at the start, with the variable's name."""
    environment.setenv(f"{ENV_PREFIX}{name}", value)
    with pytest.raises(SettingAtFault) as fault:
        read_settings(Settings)
    assert fault.value.setting == f"{ENV_PREFIX}{name}"


def test_finality_is_chosen_once(environment: pytest.MonkeyPatch) -> None:
    """When a receipt is final is a number of blocks or a tag: not both, and, as the test above says, not neither."""
    environment.setenv("ENGINE_FINALITY_TAG", "safe")
    with pytest.raises(SettingAtFault, match="only one of them"):
        read_settings(Settings)
    environment.delenv("ENGINE_CONFIRMATIONS")
    assert read_settings(Settings).finality_tag == "safe"


@pytest.mark.parametrize(
    ("deployment", "build"), [("loan-engine", ""), ("", "7"), ("loan.engine", "7"), ("loan-engine", "a b")]
)
def test_a_build_has_a_deployment(environment: pytest.MonkeyPatch, deployment: str, build: str) -> None:
    """Workers are versioned by two names that Temporal takes, or by neither."""
    environment.setenv("ENGINE_WORKER_DEPLOYMENT", deployment)
    environment.setenv("ENGINE_BUILD_ID", build)
    with pytest.raises(SettingAtFault):
        read_settings(Settings)


@pytest.mark.parametrize("name", ["WORKER_DEPLOYMENT", "BUILD_ID", "OTLP_ENDPOINT"])
def test_what_compose_leaves_empty_is_not_set(environment: pytest.MonkeyPatch, name: str) -> None:
    """A variable that is there and empty is none."""
    environment.setenv(f"{ENV_PREFIX}{name}", "")
    assert getattr(read_settings(Settings), name.lower()) is None


def test_the_engine_s_own_addresses(environment: pytest.MonkeyPatch) -> None:
    """The wallet, the contracts, the probe and the treasury belong to the engine: nobody is paid there."""
    treasury = "0x0000000000000000000000000000000000000001"
    environment.setenv("ENGINE_TREASURY_ADDRESSES", treasury)
    settings = read_settings(Settings)
    assert settings.engine_addresses == {CHECKSUMMED, settings.probe_address, treasury}


def test_secrets_are_not_shown(environment: pytest.MonkeyPatch) -> None:
    """Neither the settings nor a complaint about them show what a variable holds."""
    environment.setenv("ENGINE_KEY_PEPPER", "hush-pepper")
    environment.setenv("ENGINE_SIGNER_PASSPHRASE", "hush-passphrase")
    environment.setenv("ENGINE_SIGNER_KEY_FILE", "/run/key")
    shown = repr(read_settings(Settings)) + str(read_settings(Settings)) + repr(read_settings(SignerSettings))
    environment.setenv("ENGINE_CHAIN_ID", "hush-chain")
    with pytest.raises(SettingAtFault) as fault:
        read_settings(Settings)
    assert "hush" not in shown + str(fault.value)


def test_what_is_secret() -> None:
    """URLs may hold a password or a key, so they are secret like the rest."""
    secret = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    assert secret == {"database_url", "rpc_url", "key_pepper", "sealing_key", "rate_limit_url"}


@pytest.mark.usefixtures("environment")
def test_settings_are_frozen() -> None:
    """Nothing changes what a process was started with."""
    settings = read_settings(Settings)
    with pytest.raises(ValidationError, match="frozen"):
        settings.chain_id = 1  # type: ignore[misc]  # that it cannot be written is the point


def test_what_does_not_concern_a_process_is_ignored(environment: pytest.MonkeyPatch) -> None:
    """A migration needs the database only, and is not stopped by the variables of others."""
    environment.setenv("ENGINE_SOMETHING_ELSE", "x")
    assert read_settings(DatabaseSettings).database_url == SecretStr(NEEDED["DATABASE_URL"])


def test_the_key_file_is_a_path(environment: pytest.MonkeyPatch) -> None:
    """The lane reads a path, and never a key, from its environment."""
    environment.setenv("ENGINE_SIGNER_KEY_FILE", "/run/key")
    signer = read_settings(SignerSettings)
    assert (signer.signer_key_file, signer.signer_passphrase) == (Path("/run/key"), None)


def test_a_pace_is_in_whole_seconds(environment: pytest.MonkeyPatch) -> None:
    """What goes into the terms of a loan is in seconds, and never nothing."""
    environment.setenv("ENGINE_SETTLE_RETRY", "PT0.2S")
    environment.setenv("ENGINE_PROOF_WAIT", "PT90.9S")
    assert read_settings(Settings).pace == Pace(
        leg_patience=1_800, settle_retry=1, settle_blocked=600, settle_deadline=86_400, proof_wait=90
    )


def test_a_child_s_environment_starts_without_ours(environment: pytest.MonkeyPatch) -> None:
    """A sandbox gives its processes the surroundings, and none of the engine's variables."""
    environment.setenv("SOMETHING_ELSE", "kept")
    around = surroundings()
    assert around["SOMETHING_ELSE"] == "kept"
    assert not [name for name in around if name.startswith(ENV_PREFIX)]
