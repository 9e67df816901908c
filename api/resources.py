"""All that the API holds open: built once when it starts, closed when it stops."""

from collections import OrderedDict
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from api.last_used import LastUsed
from api.limiter import Limiter
from api.starter import OperationStarter, TemporalStarter, Together
from api.waiting import DoneWatch
from api.windows import ValkeyWindows
from chain.client import ChainClient
from chain.deployment import knows_operators
from chain.engine_chain import EngineChain
from metrics.sdk import sdk_runtime
from models.tables.session import Transaction, open_database, transactions
from settings import Settings
from startup import chain_of
from telemetry import Tracing


class LateChain:
    """The engine's chain for who checks a borrow as workflows do. Its vault is asked when it is first needed, and once."""

    def __init__(self, settings: Settings, client: ChainClient) -> None:
        self._settings = settings
        self._client = client
        self._known: EngineChain | None = None

    async def get(self) -> EngineChain:
        """Raises RpcUnavailable while there is no node, and is asked anew the next time."""
        if self._known is None:
            head = (await self._client.head()).number
            found = await knows_operators(self._client, self._settings.vault_address, head)
            self._known = chain_of(self._settings, self._client, has_operator_path=found)
        return self._known


@dataclass(frozen=True)
class Resources:
    """``statements`` makes sessions in which each statement commits by itself: one round trip instead of three.

    ``reads`` makes such sessions on a small pool of their own, for whatever may take long (api/reads.py).
    ``good_pairs`` are hashes of an address with a key that was good there, the latest last (api/gate.py).
    """

    settings: Settings
    transaction: Transaction
    statements: async_sessionmaker[AsyncSession]
    reads: async_sessionmaker[AsyncSession]
    starter: OperationStarter
    chain: ChainClient
    engine_chain: LateChain
    watch: DoneWatch
    limiter: Limiter
    last_used: LastUsed
    good_pairs: "OrderedDict[bytes, None]" = field(default_factory=OrderedDict)
    together: Together = field(default_factory=Together)


async def open_resources(settings: Settings, stack: AsyncExitStack, tracing: Tracing) -> Resources:
    """Connects to nothing yet, so that the API starts, and says what is away, whatever is away."""
    engine = open_database(
        settings.database_url.get_secret_value(), pool_size=settings.database_pool_size, application_name="api"
    )
    stack.push_async_callback(engine.dispose)
    tracing.watch_database(engine)
    reading = open_database(
        settings.database_url.get_secret_value(),
        pool_size=settings.reads_pool_size,
        application_name="api reads",
        statement_timeout=settings.reads_timeout,
        pool_timeout=settings.reads_timeout,
        read_only=True,
    )
    stack.push_async_callback(reading.dispose)
    tracing.watch_database(reading)
    statements = _statements(engine)
    watch = DoneWatch(statements)
    stack.push_async_callback(watch.aclose)
    last_used = LastUsed(statements)
    last_used.open()
    stack.push_async_callback(last_used.aclose)
    limiter = Limiter(_shared_windows(settings), transactions(engine))
    limiter.open()
    stack.push_async_callback(limiter.aclose)
    chain = await stack.enter_async_context(ChainClient(settings.rpc_url.get_secret_value()))
    return Resources(
        settings=settings,
        transaction=transactions(engine),
        statements=statements,
        reads=_statements(reading),
        starter=TemporalStarter(
            settings.temporal_address,
            settings.temporal_namespace,
            settings.head_wait,
            tracing.plugins(),
            sdk_runtime(settings.metrics_host, settings.temporal_metrics_port),
        ),
        chain=chain,
        engine_chain=LateChain(settings, chain),
        watch=watch,
        limiter=limiter,
        last_used=last_used,
    )


def _statements(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    return async_sessionmaker(engine.execution_options(isolation_level="AUTOCOMMIT"), expire_on_commit=False)


def _shared_windows(settings: Settings) -> ValkeyWindows | None:
    return None if settings.rate_limit_url is None else ValkeyWindows(settings.rate_limit_url.get_secret_value())
