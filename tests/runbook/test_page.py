"""The runbook says something of everything that an operator may meet, and every entry names the test that tried it."""

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import operate
from models.statuses import IncidentKind
from tests.engine import Engine
from tests.runbook.entries import NOBODY, TABLES, Entry, entries, entry, untried
from tests.runbook.page import (
    OPERATORS,
    PAGE,
    ROOT,
    block,
    blocks,
    commands,
    filled,
    functions_in,
    named_tests,
    rows,
    views,
)

ASKING = ("report", "ask", "_ask")
RULES = ROOT / "ops" / "prometheus" / "alerts.yml"
REFUSALS = 2
"""Of a command, that the page explains."""


def test_every_test_that_is_named_is_there() -> None:
    """A renamed test would leave an entry that nobody tries."""
    missing = [f"{path}::{name}" for path, name in named_tests() if name not in functions_in(path)]
    assert missing == []


@pytest.mark.parametrize("of", entries(), ids=lambda of: of.title)
def test_an_entry_names_a_test_that_types_what_it_prints(of: Entry) -> None:
    """An entry that nobody carried out, or one with a command that its tests leave out, fails here."""
    assert untried(of) == set()


def test_every_alert_is_an_entry() -> None:
    """Each rule of Prometheus has one here, and nothing else has."""
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    alerts = {rule["alert"] for rule in group["rules"]}
    assert {of.title for of in entries() if of.title in alerts} == alerts
    assert len(entries()) == len(alerts) + sum(len(rows(heading)) - 1 for heading in TABLES) + REFUSALS


def test_an_entry_that_nobody_tries_is_seen() -> None:
    """One without a test, one whose test tries another entry, and one with a command that its test leaves out."""
    held = entry("SignerPaused")
    named = "`tests/runbook/test_commands.py::test_pause_and_resume`"
    assert untried(held) == set()
    assert untried(replace(held, text="`retry`")) == {NOBODY}
    assert untried(replace(entry("LegHeld"), text=named)) == {NOBODY}
    more = held.text + " `python operate.py cancel OPERATION`"
    assert untried(replace(held, text=more)) == {"cancel"}


def test_every_procedure_names_its_test() -> None:
    """Each part of the page but the first, and the alerts, whose entries each name their own."""
    parts = PAGE.split("\n## ")[1:]
    assert [part.splitlines()[0] for part in parts if not named_tests(part)] == []


def test_every_command_has_a_line_and_each_line_is_one() -> None:
    """The parser itself reads every line; nothing that it offers is left out."""
    parser = operate._parser()
    for line in commands():
        parser.parse_args(filled(line))
    offered = set(re.findall(r"[a-z-]+", re.search(r"\{(.*?)\}", parser.format_usage())[1]))  # type: ignore[index]
    assert {line.split()[0] for line in commands()} == offered


def test_every_kind_of_incident_has_an_entry() -> None:
    """One with a test, each."""
    entries = rows("Incidents")
    for kind in IncidentKind:
        assert [row for row in entries if row.startswith(f"| `{kind}`")], kind
    assert [row for row in entries[1:] if not named_tests(row)] == []


def test_every_reason_for_a_review_has_an_entry() -> None:
    """Whatever a workflow can say it waits for is found on the page by its own words."""
    entries = rows("Operations under review")
    said = [words for path in (ROOT / "workflows").glob("*.py") for words in reasons(path)]
    assert len(said) > 5
    assert [words for words in said if not any(words in row for row in entries)] == []
    assert [row for row in entries[1:] if not named_tests(row)] == []


def reasons(path: Path) -> Iterator[str]:
    """The words of each reason in this module: of what is asked or reported, or was named so just before."""
    for node in ast.walk(ast.parse(path.read_text())):
        texts: list[ast.AST] = []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ASKING:
            texts = list(node.args)
        elif isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == "why" for to in node.targets):
            texts = [node.value]
        for text in texts:
            if isinstance(text, ast.JoinedStr):
                parts = [str(part.value).strip() for part in text.values if isinstance(part, ast.Constant)]
                yield max(parts, key=len).partition(",")[0].rstrip(":")


def test_every_block_of_shell_is_tried() -> None:
    """Each marked block is used by a test of this folder."""
    sources = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [name for name in blocks() if f'"{name}"' not in sources] == []


def test_links_lead_somewhere() -> None:
    """Headings that the page itself links to, and the images of the page beside it."""
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line[3:].lower()).replace(" ", "-")
        for line in PAGE.splitlines()
        if line[:3] == "## "
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= headings
    assert [
        image for image in re.findall(r"\]\((images/[^)]+)\)", OPERATORS) if not (ROOT / "docs" / image).exists()
    ] == []


async def test_every_saved_view_is_a_query_that_temporal_answers(engine: Engine) -> None:
    """The views find what they say: of a borrow that has ended, by its loan, its line, its partner and its transaction."""
    borrower = await engine.new_borrower()
    done = await engine.active_loan(borrower)
    loan = await engine.operation_row(done["operation_id"])
    words = {"PARTNER": engine.partner.id, "LINE": str(borrower.line.credit_line_id), "LOAN": loan.loan_id or ""}
    found = {name: await engine.temporal.count_workflows(of(query, words)) for name, query in views().items()}
    assert len(found) > 8
    assert (found["of a loan"].count, found["of a credit line"].count) == (1, 1)
    assert found["waits for a person"].count == 0


def of(query: str, words: dict[str, str]) -> str:
    for name, value in words.items():
        query = query.replace(f'"{name}"', f'"{value}"')
    return query


def test_the_page_reads_as_one_block() -> None:
    """A marker without its block would be passed over."""
    assert PAGE.count("<!-- tried: ") == len(blocks())
    assert all(block(name).strip() for name in blocks())
