"""Where installed packages keep the programs they bring.

The packages are found, not imported: importing these has effects of its own, such as lock files and warnings.
"""

import importlib.util
import sysconfig
from pathlib import Path


class ProgramMissingError(Exception):
    def __init__(self, package: str, pattern: str) -> None:
        super().__init__(f"package {package} is not installed, or has no {pattern} for this platform")


def packaged_program(module: str, pattern: str) -> Path:
    """The file that matches the pattern in this module's folder."""
    spec = importlib.util.find_spec(module)
    if spec is not None and spec.origin is not None:
        for program in sorted(Path(spec.origin).parent.glob(pattern)):
            return program
    raise ProgramMissingError(module, pattern)


def script(name: str) -> Path:
    """A program in the scripts folder of this Python environment."""
    return Path(sysconfig.get_path("scripts")) / name
