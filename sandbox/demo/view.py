"""What a person sees of the demo: steps that appear, run and end, in a terminal that is redrawn or in plain lines.

Only the section at work is redrawn. One that has ended stands above it as it was, so that a small window shows all.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

PLAIN_WIDTH = 160
REDRAWS_A_SECOND = 12
TITLE_WIDTH = 38
WIDE = 130


@dataclass
class Step:
    """`note` says what came of it, `tx_hash` where it can be seen on the chain. `took` replaces our own clock's word."""

    title: str
    note: str = ""
    tx_hash: str = ""
    took: timedelta | None = None
    failed: bool = False
    begun: datetime = field(default_factory=lambda: datetime.now(UTC))
    ended: datetime | None = None

    @property
    def duration(self) -> str:
        passed = self.took or (self.ended or datetime.now(UTC)) - self.begun
        milliseconds = passed // timedelta(milliseconds=1)
        return f"{milliseconds} ms" if passed < timedelta(seconds=1) else f"{passed.total_seconds():.1f} s"

    def end(self, *, failed: bool = False) -> None:
        self.ended, self.failed = datetime.now(UTC), failed


@dataclass
class Section:
    title: str
    steps: list[Step] = field(default_factory=list)
    spinner: Spinner = field(default_factory=lambda: Spinner("dots", style="cyan"))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table.grid(padding=(0, 1))
        table.add_column(width=1)
        table.add_column(width=TITLE_WIDTH, no_wrap=True)
        table.add_column(justify="right", width=7)
        table.add_column(ratio=1, overflow="fold")
        for step in self.steps:
            outcome = _outcome(step, whole=options.max_width >= WIDE)
            table.add_row(self._mark(step), step.title, Text(step.duration, style="dim"), outcome)
        yield Text(f"\n{self.title}", style="bold")
        yield table

    def _mark(self, step: Step) -> RenderableType:
        if step.ended is None:
            return self.spinner
        return Text("✗", style="bold red") if step.failed else Text("✓", style="green")


def _outcome(step: Step, *, whole: bool = True) -> Text:
    """What came of a step; of a hash only its ends, where the whole does not fit into a line."""
    parts = [Text(step.note)] if step.note else []
    if step.tx_hash:
        shown = step.tx_hash if whole else f"{step.tx_hash[:12]}…{step.tx_hash[-6:]}"
        parts.append(Text(shown, style="cyan"))
    return Text("  ").join(parts)


class View:
    """Plain lines; LiveView draws the same."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._section: Section | None = None

    @contextmanager
    def section(self, title: str) -> Iterator[None]:
        self._section = Section(title)
        self.console.print(f"\n{title}", markup=False, highlight=False)
        yield

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        step = self.begin(title)
        try:
            yield step
        except BaseException:
            self.end(step, failed=True)
            raise
        self.end(step, failed=step.failed)

    @contextmanager
    def doing(self, title: str) -> Iterator[Step]:
        """A step that may take long, so that plain lines say when it begins, too."""
        self.announce(title)
        with self.step(title) as step:
            yield step

    def begin(self, title: str) -> Step:
        step = Step(title)
        if self._section is not None:
            self._section.steps.append(step)
        return step

    def end(self, step: Step, *, failed: bool = False) -> None:
        if step.ended is None:
            step.end(failed=failed)
            self.has_ended(step)

    def announce(self, title: str) -> None:
        self.write(f"  … {title}")

    def has_ended(self, step: Step) -> None:
        mark = "✗" if step.failed else "✓"
        self.write(f"  {mark} {step.title:<{TITLE_WIDTH}} {step.duration:>7}  {_outcome(step)}".rstrip())

    def show(self, what: RenderableType) -> None:
        self.console.print(what)

    def write(self, text: str) -> None:
        """A line as it is, however wide the terminal: for what is to be copied."""
        self.console.print(text, soft_wrap=True, markup=False, highlight=False)


class LiveView(View):
    @contextmanager
    def section(self, title: str) -> Iterator[None]:
        self._section = Section(title)
        with Live(self._section, console=self.console, refresh_per_second=REDRAWS_A_SECOND):
            yield

    def announce(self, title: str) -> None:
        """The redraw shows it."""

    def has_ended(self, step: Step) -> None:
        """The redraw shows it."""


def view() -> View:
    """Drawn where standard output is a terminal, plain lines elsewhere."""
    console = Console()
    return (
        LiveView(console) if console.is_terminal and not console.is_dumb_terminal else View(Console(width=PLAIN_WIDTH))
    )
