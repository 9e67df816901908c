"""A copy of the tracked files, to plant bugs in: the tree itself is never touched."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import cache_from_source
from pathlib import Path

from tests.planted.bug import Bug

ROOT = Path(__file__).parents[2]
_INSTALLED = (".venv", "contracts/node_modules")
"""What is installed and not tracked is linked, not copied."""


def copy_tree(to: Path) -> Path:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        target = to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    for name in _INSTALLED:
        (to / name).symlink_to((ROOT / name).resolve(), target_is_directory=True)
    return to


@contextmanager
def planted(copy: Path, bug: Bug) -> Iterator[None]:
    """The copy with the bug in it, and afterwards without."""
    file = copy / bug.file
    before = file.read_text()
    _write(file, bug.planted(copy))
    try:
        yield
    finally:
        _write(file, before)


def _write(file: Path, text: str) -> None:
    """Python takes a cached module for fresh by its second and size, which an edit may leave as they were."""
    file.write_text(text)
    Path(cache_from_source(str(file))).unlink(missing_ok=True)
