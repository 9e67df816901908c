"""Compile the contracts, and keep what is committed equal to its source.

`python contracts/build.py` writes an artifact for each contract and the interface that the engine may rely on, as
`chain/abi/*.json`. With `--check` it writes nothing and exits 1, naming each file that differs from what the source
gives. The settings leave nothing to the machine: the same source gives the same bytes everywhere.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # run as a script, only this directory is
    sys.path.insert(0, str(ROOT))

from contracts.interface import INTERFACE, design_abi  # noqa: E402  (needs the path above)
from contracts.node import run_node  # noqa: E402  (needs the path above)

CONTRACTS = ROOT / "contracts"
SOURCES = CONTRACTS / "src"
ARTIFACTS = CONTRACTS / "artifacts"
DESIGN_ABI = ROOT / "chain" / "abi"
DEPLOYED = ("USDC", "CollateralToken", "OAID", "SeniorPool", "SolvencyVault", "CustodialVault")

SETTINGS = {
    "optimizer": {"enabled": True, "runs": 200},
    "evmVersion": "shanghai",
    "metadata": {"bytecodeHash": "none", "appendCBOR": False},
    "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object", "metadata"]}},
}


class CompilationError(Exception):
    """The compiler refused the source; its own words are the message."""


def compile_sources() -> dict[str, Any]:
    """The compiler's output for each contract of ours, by name."""
    sources = {f"src/{path.name}": {"content": path.read_text()} for path in sorted(SOURCES.glob("*.sol"))}
    request = {"language": "Solidity", "sources": sources, "settings": SETTINGS}
    output = json.loads(run_node(CONTRACTS / "compile.cjs", json.dumps(request)))
    problems = [problem["formattedMessage"] for problem in output.get("errors", [])]
    if problems:
        raise CompilationError("\n".join(problems))
    return {name: output["contracts"][f"src/{name}.sol"][name] for name in DEPLOYED}


def artifact(name: str, compiled: dict[str, Any]) -> dict[str, Any]:
    """What is committed for a contract. The metadata covers its compiler, settings and every source it imports."""
    return {
        "contract": name,
        "sourceHash": hashlib.sha256(compiled["metadata"].encode()).hexdigest(),
        "abi": compiled["abi"],
        "bytecode": "0x" + compiled["evm"]["bytecode"]["object"],
    }


def expected_files() -> dict[Path, str]:
    """The content that the source gives, for each committed file."""
    compiled = compile_sources()
    files = {ARTIFACTS / f"{name}.json": _render(artifact(name, output)) for name, output in compiled.items()}
    for file_name, (contract, interface) in INTERFACE.items():
        abi = design_abi(compiled[contract]["abi"], interface)
        files[DESIGN_ABI / f"{file_name}.json"] = _render(abi)
    return files


def stale_files(expected: dict[Path, str]) -> list[Path]:
    """Committed files that are not as expected, left-over ones included."""
    left_over = {*ARTIFACTS.glob("*.json"), *DESIGN_ABI.glob("*.json")} - expected.keys()
    differing = [path for path, text in expected.items() if not path.is_file() or path.read_text() != text]
    return sorted({*left_over, *differing})


def write_files() -> None:
    for path, text in expected_files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def _render(content: object) -> str:
    return json.dumps(content, indent=1) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="Compile the contracts.")
    parser.add_argument("--check", action="store_true", help="only compare, and exit 1 where a file differs")
    if not parser.parse_args().check:
        write_files()
        return 0
    stale = stale_files(expected_files())
    for path in stale:
        print(f"{path.relative_to(ROOT)} differs from its source: run python contracts/build.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
