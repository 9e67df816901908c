"""The whole sandbox as processes, on any free ports and a folder that is gone afterwards: what the demo leaves up for a partner.

It starts in some ten seconds, so tests of one file share one.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from api.administration import create_administrator, issue_admin_key
from models.ids import new_id
from models.tables.session import transactions
from sandbox.demo.links import write_env_file
from sandbox.services import StackOptions
from sandbox.world import NO_SETTINGS, Sandbox, open_sandbox

ENV_FILE = "demo.env"


@contextmanager
def _quietly(_: str) -> Iterator[None]:
    yield


@asynccontextmanager
async def throwaway_sandbox(folder: Path, settings: Mapping[str, str] = NO_SETTINGS) -> AsyncIterator[Sandbox]:
    """Everything runs, and the file that shells source is in the folder."""
    async with open_sandbox(folder, StackOptions.throwaway(), _quietly, settings) as sandbox:
        write_env_file(folder / ENV_FILE, sandbox)
        yield sandbox


@pytest.fixture(scope="module")
async def sandbox(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sandbox]:
    async with throwaway_sandbox(tmp_path_factory.mktemp("sandbox")) as opened:
        yield opened


async def administrator_key(sandbox: Sandbox) -> str:
    """The key of a new administrator."""
    async with transactions(sandbox.database)() as session:
        administrator = await create_administrator(session, f"Ada {new_id('test')}")
        return (await issue_admin_key(session, administrator.id, mode="sandbox")).key
