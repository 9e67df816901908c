"""The job of Compose's profile `sandbox`, on a chain and a database of its own."""

from pathlib import Path

import pytest
from eth_account import Account

from sandbox.accounts import MNEMONIC, key_of
from sandbox.errors import SandboxError
from sandbox.once import fill
from sandbox.services import Anvil
from settings import Settings, SignerSettings
from tests.deploy.files import ROOT, env_file


@pytest.fixture
def signer(tmp_path: Path) -> SignerSettings:
    """The account that ops/compose/secrets.sh makes the signer of."""
    Account.enable_unaudited_hdwallet_features()
    file = tmp_path / "signer_key"
    file.write_text(key_of(Account.from_mnemonic(MNEMONIC, account_path="m/44'/60'/0'/0/5")))
    file.chmod(0o600)
    return SignerSettings(signer_key_file=file)


def settings_of(anvil: Anvil, database_url: str, monkeypatch: pytest.MonkeyPatch, **changed: str) -> Settings:
    variables = env_file(ROOT / "ops" / "compose" / "sandbox.env") | changed
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Settings(database_url=database_url, rpc_url=anvil.url)


async def test_the_sandbox_is_filled_once(
    database_url: str, signer: SignerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The contracts are where ops/compose/sandbox.env says; a second run finds all there, and a strange chain is refused."""
    async with Anvil.start(tmp_path / "anvil") as anvil:
        settings = settings_of(anvil, database_url, monkeypatch)
        made = await fill(settings, signer)
        assert "_sandbox_" in made["partner_key"]
        assert len(made) == 3
        assert await fill(settings, signer) == {}
        elsewhere = settings_of(anvil, database_url, monkeypatch, ENGINE_VAULT_ADDRESS=f"0x{'ab' * 20}")
        with pytest.raises(SandboxError, match="other contracts"):
            await fill(elsewhere, signer)
