"""The programs that the contracts need are found wherever they are."""

from pathlib import Path

import pytest

from contracts import node


def test_without_a_path_node_and_npm_come_from_the_virtual_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundled npm would look for a node on PATH, so it is run by the one beside it."""
    monkeypatch.setenv("PATH", "/nonexistent")
    assert node.node().is_file()
    runner, script = node.npm()
    assert runner == str(node.node())
    assert Path(script).is_file()


def test_an_anvil_on_the_path_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "anvil"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert node.anvil() == own


def test_without_one_anvil_comes_from_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert node.anvil().is_relative_to(node.NODE_MODULES)
