"""The list of planted bugs is kept up to date: what cannot be planted catches nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.planted.bug import Bug, EditDoesNotApply
from tests.planted.copies import ROOT
from tests.planted.rooms.all import BUGS

RUFF = Path(sys.executable).with_name("ruff")
EACH = pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)


@EACH
def test_an_edit_applies(bug: Bug) -> None:
    """The text to replace is in its file exactly once, and a promise is named that breaks with it."""
    assert bug.planted(ROOT) != (ROOT / bug.file).read_text()
    assert bug.breaks


@EACH
def test_a_planted_file_is_sound(bug: Bug) -> None:
    """A bug is a wrong thing done in working Python: a name that is not there would fail any test."""
    asked = [str(RUFF), "check", "--quiet", "--isolated", "--select", "E9,F821,F823", "--stdin-filename", bug.file, "-"]
    found = subprocess.run(asked, input=bug.planted(ROOT), capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


@EACH
def test_the_test_of_a_bug_is_there(bug: Bug) -> None:
    """The test that must fail is a function of the file that it is said to be in."""
    file, _, name = bug.test.partition("::")
    tree = ast.parse((ROOT / file).read_text())
    functions = {each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name.partition("[")[0] in functions


def test_names_are_unique() -> None:
    """Two bugs of one name could not be told apart in the report."""
    assert len({bug.name for bug in BUGS}) == len(BUGS)


def test_an_edit_whose_text_has_changed_is_an_error(tmp_path: Path) -> None:
    """A bug that no longer applies, or applies at two places, is not planted anywhere."""
    bug = Bug(name="any", breaks="any", file="code.py", old="x", new="y", test="any")
    for text in ("a", "x x"):
        (tmp_path / bug.file).write_text(text)
        with pytest.raises(EditDoesNotApply):
            bug.planted(tmp_path)
