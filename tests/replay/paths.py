"""Every way through the workflows that last, walked on the real engine; each returns the workflow whose history tells it.

``record.py`` saves these histories and ``test_histories.py`` replays them. A path that the engine no longer takes fails here,
so that no file can tell of something else than its name says.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import Any

import httpx
from pydantic import SecretStr

from chain.contracts.solvency_vault import encode_set_operator
from contracts.deploy import Transaction
from models.messages.common import OperationInput
from models.messages.webhooks import Delivered, Verdict
from models.statuses import DisabledBecause
from models.tables.webhook_book import disable, lock_endpoint
from tests.chain.world import DAY, USD
from tests.engine import Borrower, Engine, until
from tests.webhooks.desk import SEALING_KEY, Desk
from tests.webhooks.receiver import Behave, receiving
from workflows.borrow import BorrowWorkflow
from workflows.options import LOANS_QUEUE
from workflows.repay import RepayWorkflow
from workflows.service_loans import ServiceLoansWorkflow
from workflows.upkeep import UpkeepWorkflow

Walk = Callable[[Engine], Awaitable[str]]

SEALED = {"sealing_key": SecretStr(SEALING_KEY)}

PART = {"amount": str(1_000 * USD)}
PAYOFF = {"payoff": True}


# Borrows


async def borrow_active(engine: Engine) -> str:
    return await ended(engine, await engine.borrow(await engine.new_borrower()), "ACTIVE")


async def borrow_refused(engine: Engine) -> str:
    borrower = await engine.new_borrower(value_usd=1_000 * USD)
    return refused(await engine.borrow(borrower), "insufficient_credit")


async def borrow_failed(engine: Engine) -> str:
    """The vault refuses the simulated borrow."""
    borrower = await engine.new_borrower()
    engine.once_before(engine.contracts.vault, partial(revoke_operator, engine, borrower))
    operation_id = await ended(engine, await engine.borrow(borrower), "FAILED")
    assert (await engine.legs(operation_id))[0] == ("borrow", 1, "REFUSED")
    return operation_id


async def borrow_reverted(engine: Engine) -> str:
    """The vault refuses the borrow in a block, after it passed its simulation."""
    borrower = await engine.new_borrower()
    answer = await engine.borrow(borrower)
    await until(partial(leg_is, engine, operation_of(answer), ("borrow", 1, "QUEUED")))
    await revoke_operator(engine, borrower)
    async with engine.lane():
        operation_id = await ended(engine, answer, "FAILED")
    assert (await engine.legs(operation_id))[0] == ("borrow", 1, "FINAL_REVERTED")
    return operation_id


async def borrow_cancelled(engine: Engine) -> str:
    answer = await engine.borrow(await engine.new_borrower())
    operation_id = operation_of(answer)
    await engine.temporal.get_workflow_handle(operation_id).cancel()
    await until(partial(cancel_requested, engine, operation_id))
    async with engine.lane():
        return await ended(engine, answer, "FAILED")


async def borrow_reversed(engine: Engine) -> str:
    """The settlement address cannot receive USDC: the borrow is unwound, and what interest is left paid by the platform."""
    borrower = await engine.new_borrower()
    await engine.owner_calls(engine.contracts.usdc, "blacklist(address)", engine.partner.settlement.address)
    operation_id = await ended(engine, await engine.borrow(borrower), "REVERSED")
    assert "unwind" in [leg for leg, _, _ in await engine.legs(operation_id)]
    return operation_id


async def borrow_unwind_retried(engine: Engine) -> str:
    """The borrow can be neither paid out nor undone, until an operator has it undone."""
    borrower = await engine.new_borrower()
    await engine.owner_calls(engine.contracts.usdc, "blacklist(address)", engine.partner.settlement.address)
    await engine.owner_calls(engine.contracts.pool, "setRepaymentsPaused(bool)", True)
    answer = await engine.borrow(borrower)
    await until(partial(under_review, engine, operation_of(answer)))
    await engine.owner_calls(engine.contracts.pool, "setRepaymentsPaused(bool)", False)
    await engine.operator(operation_of(answer), "retry_step")
    return await ended(engine, answer, "REVERSED")


async def borrow_reviewed(engine: Engine) -> str:
    """The payout passes its deadline, and an operator has it tried once more."""
    usdc = engine.contracts.usdc
    engine.once_before(usdc, partial(engine.owner_calls, usdc, "pause()"))
    answer = await engine.borrow(await engine.new_borrower())
    await until(partial(under_review, engine, operation_of(answer)))
    await engine.owner_calls(usdc, "unpause()")
    await engine.operator(operation_of(answer), "retry_step")
    return await ended(engine, answer, "ACTIVE")


async def borrow_undone_by_an_operator(engine: Engine) -> str:
    """The payout passes its deadline, and an operator has the borrow undone."""
    usdc = engine.contracts.usdc
    engine.once_before(usdc, partial(engine.owner_calls, usdc, "pause()"))
    answer = await engine.borrow(await engine.new_borrower())
    await until(partial(under_review, engine, operation_of(answer)))
    await engine.owner_calls(usdc, "unpause()")
    await engine.operator(operation_of(answer), "cancel_if_safe")
    return await ended(engine, answer, "REVERSED")


async def borrow_given_up(engine: Engine) -> str:
    """An operator cancels the borrow before it has a nonce."""
    answer = await engine.borrow(await engine.new_borrower())
    await until(partial(leg_is, engine, operation_of(answer), ("borrow", 1, "QUEUED")))
    await engine.operator(operation_of(answer), "cancel_if_safe")
    return await ended(engine, answer, "FAILED")


async def borrow_run_again(engine: Engine) -> str:
    """The workflow is lost after its borrow is on chain, and a second run ends what the first began."""
    answer = await engine.borrow(await engine.new_borrower())
    return await lost_after(engine, answer, "borrow", "ACTIVE")


# Repayments


async def repay_applied(engine: Engine) -> str:
    """A part, by pull."""
    borrower = await active(engine)
    return await ended(engine, await engine.repay(borrower, PART), "APPLIED")


async def repay_payoff(engine: Engine) -> str:
    """A payoff by pull; interest grows after the collection, and the platform pays what is left."""
    borrower = await active(engine)
    engine.once_before(engine.contracts.vault, partial(time_passes, engine, DAY))
    operation_id = await ended(engine, await engine.repay(borrower, PAYOFF), "APPLIED")
    assert ("residue-1", 1, "FINAL_OK") in await engine.legs(operation_id)
    assert await engine.debt(borrower) == 0
    return operation_id


async def repay_by_proof(engine: Engine) -> str:
    borrower = await active(engine)
    return await ended(engine, await repay_with_transfer(engine, borrower, 1_000 * USD, PART), "APPLIED")


async def repay_payoff_by_proof(engine: Engine) -> str:
    """A payoff by a transfer of too much: the excess goes back."""
    borrower = await active(engine)
    operation_id = await ended(engine, await repay_with_transfer(engine, borrower, 6_000 * USD, PAYOFF), "APPLIED")
    assert ("refund", 1, "FINAL_OK") in await engine.legs(operation_id)
    return operation_id


async def repay_proof_rejected(engine: Engine) -> str:
    """The transfer is of another amount, which is seen only when it is claimed."""
    borrower = await active(engine)
    answer = await repay_with_transfer(engine, borrower, 999 * USD, PART)
    return await ended(engine, answer, "REJECTED")


async def repay_proof_not_found(engine: Engine) -> str:
    borrower = await active(engine)
    answer = await engine.repay(borrower, {**PART, "transfer_tx_hash": "0x" + "ab" * 32})
    return await ended(engine, answer, "REJECTED")


async def repay_refunded(engine: Engine) -> str:
    """The vault takes no repayment, so what was collected goes back."""
    borrower = await active(engine)
    await engine.owner_calls(engine.contracts.pool, "setRepaymentsPaused(bool)", True)
    return await ended(engine, await engine.repay(borrower, PART), "REFUNDED")


async def repay_refund_retried(engine: Engine) -> str:
    """What was collected can neither be repaid nor given back, until an operator has it tried once more."""
    borrower = await active(engine)
    usdc, settlement = engine.contracts.usdc, engine.partner.settlement.address
    await engine.owner_calls(engine.contracts.pool, "setRepaymentsPaused(bool)", True)
    engine.once_before(engine.contracts.vault, partial(engine.owner_calls, usdc, "blacklist(address)", settlement))
    answer = await engine.repay(borrower, PART)
    await until(partial(under_review, engine, operation_of(answer)))
    await engine.owner_calls(usdc, "unBlacklist(address)", settlement)
    await engine.operator(operation_of(answer), "retry_step")
    return await ended(engine, answer, "REFUNDED")


async def repay_collect_failed(engine: Engine) -> str:
    borrower = await active(engine)
    engine.once_before(engine.contracts.usdc, partial(engine.approve_pull, engine.partner, 0))
    return await ended(engine, await engine.repay(borrower, PART), "FAILED")


async def repay_refused(engine: Engine) -> str:
    borrower = await active(engine)
    return refused(await engine.repay(borrower, {"amount": str(6_000 * USD)}), "amount_above_debt")


async def repay_run_again(engine: Engine) -> str:
    """The workflow is lost after its collection, and a second run ends what the first began."""
    async with engine.lane():
        borrower = await active(engine)
    return await lost_after(engine, await engine.repay(borrower, PART), "collect", "APPLIED")


# By the clock


async def upkeep(engine: Engine) -> str:
    """The months of the request log are made."""
    workflow_id = "upkeep"
    await engine.temporal.execute_workflow(UpkeepWorkflow.run, id=workflow_id, task_queue=LOANS_QUEUE)
    return workflow_id


async def service_loans(engine: Engine) -> str:
    """An installment is due, and its partner is told."""
    await active(engine)
    await time_passes(engine, 28 * DAY)
    handle = await engine.temporal.start_workflow(ServiceLoansWorkflow.run, id="service-loans", task_queue=LOANS_QUEUE)
    assert (await handle.result()).due == 1
    return handle.id


# Deliveries of webhooks


async def deliver_at_once(engine: Engine) -> str:
    return await _delivered(engine, lambda _: 200, Verdict.DELIVERED)


async def deliver_again(engine: Engine) -> str:
    return await _delivered(engine, lambda number: 500 if number == 1 else 200, Verdict.DELIVERED)


async def deliver_stopped(engine: Engine) -> str:
    """The receiver says that it is gone."""
    return await _delivered(engine, lambda _: 410, Verdict.STOPPED)


async def deliver_cancelled(engine: Engine) -> str:
    """It waits for its second try when its endpoint is disabled."""
    async with receiving(behave=lambda _: 500) as receiver:
        desk = Desk(engine.parts.database, engine.temporal, engine.settings, engine.partner.id)
        async with desk.delivering():
            endpoint, event = await desk.endpoint(receiver.url), await desk.event()
            await until(partial(_has_tried, desk, event, endpoint))
            async with engine.transaction() as session:
                await disable(session, await lock_endpoint(session, endpoint), DisabledBecause.PARTNER)
            return await _verdict(engine, f"deliver:{event}:{endpoint}", Verdict.STOPPED)


async def _delivered(engine: Engine, behave: Behave, verdict: Verdict) -> str:
    async with receiving(behave=behave) as receiver:
        desk = Desk(engine.parts.database, engine.temporal, engine.settings, engine.partner.id)
        async with desk.delivering():
            endpoint, event = await desk.endpoint(receiver.url), await desk.event()
            await until(partial(desk.has_ended, event, endpoint))
            return await _verdict(engine, f"deliver:{event}:{endpoint}", verdict)


async def _verdict(engine: Engine, workflow_id: str, verdict: Verdict) -> str:
    result = await engine.temporal.get_workflow_handle(workflow_id, result_type=Delivered).result()
    assert result.verdict is verdict
    return workflow_id


async def _has_tried(desk: Desk, event: str, endpoint: str) -> bool:
    found = await desk.delivery(event, endpoint)
    return found is not None and found.attempts > 0


@dataclass(frozen=True)
class Path:
    """``lane_runs`` is false where the walk needs the lane to be away at first, and starts it itself."""

    walk: Walk
    lane_runs: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)


PATHS: Mapping[str, Path] = MappingProxyType(
    {
        "borrow-active": Path(borrow_active),
        "borrow-cancelled": Path(borrow_cancelled, lane_runs=False),
        "borrow-failed": Path(borrow_failed),
        "borrow-given-up": Path(borrow_given_up, lane_runs=False),
        "borrow-refused": Path(borrow_refused),
        "borrow-reversed": Path(borrow_reversed),
        "borrow-reverted": Path(borrow_reverted, lane_runs=False),
        "borrow-reviewed": Path(borrow_reviewed, settings={"settle_deadline": timedelta(seconds=2)}),
        "borrow-run-again": Path(borrow_run_again, lane_runs=False),
        "borrow-undone-by-an-operator": Path(
            borrow_undone_by_an_operator, settings={"settle_deadline": timedelta(seconds=2)}
        ),
        "borrow-unwind-retried": Path(borrow_unwind_retried),
        "deliver-again": Path(deliver_again, lane_runs=False, settings=SEALED),
        "deliver-at-once": Path(deliver_at_once, lane_runs=False, settings=SEALED),
        "deliver-cancelled": Path(deliver_cancelled, lane_runs=False, settings=SEALED),
        "deliver-stopped": Path(deliver_stopped, lane_runs=False, settings=SEALED),
        "repay-applied": Path(repay_applied),
        "repay-by-proof": Path(repay_by_proof),
        "repay-collect-failed": Path(repay_collect_failed),
        "repay-payoff": Path(repay_payoff),
        "repay-payoff-by-proof": Path(repay_payoff_by_proof),
        "repay-proof-not-found": Path(repay_proof_not_found),
        "repay-proof-rejected": Path(repay_proof_rejected),
        "repay-refund-retried": Path(repay_refund_retried),
        "repay-refunded": Path(repay_refunded),
        "repay-refused": Path(repay_refused),
        "repay-run-again": Path(repay_run_again, lane_runs=False),
        "service-loans": Path(service_loans),
        "upkeep": Path(upkeep),
    }
)


# Steps of the walks


def operation_of(answer: httpx.Response) -> str:
    operation_id: str = answer.json()["operation_id"]
    return operation_id


async def ended(engine: Engine, answer: httpx.Response, status: str) -> str:
    """The operation, once it is done and has ended as the path's name says."""
    done = await engine.finished(answer, wait=30)
    assert done["outcome"]["status"] == status, done
    return operation_of(answer)


