"""What the demo's command line gives to the engine's processes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from chain.codec import checksum
from contracts.deploy import Contracts
from sandbox.demo.__main__ import settings
from sandbox.demo.links import links
from sandbox.demo.story import Told
from sandbox.engine import EngineConfig
from sandbox.world import Sandbox

RECEIVER = "http://127.0.0.1:4317"
ANYBODY = checksum("0x" + "11" * 20)


def config(otlp: str | None) -> EngineConfig:
    return EngineConfig(
        database_url="postgresql+psycopg://nobody@127.0.0.1:9/none",
        temporal_address="127.0.0.1:9",
        rpc_url="http://127.0.0.1:9",
        chain_id=1,
        contracts=cast(Contracts, SimpleNamespace(usdc=ANYBODY, oaid=ANYBODY, vault=ANYBODY, pool=ANYBODY)),
        platform_wallet=ANYBODY,
        signer_key_file=Path("none"),
        settings=settings(otlp),
    )


@pytest.mark.parametrize(("otlp", "told"), [(RECEIVER, RECEIVER), (None, None)])
def test_every_process_is_told_where_spans_go(otlp: str | None, told: str | None) -> None:
    """One variable of the demo is one variable of the engine's processes; without it nothing is traced."""
    assert config(otlp).variables("http://127.0.0.1:8000").get("ENGINE_OTLP_ENDPOINT") == told


@pytest.mark.parametrize(("otlp", "shown"), [(RECEIVER, [RECEIVER]), (None, [])])
def test_the_links_say_where_spans_went(otlp: str | None, shown: list[str]) -> None:
    """Who sent them somewhere finds the place among the links."""
    engine = SimpleNamespace(config=config(otlp), api_url="http://127.0.0.1:8000")
    sandbox = SimpleNamespace(engine=engine, stack=SimpleNamespace(temporal_ui_url="http://127.0.0.1:8233"))
    told = SimpleNamespace(borrow_operation="borrow:demo:1", repay_operation="repay:demo:1")
    named: Any = links(cast(Sandbox, sandbox), cast(Told, told))
    assert [where for where in named.values() if where == RECEIVER] == shown
