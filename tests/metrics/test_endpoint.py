"""Where a process tells of itself: beside its work, and never in its way."""

import socket
from collections.abc import Iterator

import pytest

from api import app
from metrics.endpoint import new_registry, served
from metrics.sdk import sdk_runtime
from settings import ENV_PREFIX
from startup import SettingAtFault
from tests.metrics.scraping import scrape
from tests.unit.test_settings import NEEDED

HOST = "127.0.0.1"


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        yield other.getsockname()[1]


async def test_a_port_that_another_has_stops_nothing(taken_port: int) -> None:
    """The process goes on without its metrics, and without the SDK's."""
    async with served(new_registry("api"), HOST, taken_port):
        pass
    assert sdk_runtime(HOST, taken_port) is None


async def test_the_port_is_free_again_afterwards() -> None:
    """A process that stops lets go of it, so that the next one tells from its first second."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    for service in ("api", "worker-all"):
        async with served(new_registry(service), HOST, port):
            assert (await scrape(port)).get("loan_engine_info", service=service) == 1


@pytest.mark.parametrize("port", [None, 0])
async def test_nothing_is_served_where_nothing_is_set(port: int | None) -> None:
    """No port and port 0 both mean off, and the SDK then keeps its own default."""
    async with served(new_registry("api"), HOST, port):
        pass
    assert sdk_runtime(HOST, port) is None


@pytest.mark.parametrize("name", ["METRICS_PORT", "TEMPORAL_METRICS_PORT"])
def test_metrics_are_never_on_the_api_s_port(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API does not start where partners would reach its metrics, and names the setting at fault."""
    for known, value in {**NEEDED, name: "8123"}.items():
        monkeypatch.setenv(f"{ENV_PREFIX}{known}", value)
    with pytest.raises(SettingAtFault, match=f"{ENV_PREFIX}{name}"):
        app.settings_for(8123)
    assert app.settings_for(8000).key_mode == "live"
