"""Who acts in the sandbox, and with which keys.

All but one are Anvil's well-known accounts, which anybody can use from any tool; they are worth nothing anywhere else.
The platform wallet's key is made here and kept in a file, because that is how the lane gets it everywhere.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress

from chain.codec import checksum

MNEMONIC = "test test test test test test test test test test test junk"


@dataclass(frozen=True)
class Accounts:
    """The owner deploys and mints; the settlement account is the partner's; the treasury is the operator's own."""

    owner: LocalAccount
    users: tuple[LocalAccount, LocalAccount]
    settlement: LocalAccount
    treasury: LocalAccount
    platform: LocalAccount


def sandbox_accounts(mnemonic: str, signer_key_file: Path) -> Accounts:
    """The accounts of a chain that Anvil started with this mnemonic. Makes the key file where there is none."""
    Account.enable_unaudited_hdwallet_features()
    owner, one, two, settlement, treasury = (
        Account.from_mnemonic(mnemonic, account_path=f"m/44'/60'/0'/0/{place}") for place in range(5)
    )
    return Accounts(owner, (one, two), settlement, treasury, _platform(signer_key_file))


def address_of(account: LocalAccount) -> ChecksumAddress:
    return checksum(account.address)


def key_of(account: LocalAccount) -> str:
    return "0x" + bytes(account.key).hex()


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, at no moment with other rights or half of its text."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def _platform(signer_key_file: Path) -> LocalAccount:
    if not signer_key_file.exists():
        made: LocalAccount = Account.create()
        write_private(signer_key_file, key_of(made) + "\n")
    kept: LocalAccount = Account.from_key(signer_key_file.read_text().strip())
    return kept
