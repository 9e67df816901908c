"""What a fault campaign is: parts that run by themselves, and what each of them found.

A campaign proves one line of proof.md. It is cut into parts, because the whole takes hours: a part is what runs, what is
written down (results.py) and what is not run again while the code that moves money is what it was.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

from tests.faults.grounds import Grounds

__all__ = ["Campaign", "Grounds", "Part", "Report"]


@dataclass(frozen=True, slots=True)
class Part:
    """The unit that runs, is recorded, and is resumed. The same seed plans the same faults."""

    campaign: str
    name: str
    seed: int


@dataclass
class Report:
    """What one part did. ``injections`` are faults that hit a concurrent operation or leg, counted as proof.md says.

    ``faults`` counts them by kind, ``operations`` those that were under way in all, and a breach is a sentence that says
    which promise was broken for whom. ``notes`` are figures for a reader, such as the longest recovery.
    """

    injections: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    operations: int = 0
    breaches: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Campaign(Protocol):
    """One line of proof.md, with its ``figure`` in words and the ``unit`` that is counted towards it."""

    name: str
    title: str
    figure: str
    unit: str

    def parts(self, *, full: bool) -> list[Part]:
        """All that the figure of proof.md needs, or the seeded slice that takes less than a minute."""
        ...

    async def run(self, part: Part, grounds: Grounds) -> Report:
        """Breaks the engine as the part's seed says. What is raised, or takes too long, is a breach as well."""
        ...
