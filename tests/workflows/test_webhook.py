"""A webhook that cannot be delivered is retried, and never undoes money (money.md section 5)."""

from functools import partial

from pydantic import SecretStr
from sqlalchemy import select

from models.statuses import DeliveryState
from models.tables.operations import Event
from tests.chain.world import USD
from tests.engine import BuildEngine, Engine, until
from tests.webhooks.desk import SEALING_KEY, Desk
from tests.webhooks.receiver import receiving
from tests.workflows.moments import Row, row_of

AMOUNT = 5_000 * USD


async def test_a_webhook_that_fails_undoes_nothing(build_engine: BuildEngine) -> None:
    """The partner has its USDC and the loan is ACTIVE while its receiver fails; the event comes when it does not any more."""
    async with (
        receiving(behave=lambda number: 500 if number == 1 else 200) as receiver,
        build_engine(sealing_key=SecretStr(SEALING_KEY)) as engine,
        engine.lane(),
        engine.loans(),
    ):
        await engine.fund_float()
        await until(engine.float_is_booked)
        desk = Desk(engine.parts.database, engine.temporal, engine.settings, engine.partner.id)
        endpoint = await desk.endpoint(receiver.url)
        async with desk.delivering():
            borrower = await engine.new_borrower()
            operation_id = (await engine.active_loan(borrower, AMOUNT))["operation_id"]
            await until(partial(receiver.has, 1))
            expected = Row((AMOUNT, 0, AMOUNT, 0), AMOUNT, 0, "ACTIVE", ["loan.borrowed"])
            assert await row_of(engine, borrower, operation_id) == expected
            event = await _event_of(engine, operation_id)
            await until(partial(desk.is_in, event, endpoint, DeliveryState.DELIVERED))
            assert await row_of(engine, borrower, operation_id) == expected
        await engine.assert_sound()


async def _event_of(engine: Engine, operation_id: str) -> str:
    async with engine.transaction() as session:
        return (await session.scalars(select(Event.id).where(Event.operation_id == operation_id))).one()
