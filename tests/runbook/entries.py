"""The runbook's entries, each with the commands that it prints: a test that tries one types these, and no others.

An entry is a row of a table, or an alert. ``trying`` names the entries that a test carries out; ``untried`` reads in the source
of the tests that an entry names which of its commands none of them types.
"""

import ast
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import httpx

from tests.engine import Engine
from tests.operating import Say
from tests.runbook import shell
from tests.runbook.page import PAGE, ROOT, named_tests, rows, typed

OPERATING = ("retry", "cancel", "resolve-hold", "pause-signer", "resume-signer", "close-incident")
SEEN_BY = "review"
"""Shows every one of them; the page says so once for a whole table."""
NOBODY = "no test that tries it"
_PROGRAMS = ("python ", "temporal ", "pg_isready", "curl ", "GET ", "POST ", "PATCH ")
TABLES = ("Operations under review", "Incidents")
_QUOTED = re.compile(r"`([^`]+)`")
_ALERT = re.compile(r"^### (\w+)\n(.*?)(?=^#|\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Entry:
    """``title`` is a row's first cell, or an alert's name."""

    title: str
    text: str

    @property
    def commands(self) -> AbstractSet[str]:
        """Those that it prints: of ``operate.py`` the command's name and how it resolves, whole lines of other programs."""
        return {command for words in _QUOTED.findall(self.text) if (command := _command(words)) is not None}


def _command(words: str) -> str | None:
    line = words.removeprefix("python operate.py ")
    name = line.split()[0]
    if name in OPERATING or name == SEEN_BY:
        return " ".join([name, *re.findall(r"--(?:resolution \w+|evidence)", line)])
    return words if words.startswith(_PROGRAMS) and "…" not in words else None


@cache
def entries() -> tuple[Entry, ...]:
    of_tables = [Entry(row.split("|")[1].strip(), row) for table in TABLES for row in rows(table)[1:]]
    _, _, alerts = PAGE.partition("\n## Alerts\n")
    _, _, refusals = PAGE.partition("\n| it says |")
    of_tables += [Entry(row.split("|")[1].strip(), row) for row in refusals.split("\n\n")[0].splitlines()[2:]]
    return (*of_tables, *(Entry(name, text) for name, text in _ALERT.findall(alerts)))


def entry(title: str) -> Entry:
    """The one whose title is this; else the only one whose title has these words."""
    (found,) = _meant(title)
    return found


def _meant(title: str) -> list[Entry]:
    whole = [each for each in entries() if each.title == title]
    return whole or [each for each in entries() if title in each.title]


@dataclass(frozen=True)
class Tried:
    """What a test does of some entries; anything that they do not print is refused."""

    entries: tuple[Entry, ...]

    def printed(self, command: str) -> str:
        assert command == SEEN_BY or any(command in each.commands for each in self.entries), command
        return command

    async def types(self, say: Say, engine: Engine, command: str, **words: str) -> tuple[int, str]:
        """A command of ``operate.py``, with what it needs as the table of commands has it."""
        name, *holds = self.printed(command).split(" ", 1)
        return await say(engine, *typed(name, *holds, **words))

    async def runs(self, line: str, variables: Mapping[str, str], **words: str) -> tuple[int | None, str]:
        """A line of another program, in a shell; what it said in one string."""
        return await shell.run_line(_filled(self.printed(line), words), variables)

    @asynccontextmanager
    async def starts(self, line: str, variables: Mapping[str, str]) -> AsyncIterator[None]:
        """A process of the engine, by its line, until the block ends."""
        async with shell.started(self.printed(line), variables):
            yield

    async def asks(
        self, api: httpx.AsyncClient, line: str, headers: Mapping[str, str], body: object = None, **words: str
    ) -> httpx.Response:
        """A request that an entry prints as its method and path."""
        method, path = _filled(self.printed(line), words).split()
        content = None if body is None else json.dumps(body)
        return await api.request(method, path, headers={**headers, "Content-Type": "application/json"}, content=content)


def _filled(line: str, words: Mapping[str, str]) -> str:
    for name, value in words.items():
        line = re.sub(rf"\b{name}\b", value, line)
    return line


def trying(*titles: str) -> Tried:
    return Tried(tuple(entry(title) for title in titles))


def untried(of: Entry) -> AbstractSet[str]:
    """Which of its commands no test types that it names and that says to try it; ``NOBODY``, where there is no such test."""
    functions = [each for path, name in named_tests(of.text) for each in _functions(path, name)]
    typed_by = [_strings(each) for each in functions if any(_is_of(of, title) for title in _titles(each))]
    return of.commands - set().union(*typed_by) if typed_by else {NOBODY}


def _is_of(of: Entry, title: str) -> bool:
    return any(each.title == of.title for each in _meant(title))


@cache
def _tree(path: str) -> ast.Module:
    return ast.parse(Path(ROOT / path).read_text())


def _functions(path: str, name: str) -> Iterator[ast.AST]:
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            yield node


def _titles(function: ast.AST) -> AbstractSet[str]:
    """What it says to try."""
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    return {title for call in calls if _name(call) == trying.__name__ for title in _strings(call)}


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _strings(function: ast.AST) -> AbstractSet[str]:
    constants = [node.value for node in ast.walk(function) if isinstance(node, ast.Constant)]
    return {value for value in constants if isinstance(value, str)}
