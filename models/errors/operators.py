"""What an operator asked for and the rows or the chain do not allow."""

from models.errors.tree import Conflict


class HoldNotResolvable(Conflict):
    code = "hold_not_resolvable"
    title = "The leg cannot leave HELD like this"

    def __init__(self, why: str) -> None:
        super().__init__(f"{why} Nothing was changed.")
