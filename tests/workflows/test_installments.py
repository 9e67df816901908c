"""Partners are told of each installment once when it comes near and once when it was missed, by the chain's own plan."""

import pytest
from sqlalchemy import select, update

from activities.installments import next_look, standing
from chain.contracts.solvency_vault import RepaymentPlan
from models.messages.webhooks import Serviced
from models.statuses import EventType
from models.tables.loans import Loan
from models.tables.operations import Event
from tests.chain.world import DAY, USD
from tests.engine import Engine
from tests.replay.paths import time_passes
from workflows.options import LOANS_QUEUE
from workflows.service_loans import ServiceLoansWorkflow

DUE, MISSED = EventType.LOAN_INSTALLMENT_DUE, EventType.LOAN_INSTALLMENT_MISSED
NOTICE = 3 * DAY
PLAN = RepaymentPlan(
    loan_duration=90 * DAY,
    number_of_installments=3,
    installment_interval=30 * DAY,
    next_payment_due=30 * DAY,
    installments_paid=0,
    missed_payments=0,
    is_active=True,
    defaulted=False,
)


@pytest.mark.parametrize(
    ("at", "told", "again"),
    [
        (0, [], 27 * DAY),
        (27 * DAY - 1, [], 27 * DAY),
        (27 * DAY, [(DUE, 1)], 30 * DAY + 1),
        (30 * DAY, [(DUE, 1)], 30 * DAY + 1),
        (30 * DAY + 1, [(DUE, 1), (MISSED, 1)], 57 * DAY),
        (60 * DAY + 1, [(DUE, 1), (MISSED, 1), (DUE, 2), (MISSED, 2)], 87 * DAY),
        (90 * DAY + 1, [(DUE, 1), (MISSED, 1), (DUE, 2), (MISSED, 2), (DUE, 3), (MISSED, 3)], None),
    ],
)
def test_what_is_told_when(at: int, told: list[tuple[EventType, int]], again: int | None) -> None:
    """Due from three days before on, missed from the second after it; and the next look is when that changes."""
    assert [(each.kind, each.installment) for each in standing(PLAN, at, NOTICE)] == told
    assert next_look(PLAN, at, NOTICE) == again


async def serviced(engine: Engine) -> Serviced:
    """One run of the schedule's workflow, when each loan's time has come by its row."""
    async with engine.transaction() as session:
        await session.execute(update(Loan).values(service_at=None))
    workflow_id = f"service-{len(await told(engine))}-{engine.settings.temporal_namespace}"
    result: Serviced = await engine.temporal.execute_workflow(
        ServiceLoansWorkflow.run, id=workflow_id, task_queue=LOANS_QUEUE
    )
    return result


async def told(engine: Engine) -> list[tuple[str, int]]:
    query = select(Event.type, Event.installment).where(Event.installment.is_not(None)).order_by(Event.sequence)
    async with engine.transaction() as session:
        return [(str(kind), installment or 0) for kind, installment in await session.execute(query)]


async def test_installments_follow_the_plan_on_chain(engine: Engine) -> None:
    """Nothing at first, then due, then missed, each once; a repayment moves the plan on, and the next one is due in its time."""
    borrower = await engine.new_borrower()
    answer = await engine.borrow(borrower, loan_duration=90 * DAY, number_of_installments=3)
    await engine.finished(answer)
    assert await serviced(engine) == Serviced(loans=1)
    await time_passes(engine, 28 * DAY)
    assert await serviced(engine) == Serviced(loans=1, due=1)
    assert await serviced(engine) == Serviced(loans=1)
    await time_passes(engine, 3 * DAY)
    assert await serviced(engine) == Serviced(loans=1, missed=1)
    await engine.finished(await engine.repay(borrower, {"amount": str(500 * USD)}))
    assert await serviced(engine) == Serviced(loans=1)
    await time_passes(engine, 27 * DAY)
    assert await serviced(engine) == Serviced(loans=1, due=1)
    assert await told(engine) == [(DUE, 1), (MISSED, 1), (DUE, 2)]


async def test_a_look_is_made_only_when_its_time_has_come(engine: Engine) -> None:
    """After a first look the row says when, and until then the chain is not asked about the loan."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    assert (await serviced(engine)).loans == 1
    again: Serviced = await engine.temporal.execute_workflow(
        ServiceLoansWorkflow.run, id="service-again", task_queue=LOANS_QUEUE
    )
    assert again == Serviced()
