"""`python -m sandbox.metrics_page` writes docs/metrics.md from the catalogue; `--check` says whether it is up to date."""

import argparse
import sys
from collections.abc import Sequence

from metrics.catalogue import CATALOGUE, Family, Kind, Teller
from sandbox.engine import ROOT

PAGE = ROOT / "docs" / "metrics.md"
STALE = 1

_HEAD = """# Metrics

<!-- Written by `python -m sandbox.metrics_page` from the code. Do not edit it by hand. -->

Each process serves `/metrics` on `ENGINE_METRICS_PORT` of `ENGINE_METRICS_HOST`, and what the Temporal SDK tells of itself on
`ENGINE_TEMPORAL_METRICS_PORT`; neither where it is not set. The standard metrics of a Python process (`process_…`, `python_…`) are
there as well. [ADR 0027](adr/0027-figures-from-rows.md) says where the figures come from, `ops/prometheus` what is alerted on, and
`ops/grafana` holds the dashboards.

What is read from rows is read by one worker every `ENGINE_METRICS_EVERY`. While two change over, both may tell it: aggregate by `max`.
What cannot be known is absent. Amounts are USDC base units, and exact up to nine billion USDC.
"""


def page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for teller in Teller:
        told = [family for family in CATALOGUE if family.teller is teller]
        parts.append(f"\n## Told by {teller}\n\n| metric | labels | unit | meaning |\n|---|---|---|---|\n")
        parts += [_row(family) for family in told]
    return "".join(parts)


def _row(family: Family) -> str:
    labels = ", ".join(f"`{label}`" for label in family.labels) or "none"
    unit = family.unit if family.kind is Kind.GAUGE else f"{family.kind} of {family.unit}"
    return f"| `{family.name}` | {labels} | {unit} | {family.meaning} |\n"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m sandbox.metrics_page", description="Writes docs/metrics.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 where it is not up to date")
    if not parser.parse_args(arguments).check:
        PAGE.write_text(page())
    elif PAGE.read_text() != page():
        sys.stderr.write("docs/metrics.md is not up to date: run `python -m sandbox.metrics_page`\n")
        return STALE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
