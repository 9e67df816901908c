"""What an audit says: for each invariant the figures that it compared, and each breach with the rows at fault."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from models.statuses import IncidentKind


@dataclass(frozen=True, slots=True)
class Figure:
    """Two numbers that should be equal, in base units of USDC or as counts; ``what`` says of what."""

    what: str
    expected: int
    found: int


@dataclass(frozen=True, slots=True)
class Breach:
    """Something that an invariant of money.md section 8 forbids. ``subject`` is the same as long as it is the same breach.

    ``pauses_signer``: USDC went out that nothing explains, or there is less of it than the ledger says.
    """

    invariant: int
    subject: str
    detail: str
    rows: tuple[str, ...] = ()
    kind: IncidentKind = IncidentKind.INVARIANT_BROKEN
    pauses_signer: bool = False

    def __str__(self) -> str:
        return f"invariant {self.invariant}: {self.detail}"


@dataclass
class Finding:
    """What was found about one invariant."""

    invariant: int
    title: str
    figures: list[Figure] = field(default_factory=list)
    breaches: list[Breach] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What could not be decided yet, and why."""

    def compare(self, what: str, expected: int, found: int) -> None:
        self.figures.append(Figure(what, expected, found))

    def broken(self, subject: str, detail: str, *rows: str, pauses_signer: bool = False) -> None:
        self.breaches.append(Breach(self.invariant, subject, detail, rows, pauses_signer=pauses_signer))


@dataclass(frozen=True, slots=True)
class AuditReport:
    """All findings in the order of their invariants, as of one block.

    ``surplus`` is what the wallet holds above the ledger's cash, and ``surplus_booked`` what of earlier ones was booked.
    """

    block: int
    findings: Sequence[Finding]
    surplus: int
    surplus_booked: int

    @property
    def breaches(self) -> list[Breach]:
        return [breach for finding in self.findings for breach in finding.breaches]
