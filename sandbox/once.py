"""What Compose's profile `sandbox` runs once, before the engine: contracts, liquidity, two credit lines and a partner.

The chain is the one of the settings, and empty, or one that this has filled before. It prints the partner's key, which is
worth as little as the chain.
"""

import asyncio
import json
import sys
from datetime import timedelta

from eth_typing import ChecksumAddress
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from chain.client import ChainClient
from models.tables.partners import Partner
from models.tables.session import open_database, transactions
from sandbox.accounts import MNEMONIC, Accounts, address_of, sandbox_accounts
from sandbox.errors import SandboxError
from sandbox.seed import PARTNER_ID, mined_at_once, seed_chain, seed_partner, send_float
from settings import Settings, SignerSettings
from startup import SettingAtFault, read_settings

BLOCK_TIME = timedelta(seconds=1)
"""As docker-compose.yml has it, to which the chain goes back afterwards."""


async def fill(settings: Settings, signer: SignerSettings) -> dict[str, str]:
    """What was made, by name; nothing where all is there. Raises SandboxError where the settings name other contracts."""
    accounts = sandbox_accounts(MNEMONIC, signer.signer_key_file)
    if address_of(accounts.platform) != settings.platform_wallet:
        raise SandboxError(f"ENGINE_PLATFORM_WALLET is not the signer's address, {address_of(accounts.platform)}")
    database = open_database(settings.database_url.get_secret_value(), pool_size=1, application_name="sandbox")
    try:
        async with ChainClient(settings.rpc_url.get_secret_value()) as client:
            made = await _fill_chain(client, settings, accounts)
        return made | await _fill_database(database, settings, address_of(accounts.settlement))
    finally:
        await database.dispose()


async def _fill_chain(client: ChainClient, settings: Settings, accounts: Accounts) -> dict[str, str]:
    """The float is sent last, so that a chain without it is one that was left half filled."""
    (vault,) = await client.code([settings.vault_address])
    if vault and await client.nonce(address_of(accounts.treasury), "latest"):
        return {}
    if await client.nonce(address_of(accounts.owner), "latest"):
        raise SandboxError(
            "the chain holds other contracts, or half of them: 'docker compose down --volumes' removes it"
        )
    async with mined_at_once(client, BLOCK_TIME):
        chain = await seed_chain(client, accounts)
        lines = [await chain.open_line(user) for user in (0, 1)]
        await send_float(chain)
    if chain.contracts.vault != settings.vault_address:
        raise SandboxError(
            f"the vault is at {chain.contracts.vault}, and ENGINE_VAULT_ADDRESS is {settings.vault_address}"
        )
    return {f"credit_line_of_{line.user}": str(line.credit_line_id) for line in lines}


async def _fill_database(database: AsyncEngine, settings: Settings, settlement: ChecksumAddress) -> dict[str, str]:
    async with transactions(database)() as session:
        if await session.scalar(select(Partner.id).where(Partner.id == PARTNER_ID)) is not None:
            return {}
    return {"partner_key": await seed_partner(database, settlement, settings.key_pepper)}


def main() -> int:
    """Exit status 1 where the chain is not one that it can fill, 2 where a setting is at fault."""
    try:
        made = asyncio.run(fill(read_settings(Settings), read_settings(SignerSettings)))
    except SandboxError as error:
        print(error, file=sys.stderr)
        return 1
    except SettingAtFault as fault:
        print(fault, file=sys.stderr)
        return 2
    print(json.dumps(made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
