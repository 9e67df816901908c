"""Beside the tables: what happens to a loan outside the engine, and by the clock."""

from collections.abc import Awaitable, Callable
from functools import partial

from models.messages.webhooks import Serviced
from tests.chain.world import DAY
from tests.engine import Borrower, Engine
from tests.replay.paths import time_passes
from tests.webhooks.walks.steps import lent
from tests.workflows import outside
from tests.workflows.test_audit import user_repays_all
from tests.workflows.test_installments import serviced


async def loan_repaid_by_its_user(engine: Engine) -> str:
    return await _outside(engine, partial(user_repays_all, engine))


async def loan_defaulted(engine: Engine) -> str:
    return await _outside(engine, partial(outside.default, engine))


async def loan_liquidated(engine: Engine) -> str:
    return await _outside(engine, partial(outside.liquidate, engine))


async def _outside(engine: Engine, act: Callable[[Borrower], Awaitable[None]]) -> str:
    borrower = await lent(engine)
    await act(borrower)
    await outside.followed(engine)
    return (await outside.loan_row(engine, borrower)).operation_id


async def installment_due_and_missed(engine: Engine) -> str:
    borrower = await lent(engine)
    for days, told in ((28, Serviced(loans=1, due=1)), (3, Serviced(loans=1, missed=1))):
        await time_passes(engine, days * DAY)
        assert await serviced(engine) == told
    return (await outside.loan_row(engine, borrower)).operation_id
