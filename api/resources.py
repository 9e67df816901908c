"""All that the API holds open: built once when it starts, closed when it stops."""

from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from api.starter import OperationStarter, TemporalStarter, Together
from api.waiting import DoneWatch
from chain.client import ChainClient
from models.tables.session import Transaction, open_database, transactions
from settings import Settings
from telemetry import Tracing


@dataclass(frozen=True)
class Resources:
    """``statements`` makes sessions in which each statement commits by itself: one round trip instead of three."""

    settings: Settings
    transaction: Transaction
    statements: async_sessionmaker[AsyncSession]
    starter: OperationStarter
    chain: ChainClient
    watch: DoneWatch
    together: Together = field(default_factory=Together)


async def open_resources(settings: Settings, stack: AsyncExitStack, tracing: Tracing) -> Resources:
    """Connects to nothing yet, so that the API starts, and says what is away, whatever is away."""
    engine = open_database(
        settings.database_url.get_secret_value(), pool_size=settings.database_pool_size, application_name="api"
    )
    stack.push_async_callback(engine.dispose)
    tracing.watch_database(engine)
    statements = async_sessionmaker(engine.execution_options(isolation_level="AUTOCOMMIT"), expire_on_commit=False)
    watch = DoneWatch(statements)
    stack.push_async_callback(watch.aclose)
    return Resources(
        settings=settings,
        transaction=transactions(engine),
        statements=statements,
        starter=TemporalStarter(
            settings.temporal_address, settings.temporal_namespace, settings.head_wait, tracing.plugins()
        ),
        chain=await stack.enter_async_context(ChainClient(settings.rpc_url.get_secret_value())),
        watch=watch,
    )
