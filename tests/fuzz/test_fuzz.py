"""The bounded slice of ``make api-fuzz``: few cases for each operation, the same ones every time."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.fuzz.fuzzing import ALL_PHASES, Found, passes, run
from tests.fuzz.ground import Ground, fuzzing_ground

EXAMPLES = 3
WITHOUT_COVERAGE = ALL_PHASES - {"coverage"}
"""Its thousands of cases are left to the long run for all but the partner."""


@pytest.fixture(scope="module")
async def ground(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ground]:
    async with fuzzing_ground(tmp_path_factory.mktemp("fuzz")) as opened:
        yield opened


@pytest.mark.timeout(300)
async def test_whatever_the_document_allows_or_forbids_is_answered_as_the_document_says(ground: Ground) -> None:
    """As a partner, as an administrator and as nobody: no failure of ours, and no answer that is not declared."""
    by_pass: dict[str, Found] = {}
    for one in passes(ground.partner_key, ground.admin_key):
        asked = one if one.name == "partner" else replace(one, phases=one.phases & WITHOUT_COVERAGE)
        by_pass[one.name] = await asyncio.to_thread(run, ground.url, asked, ground.world, EXAMPLES)
    said = [line for name, found in by_pass.items() for line in (name, *found.lines())]
    assert not any(found.failures for found in by_pass.values()), "\n".join(said)
    assert set(by_pass["partner"].cases) >= ALL_PHASES
    assert by_pass["partner"].answers[202] > 0, "no borrow got through to a decision"
    assert set(by_pass["nobody"].answers) <= {200, 400, 401, 404, 405, 415, 422}
