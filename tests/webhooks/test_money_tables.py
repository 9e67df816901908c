"""Every row of the two tables of money.md that ends an operation tells the partner of it: once, signed, and by its type.

The whole engine walks each row, and a real receiver verifies what comes by the library of the specification.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType

import pytest
from pydantic import SecretStr

from activities.webhooks.signing import new_secret
from models.statuses import TERMINAL_EVENTS, EventType
from tests.engine import BuildEngine, Engine, until
from tests.replay.paths import PATHS
from tests.webhooks.desk import SEALING_KEY, Desk
from tests.webhooks.receiver import Receiver, receiving

ROWS: Mapping[str, tuple[str, Sequence[EventType]]] = MappingProxyType(
    {
        "key, scope, grant, credit line, limits, fee": ("borrow-refused", [EventType.LOAN_REJECTED]),
        "cancel asked before PREPARED": ("borrow-given-up", [EventType.LOAN_FAILED]),
        "simulation of `borrow` reverts": ("borrow-failed", [EventType.LOAN_FAILED]),
        "`borrow` FINAL_REVERTED": ("borrow-reverted", [EventType.LOAN_FAILED]),
        "settle deadline passed, then retried": (
            "borrow-reviewed",
            [EventType.LOAN_DELAYED, EventType.LOAN_BORROWED],
        ),
        "settle deadline passed, then undone": (
            "borrow-undone-by-an-operator",
            [EventType.LOAN_DELAYED, EventType.LOAN_REVERSED],
        ),
        "`settle` cannot succeed": ("borrow-reversed", [EventType.LOAN_REVERSED]),
        "`unwind` fails too": ("borrow-unwind-retried", [EventType.LOAN_DELAYED, EventType.LOAN_REVERSED]),
        "recording after a FINAL settle": ("borrow-active", [EventType.LOAN_BORROWED]),
        "a workflow that was lost": ("borrow-run-again", [EventType.LOAN_BORROWED]),
        "validation, amount above the debt, no funding (pull)": ("repay-refused", [EventType.REPAYMENT_REJECTED]),
        "the same with proof": ("repay-proof-rejected", [EventType.REPAYMENT_REJECTED]),
        "proof not found": ("repay-proof-not-found", [EventType.REPAYMENT_REJECTED]),
        "`collect` reverts": ("repay-collect-failed", [EventType.REPAYMENT_FAILED]),
        "`repay` reverts after collection": ("repay-refunded", [EventType.REPAYMENT_REFUNDED]),
        "`refund` fails": ("repay-refund-retried", [EventType.REPAYMENT_DELAYED, EventType.REPAYMENT_REFUNDED]),
        "all good": ("repay-applied", [EventType.REPAYMENT_APPLIED]),
        "all good, to zero": ("repay-payoff", [EventType.REPAYMENT_APPLIED, EventType.LOAN_REPAID]),
        "the excess by `refund`": ("repay-payoff-by-proof", [EventType.REPAYMENT_APPLIED, EventType.LOAN_REPAID]),
    }
)


def told_of(receiver: Receiver, operation_id: str) -> list[str]:
    return [event["type"] for event in receiver.events if event["operation_id"] == operation_id]


async def has_told(receiver: Receiver, operation_id: str, count: int) -> bool:
    return len(told_of(receiver, operation_id)) >= count


async def walk(engine: Engine, name: str) -> str:
    path = PATHS[name]
    if not path.lane_runs:
        return await path.walk(engine)
    async with engine.lane():
        await engine.fund_float()
        await until(engine.float_is_booked)
        return await path.walk(engine)


@pytest.mark.parametrize("row", ROWS)
async def test_a_row_is_told_once_by_its_type(build_engine: BuildEngine, row: str) -> None:
    """What is written with the end of an operation arrives at the partner's endpoint, and verifies."""
    name, expected = ROWS[row]
    secret, settings = new_secret(), {**PATHS[name].settings, "sealing_key": SecretStr(SEALING_KEY)}
    async with receiving([secret]) as receiver, build_engine(**settings) as engine:
        desk = Desk(engine.parts.database, engine.temporal, engine.settings, engine.partner.id)
        await desk.endpoint(receiver.url, secret=secret)
        async with desk.delivering(), engine.loans():
            operation_id = await walk(engine, name)
            await until(partial(has_told, receiver, operation_id, len(expected)))
    assert all(message.verified for message in receiver.received)
    assert Counter(told_of(receiver, operation_id)) == Counter(map(str, expected))
    assert len({event["id"] for event in receiver.events}) == len(receiver.events)
    assert sum(kind in TERMINAL_EVENTS for kind in told_of(receiver, operation_id)) == 1
