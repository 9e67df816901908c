"""How a workflow has one leg carried out on chain and learns, with certainty, what became of it."""

from collections.abc import Sequence

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.positions import PositionActivities
    from activities.reviews import ReviewActivities
    from activities.transactions import TransactionActivities
    from models.messages.common import LegBegun, Pace, UnderReview
    from models.messages.legs import ConfirmTransaction, LegCall, LegOutcome, RepayCall, SubmitTransaction
    from models.messages.repay import Debt, ReadDebt
    from models.statuses import LegName, TransactionState
    from workflows.steps import run_step, run_wait


class Legs:
    """The legs of one operation. Only a final, refused or abandoned leg is ever reported as an outcome."""

    def __init__(self, operation_id: str, pace: Pace, begun: Sequence[LegBegun]) -> None:
        self._operation_id = operation_id
        self._pace = pace
        self._begun = {leg.leg: leg.generation for leg in begun}

    def begun(self, leg: str) -> bool:
        """Whether an earlier run of this operation has begun this leg."""
        return leg in self._begun

    def generation(self, leg: str) -> int:
        """The generation to go on with: the newest that an earlier run has begun, or the first."""
        return self._begun.get(leg, 1)

    async def carry_out(
        self, leg: str, call: LegCall, *, generation: int = 1, instead_of: str | None = None
    ) -> LegOutcome:
        """Submits one generation of a leg and waits, however long it takes, until its outcome is certain."""
        submit = SubmitTransaction(
            operation_id=self._operation_id, leg=leg, generation=generation, call=call, instead_of=instead_of
        )
        outcome = await run_step(TransactionActivities.submit_transaction, submit, f"submit {leg}")
        while not (outcome.succeeded or outcome.without_effect):
            outcome = await self._confirm(leg, generation, held_is_known=outcome.state is TransactionState.HELD)
            await self._report_delay(leg, outcome)
        return outcome

    async def clear_residue(self, position_id: int, cap: int) -> int:
        """Repays what is left at the platform's cost until the debt is zero; returns what is left above the cap.

        Interest grows while a repayment is on its way, so a payoff leaves a few base units; a small residue does not
        accrue and the next call lands (contracts.md, trap 3).
        """
        spent, number = 0, 1
        while (debt := await self.read_debt(position_id)).outstanding > 0:
            if spent + debt.outstanding > cap:
                return debt.outstanding
            call = RepayCall(position_id=position_id, amount=debt.outstanding)
            residue = await self.carry_out(f"{LegName.RESIDUE}-{number}", call)
            number += 1
            if residue.succeeded:
                spent += residue.amount
            else:
                await workflow.sleep(self._pace.settle_retry)
        return 0

    async def read_debt(self, position_id: int) -> Debt:
        return await run_step(PositionActivities.read_debt, ReadDebt(position_id=position_id), "read the debt")

    async def report(self, reason: str) -> None:
        """Shows operators and the partner that this operation waits for a person."""
        review = UnderReview(operation_id=self._operation_id, reason=reason)
        await run_step(ReviewActivities.mark_under_review, review, f"under review: {reason}")

    async def _confirm(self, leg: str, generation: int, *, held_is_known: bool) -> LegOutcome:
        confirm = ConfirmTransaction(
            operation_id=self._operation_id,
            leg=leg,
            generation=generation,
            patience=self._pace.leg_patience,
            held_is_known=held_is_known,
        )
        return await run_wait(
            TransactionActivities.confirm_transaction,
            confirm,
            patience=self._pace.leg_patience,
            summary=f"confirm {leg}",
        )

    async def _report_delay(self, leg: str, outcome: LegOutcome) -> None:
        if outcome.state is TransactionState.HELD:
            await self.report(f"{leg} is held: {outcome.reason}")
        elif outcome.patience_ended:
            await self.report(f"{leg} has no outcome yet")
