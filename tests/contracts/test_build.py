"""What is committed is what the source gives."""

from pathlib import Path

import pytest

from contracts import build


@pytest.fixture(scope="module")
def expected() -> dict[Path, str]:
    return build.expected_files()


def test_the_committed_artifacts_are_those_of_the_source(expected: dict[Path, str]) -> None:
    """The bytecode too, byte for byte, since nothing in the settings depends on the machine."""
    assert [path.name for path, text in expected.items() if path.read_text() != text] == []


def test_a_file_that_differs_is_named(expected: dict[Path, str]) -> None:
    """Changed ones, missing ones, and those whose contract is gone."""
    usdc = build.ARTIFACTS / "USDC.json"
    changed = {**expected, usdc: "{}", build.ARTIFACTS / "New.json": "{}"}
    del changed[build.ARTIFACTS / "OAID.json"]
    names = [path.name for path in build.stale_files(changed)]
    assert names == ["New.json", "OAID.json", "USDC.json"]


def test_the_npm_lock_names_no_registry() -> None:
    """So that it installs from whatever registry a machine is set up for."""
    assert '"resolved"' not in (build.CONTRACTS / "package-lock.json").read_text()
