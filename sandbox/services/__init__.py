"""The four real parts that the engine needs, started from packages of the virtual environment.

Tests start many, fast and thrown away; the demo starts one of each, whose state survives. Every part is an asynchronous
context manager: `async with Postgres.start(folder, PostgresOptions(durable=False)) as postgres: postgres.url`.
"""

from sandbox.errors import SandboxError
from sandbox.services.anvil import Anvil, AnvilOptions
from sandbox.services.postgres import Postgres, PostgresOptions
from sandbox.services.process import FolderInUseError, ServiceStartError
from sandbox.services.stack import Stack, StackOptions
from sandbox.services.temporal import Temporal, TemporalOptions
from sandbox.services.valkey import Valkey, ValkeyOptions

__all__ = [
    "Anvil",
    "AnvilOptions",
    "FolderInUseError",
    "Postgres",
    "PostgresOptions",
    "SandboxError",
    "ServiceStartError",
    "Stack",
    "StackOptions",
    "Temporal",
    "TemporalOptions",
    "Valkey",
    "ValkeyOptions",
]
