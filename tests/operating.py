"""Typing operators' commands, as a fixture: ``operate.py`` with the engine's settings in the environment."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

import operate
from settings import ENV_PREFIX, Settings
from tests.engine import Engine

Say = Callable[..., Awaitable[tuple[int, str]]]
_LOGGED = str(datetime.now(UTC).year)
"""What the engine in the same process logs begins with its time."""


def variables(settings: Settings) -> dict[str, str]:
    """The environment of a process that is configured like this."""
    given = settings.model_dump(exclude_none=True, include=set(settings.model_fields_set))
    return {f"{ENV_PREFIX}{name.upper()}": _told(value) for name, value in given.items()}


def _told(value: object) -> str:
    shown = value.get_secret_value() if hasattr(value, "get_secret_value") else value
    told = ",".join(shown) if isinstance(shown, tuple) else shown
    return f"PT{told.total_seconds()}S" if isinstance(told, timedelta) else str(told)


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs the command as an operator does; its exit status and what it said."""

    async def run(engine: Engine, *arguments: str) -> tuple[int, str]:
        for name, value in variables(engine.settings).items():
            monkeypatch.setenv(name, value)
        status = await asyncio.to_thread(operate.main, arguments)
        said = capsys.readouterr()
        lines = (said.out + said.err).splitlines(keepends=True)
        return status, "".join(line for line in lines if not line.startswith(_LOGGED))

    return run
