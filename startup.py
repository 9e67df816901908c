"""Start-up checks: a process that cannot do its work does not start, and says which setting is at fault."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import ValidationError
from pydantic_settings import BaseSettings
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client, Plugin
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.runtime import Runtime
from temporalio.service import RPCError, RPCStatusCode

from chain.client import ChainClient
from chain.deployment import Deployment, check_deployment
from chain.engine_chain import EngineChain
from chain.errors import ChainError, ChainMisconfigured
from settings import ENV_PREFIX, Settings
from workflows.attention import ATTENTION_REASON
from workflows.tale import LOAN_ID, OAID_TOKEN_ID, PARTNER_ID, STEP, TX_HASH

Read = TypeVar("Read", bound=BaseSettings)
SEARCH_ATTRIBUTES = tuple(key.name for key in (ATTENTION_REASON, LOAN_ID, OAID_TOKEN_ID, PARTNER_ID, STEP, TX_HASH))
ATTRIBUTE_POLL = timedelta(milliseconds=200)
ALEMBIC_INI = Path(__file__).parent / "alembic.ini"
NODE_PATIENCE, NODE_PAUSE = timedelta(seconds=20), timedelta(milliseconds=500)


class SettingAtFault(Exception):
    """``setting`` is the environment variable that is wrong, or that names what is away."""

    def __init__(self, setting: str, problem: str) -> None:
        super().__init__(f"{ENV_PREFIX}{setting}: {problem}")
        self.setting = f"{ENV_PREFIX}{setting}"
        self.problem = problem


def read_settings(kind: type[Read]) -> Read:
    """Raises SettingAtFault for the first setting that is missing or malformed, without its value: it may be a secret."""
    try:
        return kind()
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        setting = str(first["loc"][0]).upper() if first["loc"] else "CONFIRMATIONS"
        raise SettingAtFault(setting, first["msg"]) from None


async def check_database(database: AsyncEngine) -> None:
    """Raises SettingAtFault where the database is away or at another revision than this code."""
    expected = ScriptDirectory.from_config(Config(ALEMBIC_INI)).get_current_head()
    try:
        async with database.connect() as connection:
            found = await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())
    except (DBAPIError, OSError) as error:
        raise SettingAtFault("DATABASE_URL", f"the database cannot be reached ({type(error).__name__})") from error
    if found != expected:
        raise SettingAtFault(
            "DATABASE_URL",
            f"the database is at revision {found}, this code needs {expected}; run 'alembic upgrade head'",
        )


async def connect_temporal(
    settings: Settings, plugins: Sequence[Plugin] = (), runtime: Runtime | None = None
) -> Client:
    """Raises SettingAtFault where Temporal or its namespace cannot be reached."""
    try:
        client = await Client.connect(
            settings.temporal_address,
            namespace=settings.temporal_namespace,
            data_converter=pydantic_data_converter,
            plugins=plugins,
            runtime=runtime,
        )
        await client.service_client.check_health()
    except (RPCError, RuntimeError) as error:
        raise SettingAtFault(
            "TEMPORAL_ADDRESS", f"Temporal at {settings.temporal_address} cannot be reached ({error})"
        ) from error
    return client


async def ensure_search_attributes(client: Client, limit: timedelta = timedelta(seconds=10)) -> None:
    """Adds the search attributes by which operators find operations, where the namespace lacks one.

    Whether it is there is asked by a query such as operators use, which every kind of Temporal answers.
    Raises SettingAtFault where one is missing and cannot be added, or is of another type.
    """
    missing = [name for name in SEARCH_ATTRIBUTES if not await _is_known(client, name)]
    if not missing:
        return
    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    try:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=client.namespace, search_attributes=dict.fromkeys(missing, keyword))
        )
        async with asyncio.timeout(limit.total_seconds()):
            while not all([await _is_known(client, name) for name in missing]):  # noqa: ASYNC110 - Temporal tells nobody when it knows a new attribute
                await asyncio.sleep(ATTRIBUTE_POLL.total_seconds())
    except (RPCError, TimeoutError) as error:
        named = " ".join(f"--name {name} --type Keyword" for name in missing)
        command = f"temporal operator search-attribute create --namespace {client.namespace} {named}"
        raise SettingAtFault(
            "TEMPORAL_NAMESPACE",
            f"it lacks search attributes of type Keyword ({', '.join(missing)}), and they could not be added ({error!r}); "
            f"run '{command}'",
        ) from error


async def _is_known(client: Client, name: str) -> bool:
    try:
        await client.count_workflows(f"{name} STARTS_WITH 'settle'")
    except RPCError as error:
        if error.status is RPCStatusCode.INVALID_ARGUMENT:
            return False
        raise SettingAtFault("TEMPORAL_NAMESPACE", f"its workflows cannot be listed ({error})") from error
    return True


async def _check_patiently(settings: Settings, client: ChainClient) -> Deployment:
    """The checks are two dozen calls, and one that is lost is no wrong setting: they are made again for a while.

    Otherwise a node that loses some calls would keep a process that has died from ever coming back.
    """
    deadline = asyncio.get_running_loop().time() + NODE_PATIENCE.total_seconds()
    while True:
        try:
            return await check_deployment(
                client,
                chain_id=settings.chain_id,
                usdc=settings.usdc_address,
                oaid=settings.oaid_address,
                vault=settings.vault_address,
                pool=settings.pool_address,
            )
        except ChainMisconfigured:
            raise
        except ChainError:
            if asyncio.get_running_loop().time() >= deadline:
                raise
        await asyncio.sleep(NODE_PAUSE.total_seconds())


async def describe_chain(settings: Settings, client: ChainClient) -> EngineChain:
    """Raises SettingAtFault for a node that stays away, a wrong chain, or an address without the contract that it should hold."""
    try:
        deployment = await _check_patiently(settings, client)
    except ChainMisconfigured as wrong:
        raise SettingAtFault(wrong.setting, str(wrong)) from wrong
    except ChainError as error:
        raise SettingAtFault("RPC_URL", f"the node cannot be asked ({error})") from error
    return chain_of(settings, client, has_operator_path=deployment.has_operator_path)


def chain_of(settings: Settings, client: ChainClient, *, has_operator_path: bool) -> EngineChain:
    """The chain as the settings have it; nothing is asked and nothing checked."""
    return EngineChain(
        client=client,
        chain_id=settings.chain_id,
        usdc_address=settings.usdc_address,
        oaid_address=settings.oaid_address,
        vault_address=settings.vault_address,
        pool_address=settings.pool_address,
        wallet=settings.platform_wallet,
        probe_address=settings.probe_address,
        debt_ceiling=settings.debt_ceiling,
        finality=settings.finality,
        has_operator_path=has_operator_path,
    )
