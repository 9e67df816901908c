"""The runbook as tests read it: its commands, its blocks of shell and the tests that it names, so that neither drifts apart."""

import ast
import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "runbook.md").read_text()
OPERATORS = (ROOT / "docs" / "operators.md").read_text()
_COMMAND = re.compile(r"^\| `python operate\.py ([^`]+)`", re.MULTILINE)
_BLOCK = re.compile(r"^<!-- tried: (?P<name>[a-z-]+) -->\n```sh\n(?P<lines>.*?)```$", re.MULTILINE | re.DOTALL)
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def commands() -> list[str]:
    """The lines of the table of commands, without the program."""
    return _COMMAND.findall(PAGE)


def typed(name: str, *holds: str, **words: str) -> list[str]:
    """The arguments of the shortest line with this command that holds these words, its capitals replaced."""
    lines = [line for line in commands() if line.split()[0] == name and all(word in line for word in holds)]
    return filled(min(lines, key=len), **words)


def filled(line: str, **words: str) -> list[str]:
    names = {"NAME": "ada", "WHY": "the test says so", **words}
    return [names.get(word, word) for word in shlex.split(line)]


def block(name: str) -> str:
    """The lines of shell that the page marks with this name."""
    (lines,) = [each["lines"] for each in _BLOCK.finditer(PAGE) if each["name"] == name]
    return lines


def blocks() -> set[str]:
    return {each["name"] for each in _BLOCK.finditer(PAGE)}


def named_tests(text: str = PAGE) -> set[tuple[str, str]]:
    return set(_TEST.findall(text))


def functions_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    return {each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}


def rows(heading: str) -> list[str]:
    """The rows of the tables below a heading."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("| ") and not line.startswith("| ---")]


def views() -> dict[str, str]:
    """The saved views of the Temporal UI, by their names."""
    section = OPERATORS.split("### Saved views")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| ([^|`]+) \| `([^`]+)` \|$", section, re.MULTILINE))
