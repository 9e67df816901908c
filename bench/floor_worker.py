"""The floor's worker, a process as the engine's is, with the engine's options: ``python -m bench.floor_worker ADDRESS NAMESPACE``."""

import asyncio
import signal
import sys

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker

from activities.refusals import RefusalInterceptor
from bench.floor_activities import FloorActivities
from bench.floor_workflows import FloorBorrow, SevenSteps
from wiring import GRACE, STEP_SLOTS, WAITING_SLOTS
from workflows.options import LOANS_QUEUE, WAITING_QUEUE

READY = "floor worker ready"


async def serve(address: str, namespace: str) -> None:
    client = await Client.connect(address, namespace=namespace, data_converter=pydantic_data_converter)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with stories(client), waits(client):
        print(READY, flush=True)
        await stop.wait()


def stories(client: Client) -> Worker:
    steps = FloorActivities()
    return Worker(
        client,
        task_queue=LOANS_QUEUE,
        workflows=[FloorBorrow, SevenSteps],
        activities=[
            steps.open_operation,
            steps.authorize_partner,
            steps.check_credit_line,
            steps.calculate_fee,
            steps.reserve_limit,
            steps.submit_transaction,
            steps.record_borrow,
            steps.activate_loan,
        ],
        interceptors=[RefusalInterceptor()],
        max_concurrent_activities=STEP_SLOTS,
        max_concurrent_local_activities=STEP_SLOTS,
        graceful_shutdown_timeout=GRACE,
    )


def waits(client: Client) -> Worker:
    return Worker(
        client,
        task_queue=WAITING_QUEUE,
        activities=[FloorActivities().confirm_transaction],
        interceptors=[RefusalInterceptor()],
        max_concurrent_activities=WAITING_SLOTS,
    )


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
