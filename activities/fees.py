"""The platform fee, as a recorded step: a later change of the rule never changes what was once promised."""

from temporalio import activity

from models.messages.borrow import CalculateFee
from models.money import Quote, quote


class FeeActivities:
    @activity.defn
    async def calculate_fee(self, asked: CalculateFee) -> Quote:
        return quote(asked.amount, asked.fee_bps)
