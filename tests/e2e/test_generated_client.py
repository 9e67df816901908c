"""A partner's engineer generates a client from the OpenAPI document, and it type-checks and moves money."""

import asyncio
import json
import shutil
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import httpx
import pytest

from sandbox.demo.links import variables
from sandbox.engine import ROOT
from sandbox.world import Sandbox
from settings import surroundings

SCRIPT = ROOT / "docs" / "examples" / "borrow_and_repay.py"
PACKAGE = "loan_engine_client"
PROGRAMS = Path(sys.executable).parent
MYPY = f"""
[mypy]
strict = True
[mypy-{PACKAGE}.client]
disable_error_code = arg-type
"""
"""The generator's own frame hands on the arguments of ``__exit__`` untyped; all that comes from the document is strict."""
UGLY = ("type_0", "type_1", "response_", "body_body")
"""What the generator calls schemas that have no name of their own."""


@pytest.mark.timeout(180)
async def test_a_generated_client_type_checks_and_borrows_and_repays(sandbox: Sandbox, tmp_path: Path) -> None:
    await _generate(sandbox, tmp_path)
    names = [path.stem for path in (tmp_path / PACKAGE).rglob("*.py")]
    assert [name for name in names if any(mark in name for mark in UGLY)] == []
    script = Path(shutil.copy(SCRIPT, tmp_path))
    (tmp_path / "mypy.ini").write_text(MYPY)
    assert "no issues found" in await _run(tmp_path, "mypy", PACKAGE, script.name)
    said = await _run(tmp_path, "python", script.name, "generated-1", **variables(sandbox))
    assert "borrow:acme:loan~generated-1: borrow, settle" in said
    assert "REPAID, 1 repayment" in said


async def _generate(sandbox: Sandbox, folder: Path) -> None:
    """Without a warning: the generator understood all of the document."""
    async with httpx.AsyncClient(base_url=sandbox.engine.api_url, trust_env=False) as http:
        document = (await http.get("/openapi.json")).json()
    (folder / "openapi.json").write_text(json.dumps(document))
    generate = ("generate", "--path", "openapi.json", "--meta", "none", "--output-path", PACKAGE, "--fail-on-warning")
    await _run(folder, "openapi-python-client", *generate)


async def _run(folder: Path, program: str, *arguments: str, **told: str) -> str:
    """What the program printed; it ended well."""
    environment = {**surroundings(), "PATH": f"{PROGRAMS}:/usr/bin:/bin", **told}
    process = await asyncio.create_subprocess_exec(
        PROGRAMS / program, *arguments, cwd=folder, env=environment, stdout=PIPE, stderr=STDOUT
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    return printed.decode()
