"""``python -m api.partners`` as a test runs it: in this process, with its settings from the environment."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from api import partners
from settings import Settings

Run = Callable[..., Awaitable[tuple[int, str]]]


def set_environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command reads its settings from the environment, as in production."""
    for name, value in settings.model_dump(exclude_none=True, include=set(settings.model_fields_set)).items():
        shown = value.get_secret_value() if hasattr(value, "get_secret_value") else value
        monkeypatch.setenv(f"ENGINE_{name.upper()}", str(shown))


def runner(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command; its exit status, and all that it said."""

    async def run(*arguments: str) -> tuple[int, str]:
        status = await asyncio.to_thread(partners.main, arguments)
        said = capsys.readouterr()
        return status, said.out + said.err

    return run
