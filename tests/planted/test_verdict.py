"""A bug is caught by a failed assertion and by nothing else."""

from pathlib import Path

import pytest

from tests.machines.effort import HASTY
from tests.planted.bug import Bug
from tests.planted.copies import planted
from tests.planted.verdict import run_tests

CONFTEST = f"from hypothesis import settings\nsettings.register_profile({HASTY!r})\n"
TESTS = """
import pytest
from code_of_the_engine import answer

@pytest.fixture
def broken():
    raise RuntimeError("no service")

def test_of_the_answer():
    assert answer() == 42

def test_that_cannot_start(broken):
    assert answer() == 42

@pytest.mark.skip
def test_that_is_skipped():
    assert answer() == 42
"""
BUG = Bug(name="wrong", breaks="the answer", file="code_of_the_engine.py", old="42", new="41", test="test_it.py")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / BUG.file).write_text("def answer():\n    return 42\n")
    return tmp_path


async def test_a_failed_assertion_catches(copy: Path) -> None:
    """Without the bug the test passes, with it it fails and says how, and afterwards it passes again."""
    assert (await run_tests(copy, "test_it.py::test_of_the_answer")).passed
    with planted(copy, BUG):
        verdict = await run_tests(copy, "test_it.py::test_of_the_answer")
    assert not verdict.passed
    assert (verdict.broken, verdict.how) == (None, "test_of_the_answer: assert 41 == 42")
    assert (await run_tests(copy, "test_it.py::test_of_the_answer")).passed


@pytest.mark.parametrize("name", ["test_that_cannot_start", "test_that_is_skipped", "test_that_is_not_there"])
async def test_a_test_that_does_not_run_catches_nothing(copy: Path, name: str) -> None:
    """A fixture that fails, a skip and a missing test say nothing about the bug."""
    with planted(copy, BUG):
        verdict = await run_tests(copy, f"test_it.py::{name}")
    assert not verdict.passed
    assert verdict.broken is not None


async def test_a_bug_that_does_not_import_catches_nothing(copy: Path) -> None:
    """A copy that is no Python any more would fail any test."""
    with planted(copy, Bug(name="no", breaks="any", file=BUG.file, old="42", new="(", test="any")):
        verdict = await run_tests(copy, "test_it.py::test_of_the_answer")
    assert verdict.broken is not None
