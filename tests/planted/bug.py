"""A bug as data: one exact replacement in one file, and the test that must notice it."""

from dataclasses import dataclass
from pathlib import Path


class EditDoesNotApply(Exception):
    """The text to replace is not in its file exactly once: the code has moved on, and the bug must follow it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """``breaks`` is the promise that the bug breaks, in the words of money.md; ``test`` is a pytest node id."""

    name: str
    breaks: str
    file: str
    old: str
    new: str
    test: str

    def planted(self, root: Path) -> str:
        """The text of the file with the bug in it. Raises EditDoesNotApply."""
        text = (root / self.file).read_text()
        found = text.count(self.old)
        if found != 1:
            raise EditDoesNotApply(f"{self.name}: the text to replace is {found} times in {self.file}")
        return text.replace(self.old, self.new)