def refused(answer: httpx.Response, code: str) -> str:
    assert answer.json()["code"] == code, answer.text
    return operation_of(answer)


async def active(engine: Engine) -> Borrower:
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    return borrower


async def repay_with_transfer(
    engine: Engine, borrower: Borrower, transferred: int, body: Mapping[str, object]
) -> httpx.Response:
    """A repayment proved by a transfer from the partner's settlement address."""
    tx_hash = await engine.transfer(engine.partner.settlement, engine.chain.wallet, transferred)
    return await engine.repay(borrower, {**body, "transfer_tx_hash": tx_hash})


async def lost_after(engine: Engine, answer: httpx.Response, leg: str, status: str) -> str:
    """The run is terminated between this leg and the next, and the operation is run again."""
    operation_id = operation_of(answer)
    await until(partial(leg_is, engine, operation_id, (leg, 1, "QUEUED")))
    engine.hold_submissions()
    async with engine.lane():
        await until(partial(leg_is, engine, operation_id, (leg, 1, "FINAL_OK")))
        await engine.temporal.get_workflow_handle(operation_id).terminate("the test says so")
        engine.release_submissions()
        workflow = BorrowWorkflow if operation_id.startswith("borrow:") else RepayWorkflow
        start = OperationInput(operation_id=operation_id)
        await engine.temporal.start_workflow(workflow.__name__, start, id=operation_id, task_queue=LOANS_QUEUE)
        return await ended(engine, answer, status)


async def revoke_operator(engine: Engine, borrower: Borrower) -> None:
    revoke = encode_set_operator(engine.chain.wallet, approved=False)
    await borrower.user.send(Transaction(engine.contracts.vault, revoke))


async def time_passes(engine: Engine, seconds: int) -> None:
    await engine.client.rpc.call("evm_increaseTime", seconds)
    await engine.client.rpc.call("evm_mine")


async def leg_is(engine: Engine, operation_id: str, leg: tuple[str, int, str]) -> bool:
    return leg in await engine.legs(operation_id)


async def under_review(engine: Engine, operation_id: str) -> bool:
    return (await engine.operation_row(operation_id)).review_reason is not None


async def cancel_requested(engine: Engine, operation_id: str) -> bool:
    return (await engine.operation_row(operation_id)).cancel_requested_at is not None
