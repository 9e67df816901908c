"""The same key with another body, while the first request's workflow runs and after it has closed.

The same body a thousand times at once is a campaign: tests/faults/campaigns/at_once.py.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import pytest_asyncio

from sandbox.engine import API, WORKER
from tests.chain.world import USD
from tests.engine import until
from tests.faults.asking import Request
from tests.faults.processes import Running, Site, open_running, start_and_fund

AMOUNT = 1_000 * USD


@pytest_asyncio.fixture(scope="module")
async def running(site: Site) -> AsyncIterator[Running]:
    async with open_running(site) as running:
        await start_and_fund(running, API, WORKER)
        yield running


async def ask(running: Running, request: Request) -> httpx.Response:
    return await running.engine.api.post(request.path, json=request.body, headers=request.headers)


@pytest.mark.parametrize("changed", [{"amount": str(2 * AMOUNT)}, {"metadata": {"channel": "mobile"}}])
async def test_same_key_with_another_body(running: Running, changed: dict[str, Any]) -> None:
    """The same key with another body is a conflict that names the field, while the workflow runs and after it has closed."""
    engine = running.engine
    request = Request.borrow(engine.partner, await engine.new_borrower(), AMOUNT)
    other = replace(request, body={**request.body, **changed})
    (field,) = changed
    async with running.mining_by_hand():
        answer = await ask(running, request)
        conflicts(await ask(running, other), field)
    await engine.finished(answer)
    await until(lambda: is_closed(running, request.operation_id))
    conflicts(await ask(running, other), field)
    again = await ask(running, request)
    assert (again.status_code, again.content) == (answer.status_code, answer.content)
    await engine.assert_sound()


def conflicts(answer: httpx.Response, field: str) -> None:
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (409, "idempotency_key_reused"), problem
    assert problem["figures"] == {"fields": field}
    assert f"other values of: {field}." in problem["detail"]


async def is_closed(running: Running, workflow_id: str) -> bool:
    return (await running.engine.temporal.get_workflow_handle(workflow_id).describe()).close_time is not None
