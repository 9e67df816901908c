"""Reads that take long: they hold up no borrow and no authentication, and end after a few seconds."""

import asyncio
from datetime import timedelta

from sqlalchemy import text

from tests.api.desk import Desk, served
from tests.api.test_requests import problem

LISTS = 15
"""More than both pools have connections."""
_LIST = "/v1/webhook-endpoints"
_HELD = text("LOCK TABLE webhook_endpoints IN ACCESS EXCLUSIVE MODE")
_WAITING = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'webhook_endpoints'::regclass")


async def _waiting(desk: Desk, number: int) -> None:
    """Returns once so many lists hang on the table's lock."""
    async with asyncio.timeout(20):
        while True:
            async with desk.transaction() as session:
                if (await session.scalar(_WAITING) or 0) >= number:
                    return


async def test_slow_reads_hold_up_neither_money_nor_authentication(working_desk: Desk) -> None:
    """While more lists hang than there are connections, a key is looked at and a borrow is decided at once."""
    desk = working_desk
    assert (await desk.grant()).status_code == 201
    settings = desk.settings.model_copy(update={"reads_timeout": timedelta(seconds=60)})
    async with served(settings) as http:
        async with desk.transaction() as holding:
            await holding.execute(_HELD)
            lists = [asyncio.create_task(http.get(_LIST, headers=desk.auth())) for _ in range(LISTS)]
            await _waiting(desk, settings.reads_pool_size)
            unknown = await http.get("/v1/me", headers=desk.auth("pk_acme_sandbox_" + "a" * 38))
            borrow = await http.post("/v1/loans", json=desk.borrow_body(), headers=desk.auth())
            assert not any(each.done() for each in lists)
        answers = await asyncio.gather(*lists)
    assert (unknown.status_code, borrow.status_code) == (401, 202)
    assert {answer.status_code for answer in answers} == {200}


async def test_a_read_that_takes_too_long_says_so(desk: Desk) -> None:
    """Whether it is the statement that takes long or the connection that is not had: 503, and logged like any call."""
    changes = {"reads_timeout": timedelta(milliseconds=300), "reads_pool_size": 1}
    async with served(desk.settings.model_copy(update=changes)) as http:
        async with desk.transaction() as holding:
            await holding.execute(_HELD)
            answers = await asyncio.gather(*(http.get(_LIST, headers=desk.auth()) for _ in range(3)))
        for answer in answers:
            problem(answer, 503, "read_too_slow")
        assert (await http.get(_LIST, headers=desk.auth())).status_code == 200
        logged = (await http.get("/v1/me/requests?status=503", headers=desk.auth())).json()["requests"]
    assert [each["code"] for each in logged] == ["read_too_slow"] * 3
