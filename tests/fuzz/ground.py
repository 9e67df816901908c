"""The sandbox that is fuzzed: nobody is slowed down by rate limits, and a user's grant lets some borrows through."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import update

from models.tables.partners import Partner
from models.tables.session import transactions
from sandbox.accounts import address_of
from sandbox.demo.partner import PartnerClient
from sandbox.seed import USDC
from sandbox.world import Sandbox
from tests.sandbox import administrator_key, throwaway_sandbox

PLENTY = 1_000_000
SETTINGS = {
    **{f"{which}_PER_MINUTE": str(PLENTY) for which in ("PUBLIC_REQUESTS", "ADMIN_REQUESTS", "FAILED_KEYS")},
    "HEAD_WAIT": "PT1S",
    "PROOF_WAIT": "PT2S",
}


@dataclass(frozen=True)
class Ground:
    url: str
    world: Mapping[str, list[str]]
    partner_key: str = field(repr=False)
    admin_key: str = field(repr=False)


@asynccontextmanager
async def fuzzing_ground(folder: Path) -> AsyncIterator[Ground]:
    async with throwaway_sandbox(folder, SETTINGS) as sandbox:
        async with PartnerClient.connect(sandbox.engine.api_url, sandbox.manifest.partner_key) as partner:
            for line, user in zip(sandbox.manifest.lines, sandbox.chain.accounts.users, strict=True):
                await partner.grant(line, user, 10_000 * USDC)
        admin_key = await _prepare(sandbox)
        yield Ground(sandbox.engine.api_url, _world(sandbox), sandbox.manifest.partner_key, admin_key)


async def _prepare(sandbox: Sandbox) -> str:
    """No rate limit for the partner, and an administrator; the administrator's key."""
    async with transactions(sandbox.database)() as session:
        await session.execute(update(Partner).values(requests_per_minute=PLENTY))
    return await administrator_key(sandbox)


def _world(sandbox: Sandbox) -> Mapping[str, list[str]]:
    return {
        "oaid_token_id": [str(line.credit_line_id) for line in sandbox.manifest.lines],
        "user_wallet": [address_of(user) for user in sandbox.chain.accounts.users],
    }
