"""What must never be, as errors: each is a bug or a tampered row, so nothing is moved and a person is told.

::

    InvariantBroken
    ├── LegMisplanned        a leg's name, call and charged account do not fit together
    ├── GenerationTooEarly   the generation before it may still have its effect
    ├── LegExcluded          another leg of the operation is alive or done that rules this one out
    ├── Overcharged          the legs of an operation would take more from an account than went into it
    ├── IllegalTransition    a row was not in a state from which it may go where it should
    └── LegUnknown           there is no such leg
"""

from models.errors import InvariantBroken
from models.money import format_usdc


class LegMisplanned(InvariantBroken):
    pass


class GenerationTooEarly(InvariantBroken):
    def __init__(self, operation_id: str, leg: str, generation: int, found: str) -> None:
        super().__init__(
            f"{operation_id}/{leg}: generation {generation} may not exist, since generation {generation - 1} is {found}"
        )


class LegExcluded(InvariantBroken):
    def __init__(self, operation_id: str, leg: str, generation: int) -> None:
        super().__init__(
            f"{operation_id}/{leg}/{generation}: another generation of it, or the leg that rules it out, is alive or done"
        )


class Overcharged(InvariantBroken):
    def __init__(self, operation_id: str, leg: str, account: str, wanted: int, left: int) -> None:
        super().__init__(
            f"{operation_id}/{leg} would take {format_usdc(wanted)} USDC from {account}, which has {format_usdc(left)} left"
        )


class IllegalTransition(InvariantBroken):
    def __init__(self, target: str, expected: int, moved: int) -> None:
        super().__init__(f"of {expected} transactions only {moved} could become {target}")


class LegUnknown(InvariantBroken):
    def __init__(self, operation_id: str, leg: str, generation: int) -> None:
        super().__init__(f"there is no transaction {operation_id}/{leg}/{generation}")
