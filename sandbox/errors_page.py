"""`python -m sandbox.errors_page` writes docs/errors.md from the problems' own classes; `--check` says whether it is up to date.

Each section's anchor is its code, so a deployment that publishes the page can have the problems' types lead there.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from api.app import create_app
from api.docs import ENDINGS, Kind, kinds_by_code, sample
from api.problems import PROBLEM_JSON
from sandbox.engine import ROOT
from settings import Settings

PAGE = ROOT / "docs" / "errors.md"
BASE = str(Settings.model_fields["problem_base"].default)
STALE = 1
MANY = 8

_HEAD = f"""# Errors

<!-- Written by `python -m sandbox.errors_page` from the code. Do not edit it by hand. -->

Every error is an [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problem, `application/problem+json`:

```json
{{example}}
```

Match on `code`, which never changes; `detail` is for people, and names what to do. `figures` holds the numbers of the sentence,
amounts in base units. `errors` says which part of the request is not valid. Tell the operator the `trace_id` when you ask for help.

`type` is a base and the code. The base is `{BASE}` unless the operator sets `ENGINE_PROBLEM_BASE`. Publish this page and set
the base to its address with a `#` at the end, and each type leads to its section here.

| status | what to do |
|---|---|
| 400, 404, 405, 413, 415 | Correct the request. Sent again as it is, it fails again. |
| 401, 403 | See to the key, its scopes or the partner. Then the same request works. |
| 409 | Something else stands in the way, and the sentence says what. Look at it before you send anything again. |
| 422 | Refused: by the request's form (`invalid_request`, with `errors`), or by a rule, whose remaining figure is in `figures`. A borrow that was refused may be tried again under its `partner_loan_id` with a new `Idempotency-Key`. |
| 429 | Wait for as many seconds as `Retry-After` says. |
| 500 | A bug of ours. The same request with the same `Idempotency-Key` is safe. |
| 503 | Something is away. Send the same request with the same `Idempotency-Key` again after `Retry-After` seconds. |
| no answer | You cannot know whether the request arrived. Send it again, unchanged, with the same `Idempotency-Key`: it moves money once. |
"""


def page() -> str:
    """The whole page."""
    kinds = kinds_by_code()
    answered = _answered()
    example = sample(kinds["daily_limit_exceeded"], BASE).model_dump_json(exclude_none=True, indent=2)
    parts = [_HEAD.replace("{example}", example)]
    for status in sorted({kind.status for kind in kinds.values()}):
        parts.append(f"\n## {status} {HTTPStatus(status).phrase}\n")
        parts += [_section(kind, answered[kind.code]) for kind in kinds.values() if kind.status == status]
    return "".join(parts)


def _section(kind: Kind, places: Mapping[int, Sequence[str]]) -> str:
    shown = sample(kind, BASE)
    lines = [f"\n### {kind.code}\n", f"**{kind.title}.** {shown.detail}\n"]
    if shown.figures:
        lines.append("Figures: " + ", ".join(f"`{name}`" for name in shown.figures) + ".\n")
    lines.append(_where(kind, places) + "\n")
    return "\n".join(lines)


def _where(kind: Kind, places: Mapping[int, Sequence[str]]) -> str:
    """Who answers it; and where the thing asked for is itself what is missing, with another status."""
    if kind in ENDINGS:
        return "Seen in the `problem` of an operation that was accepted."
    if not places:
        return "Answered whatever the route."
    own = _named(places.get(kind.status, ()))
    others = [f"with status {status} by {_named(names)}" for status, names in places.items() if status != kind.status]
    return "Answered " + "; ".join([f"by {own}"] * bool(own) + others) + "."


def _named(operations: Sequence[str]) -> str:
    if len(operations) > MANY:
        return "many operations"
    return ", ".join(f"`{name}`" for name in operations)


def _answered() -> dict[str, dict[int, list[str]]]:
    """By code and status, the operations that declare it."""
    found: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for operation in _operations():
        for status, response in operation["responses"].items():
            for code in response.get("content", {}).get(PROBLEM_JSON, {"examples": {}})["examples"]:
                found[code][int(status)].append(operation["operationId"])
    return found


def _operations() -> Iterator[dict[str, Any]]:
    for route in create_app(_anywhere()).openapi()["paths"].values():
        yield from route.values()


def _anywhere() -> Settings:
    """Nothing is connected to: the document of any deployment names the same problems."""
    return Settings.model_validate(
        {
            **dict.fromkeys(("database_url", "rpc_url"), "http://nowhere"),
            **dict.fromkeys(
                ("usdc_address", "oaid_address", "vault_address", "pool_address", "platform_wallet"), "0x" + "11" * 20
            ),
            "chain_id": 1,
            "confirmations": 1,
        }
    )


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m sandbox.errors_page", description="Writes docs/errors.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 where it is not up to date")
    if not parser.parse_args(arguments).check:
        PAGE.write_text(page())
    elif PAGE.read_text() != page():
        sys.stderr.write("docs/errors.md is not up to date: run `python -m sandbox.errors_page`\n")
        return STALE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
