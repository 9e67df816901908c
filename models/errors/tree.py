"""Why a request is not carried out, in words that a partner's engineer can act on.

::

    EngineError
    ├── Refused                     a business rule says no; nothing was moved and nothing is reserved
    │   ├── NotAllowed (403)        who asks may not: suspended, revoked, out of scope
    │   ├── NotFound (404)          the thing is not there, or is another partner's
    │   ├── Conflict (409)          something that exists stands against it
    │   ├── RuleBroken (422)        a limit or a rule of the credit line, the chain or the partner
    │   ├── AdministrationRefused   what an administrator asked for cannot be had; each leaf has its own status
    │   └── OrderRefused (409)      an operator's order does not fit the rows or the chain; no partner ever sees one
    └── InvariantBroken             a bug or a tampered row: never swallowed, the workflow retries and an operator is told

Each leaf below ``Refused`` has a ``code``, which is the last part of its problem ``type`` and the ``type`` of the
``ApplicationError`` it travels in, a ``title``, and a constructor that builds its own sentence and figures. The figures are
strings, amounts in base units.
"""

from collections.abc import Iterable
from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class RefusalPayload(BaseModel):
    """A refusal as it is stored, sent through Temporal and shown to the partner as an RFC 9457 problem."""

    model_config = ConfigDict(frozen=True)

    code: str
    status: int
    title: str
    detail: str
    figures: dict[str, str] = {}


class EngineError(Exception):
    """The root of everything that the engine itself raises."""


class InvariantBroken(EngineError):
    """Something that cannot be, was found. It is retried, since only a person can mend it."""


class Refused(EngineError):
    code: ClassVar[str]
    title: ClassVar[str]
    status: ClassVar[int]

    def __init__(self, detail: str, **figures: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.figures = {name: str(value) for name, value in figures.items()}

    def payload(self) -> RefusalPayload:
        return RefusalPayload(
            code=self.code, status=self.status, title=self.title, detail=self.detail, figures=self.figures
        )


class NotAllowed(Refused):
    status = 403


class NotFound(Refused):
    status = 404


class Conflict(Refused):
    status = 409


class RuleBroken(Refused):
    status = 422


class OrderRefused(Refused):
    status = 409


def raise_first(refusals: Iterable[Refused]) -> None:
    """Raises the first of them, if there is one. The others are not even looked for where the refusals are a generator."""
    for refusal in refusals:
        raise refusal


def every_refusal() -> list[type[Refused]]:
    """All leaves that a partner may meet, sorted by code: the source of the OpenAPI document and of the docs' errors table."""
    found: list[type[Refused]] = []
    waiting: list[type[Refused]] = [Refused]
    while waiting:
        kind = waiting.pop()
        if kind is OrderRefused:
            continue
        waiting.extend(kind.__subclasses__())
        if "code" in vars(kind):
            found.append(kind)
    return sorted(found, key=lambda kind: kind.code)
