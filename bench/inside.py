"""The whole engine in this process, so that all that it says to the database and the node can be counted."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from api.app import create_app
from api.resources import Resources, open_resources
from bench.counting import Counted, Tally, speaking, sql_counted
from bench.world import World
from chain.client import ChainClient
from chain.signer import KeyFileSigner
from chain.waiter import LegWaiter
from models.tables.session import open_database, transactions
from sandbox.seed import fund_float
from settings import ENV_PREFIX, Settings
from startup import describe_chain
from telemetry import Tracing
from wiring import Parts, loans_workers
from worker import lane_of

DONE_WITHIN = 30
API, LANE, WAITER, ASKING = "api", "lane", "leg waiter", "asking how it went"


@dataclass(frozen=True)
class Inside:
    api: httpx.AsyncClient
    temporal: Client
    tally: Tally

    async def wait_until_done(self, operation_id: str) -> str:
        """How it ended. The long poll is no part of a borrow, so what it costs is counted apart."""
        with speaking(ASKING):
            answer = await self.api.get(f"/v1/operations/{operation_id}", params={"wait": DONE_WITHIN})
        assert answer.json()["state"] == "DONE", answer.text
        outcome: str = answer.json()["outcome"]["status"]
        return outcome

    async def post(self, path: str, body: Mapping[str, Any], **headers: str) -> str:
        """The id of an accepted operation."""
        with speaking(API):
            answer = await self.api.post(path, json=body, headers=headers)
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        operation_id: str = answer.json()["operation_id"]
        return operation_id


@asynccontextmanager
async def running_inside(world: World, **changed: Any) -> AsyncIterator[Inside]:
    """API, worker and lane with the engine's default pace; a partner's requests come in without a socket."""
    settings = _settings(world, **changed)
    tally = Tally()
    async with AsyncExitStack() as opened:
        enter = opened.enter_async_context
        opened.enter_context(sql_counted(tally))
        client = await enter(_counted_client(world.anvil.url, tally))
        database = open_database(settings.database_url.get_secret_value())
        opened.push_async_callback(database.dispose)
        parts = Parts(settings, database, await describe_chain(settings, client))
        temporal = await Client.connect(settings.temporal_address, data_converter=pydantic_data_converter)
        with speaking(WAITER):
            waiter = await enter(LegWaiter(transactions(database), database.url))
        for worker in loans_workers(temporal, parts, waiter):
            await enter(worker)
        with speaking(LANE):
            await enter(lane_of(parts, KeyFileSigner.load(world.engine.config.signer_key_file)))
        api = await enter(_api(settings, tally, world.headers))
        with speaking("set-up"):
            await fund_float(world.chain, world.database)
        yield Inside(api, temporal, tally)


def _settings(world: World, **changed: Any) -> Settings:
    named = world.engine.config.variables(world.engine.api_url)
    given = {name.removeprefix(ENV_PREFIX).lower(): value for name, value in named.items()}
    # The sandbox looks for blocks more often than an engine does.
    given.pop("block_poll")
    return Settings.model_validate({**given, **changed})


def _counted_client(url: str, tally: Tally) -> ChainClient:
    client = ChainClient(url)
    client.rpc = Counted(url, tally)
    return client


@asynccontextmanager
async def _api(settings: Settings, tally: Tally, headers: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    async def counted_resources(configured: Settings, stack: AsyncExitStack, tracing: Tracing) -> Resources:
        resources = await open_resources(configured, stack, tracing)
        resources.chain.rpc = Counted(configured.rpc_url.get_secret_value(), tally)
        return resources

    app = create_app(settings, resources=counted_resources)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://engine", headers=headers, timeout=60) as client,
    ):
        yield client
