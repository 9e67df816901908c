"""One event for one endpoint, tried until it arrives, its schedule is over, or its endpoint takes nothing any more."""

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.webhooks.deliveries import WebhookActivities
    from models.messages.webhooks import AttemptDelivery, Attempted, Delivered, Delivery, Verdict
    from workflows.options import DELIVERY_SCHEDULE, DELIVERY_TIMEOUT, PATIENT_RETRY

SPREAD = 10
"""A pause is up to one part in so many longer, so that what failed together does not come back together."""


@workflow.defn
class DeliverWebhookWorkflow:
    @workflow.run
    async def run(self, delivery: Delivery) -> Delivered:
        pauses = () if delivery.once else DELIVERY_SCHEDULE
        number, verdict = 0, Verdict.AGAIN
        try:
            for pause in (*map(_spread, pauses), None):
                number += 1
                verdict = (await self._attempt(delivery, number, pause)).verdict
                if verdict is not Verdict.AGAIN or pause is None:
                    break
                await workflow.sleep(pause)
        except (asyncio.CancelledError, Exception) as ended:
            # A dispatcher cancels what was stopped; an attempt that is under way records itself, or finds that it is over.
            if not is_cancelled_exception(ended):
                raise
            verdict = Verdict.STOPPED
        return Delivered(verdict=verdict, attempts=number)

    async def _attempt(self, delivery: Delivery, number: int, again: timedelta | None) -> Attempted:
        attempt = AttemptDelivery(
            delivery=delivery, number=number, again_in=None if again is None else round(again.total_seconds())
        )
        return await workflow.execute_activity_method(
            WebhookActivities.attempt_delivery,
            attempt,
            start_to_close_timeout=DELIVERY_TIMEOUT,
            retry_policy=PATIENT_RETRY,
            summary=f"try {number}",
        )


def _spread(pause: timedelta) -> timedelta:
    return pause + pause * workflow.random().randrange(100) / (100 * SPREAD)
