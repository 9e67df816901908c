"""`python -m sandbox.events_page` writes docs/events.md from the events' own models; `--check` says whether it is up to date."""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from models.events.catalog import CATALOG, Envelope
from models.events.payloads import EventData
from models.statuses import TERMINAL_EVENTS, EventType
from sandbox.engine import ROOT

PAGE = ROOT / "docs" / "events.md"
STALE = 1

_HEAD = """# Events

<!-- Written by `python -m sandbox.events_page` from the code. Do not edit it by hand. -->

An event is written in the transaction that changes what it tells of. It is sent to your [webhook endpoints](webhooks.md) and can be
read at `GET /v1/events`, which is the same events in the same order, from any moment on.

Amounts are strings of USDC base units, times RFC 3339 in UTC. `data` is the whole state at that moment, so that nothing else need be
asked. Fields are only ever added; a change that could break a receiver is a new `version`. Ignore fields that you do not know.
"""


def page() -> str:
    return "\n".join([_HEAD, *_table(), "", *_envelope(), *_kinds(), *_models()]).rstrip() + "\n"


def _table() -> Iterator[str]:
    yield "| type | when | ends its operation |"
    yield "|---|---|---|"
    for kind, told in CATALOG.items():
        yield f"| [`{kind}`](#{_anchor(kind)}) | {told.when} | {'yes' if kind in TERMINAL_EVENTS else 'no'} |"


def _envelope() -> Iterator[str]:
    yield "## What every event has\n"
    yield from _fields(Envelope.model_json_schema())
    yield ""


def _kinds() -> Iterator[str]:
    for kind, told in CATALOG.items():
        example = told.envelope(kind).model_dump(mode="json")
        yield f"## {kind}\n"
        yield f"{told.when} `data` is [{told.model.__name__}](#{told.model.__name__.lower()}), version {told.model.version}.\n"
        yield f"```json\n{json.dumps(example, indent=2)}\n```\n"


def _models() -> Iterator[str]:
    models: Sequence[type[EventData]] = list(dict.fromkeys(told.model for told in CATALOG.values()))
    for model in models:
        yield f"## {model.__name__}\n"
        yield f"{(model.__doc__ or '').strip()}\n"
        yield from _fields(model.model_json_schema())
        yield ""


def _fields(schema: Mapping[str, Any]) -> Iterator[str]:
    yield "| field | form | |"
    yield "|---|---|---|"
    for name, field in schema["properties"].items():
        yield f"| `{name}` | {_form(field)} | {field.get('description', '')} |"


def _form(field: Mapping[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_form(each) for each in field["anyOf"])
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    if "pattern" in field:
        return "amount"
    return str(field.get("format", field.get("type", "")))


def _anchor(kind: EventType) -> str:
    return kind.replace(".", "")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m sandbox.events_page", description="Writes docs/events.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 where it is not up to date")
    if not parser.parse_args(arguments).check:
        PAGE.write_text(page())
    elif not PAGE.exists() or PAGE.read_text() != page():
        sys.stderr.write("docs/events.md is not up to date: run `python -m sandbox.events_page`\n")
        return STALE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
