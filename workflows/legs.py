"""How a workflow has one leg carried out on chain and learns, with certainty, what became of it."""

from collections.abc import Sequence
from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.positions import PositionActivities
    from activities.transactions import TransactionActivities
    from models.messages.common import Debt, LegBegun, OperatorChoice, Pace, ReadDebt, ReadResidue, Residue
    from models.messages.legs import ConfirmTransaction, LegCall, LegOutcome, RepayCall, SubmitTransaction
    from models.statuses import LegName, TransactionState
    from workflows.attention import Attention
    from workflows.steps import run_step, run_wait
    from workflows.tale import Tale


class Legs:
    """The legs of one operation. Only a final, refused or abandoned leg is ever reported as an outcome."""

    def __init__(
        self, attention: Attention, tale: Tale, operation_id: str, pace: Pace, begun: Sequence[LegBegun]
    ) -> None:
        self._attention = attention
        self._tale = tale
        self._operation_id = operation_id
        self._pace = pace
        self._begun = {leg.leg: leg.generation for leg in begun}
        self._last_block = 0

    def begun(self, leg: str) -> bool:
        """Whether an earlier run of this operation has begun this leg."""
        return leg in self._begun

    def generation(self, leg: str) -> int:
        """The generation to go on with: the newest that an earlier run has begun, or the first."""
        return self._begun.get(leg, 1)

    async def carry_out(
        self, leg: str, call: LegCall, *, generation: int = 1, instead_of: LegBegun | None = None
    ) -> LegOutcome:
        """Submits one generation of a leg and waits, however long it takes, until its outcome is certain.

        ``instead_of`` names another leg, and its newest generation known here, which can never be sent once this one is.
        """
        submit = SubmitTransaction(
            operation_id=self._operation_id,
            leg=leg,
            generation=generation,
            call=call,
            instead_of=None if instead_of is None else instead_of.leg,
            instead_of_generation=0 if instead_of is None else instead_of.generation,
            at_least_block=self._last_block,
        )
        self._tale.comes_next(f"{leg} on chain")
        outcome = await run_step(TransactionActivities.submit_transaction, submit, f"submit {leg}")
        while not (outcome.succeeded or outcome.without_effect):
            self._attention.held = _if_held(leg, outcome)
            outcome = await self._confirm(leg, generation)
            await self._report_delay(leg, outcome)
        self._attention.held = None
        await self._attention.end()
        self._tale.leg_ended(leg, outcome)
        self._last_block = max(self._last_block, outcome.block_number or 0)
        return outcome

    async def clear_residue(self, position_id: int, cap: int) -> Debt:
        """Repays what is left of this loan's debt, at the platform's cost and up to ``cap``; returns what is owed then.

        Interest grows while a repayment is on its way, so a payoff leaves a few base units; a small residue does not
        accrue and the next call lands (contracts.md, trap 3).
        """
        spent, number = 0, 1
        while True:
            residue = await self._read_residue(position_id)
            owed = residue.debt.outstanding
            if owed == 0 or not residue.ours or spent + owed > cap:
                return residue.debt
            spent += await self._repay_residue(f"{LegName.RESIDUE}-{number}", position_id, owed)
            number += 1

    async def read_debt(self, position_id: int) -> Debt:
        """What is owed, by a node that has seen the last leg of this operation."""
        ask = ReadDebt(position_id=position_id, at_least_block=self._last_block, operation_id=self._operation_id)
        return await run_step(PositionActivities.read_debt, ask, "read the debt")

    async def _read_residue(self, position_id: int) -> Residue:
        ask = ReadResidue(operation_id=self._operation_id, position_id=position_id, at_least_block=self._last_block)
        return await run_step(PositionActivities.read_residue, ask, "read what is left")

    async def _repay_residue(self, leg: str, position_id: int, owed: int) -> int:
        """Returns what the platform paid. A residue that is refused is shown, and tried again once in a while, or when told to."""
        generation = self.generation(leg)
        call = RepayCall(position_id=position_id, amount=owed)
        while not (residue := await self.carry_out(leg, call, generation=generation)).succeeded:
            if (await self._read_residue(position_id)).debt.outstanding == 0:
                return 0
            await self._attention.ask(
                leg,
                f"{leg} was refused: {residue.reason}",
                OperatorChoice.RETRY,
                at_most=timedelta(seconds=self._pace.leg_patience),
            )
            generation += 1
        return residue.amount

    async def _confirm(self, leg: str, generation: int) -> LegOutcome:
        confirm = ConfirmTransaction(
            operation_id=self._operation_id,
            leg=leg,
            generation=generation,
            patience=self._pace.leg_patience,
            held_is_known=self._attention.held is not None and self._attention.reason is not None,
        )
        return await run_wait(
            TransactionActivities.confirm_transaction,
            confirm,
            patience=self._pace.leg_patience,
            summary=f"confirm {leg}",
        )

    async def _report_delay(self, leg: str, outcome: LegOutcome) -> None:
        if outcome.state is TransactionState.HELD:
            await self._attention.report(f"{leg} is held: {outcome.reason}")
        elif outcome.patience_ended:
            await self._attention.report(f"{leg} has no outcome yet")


def _if_held(leg: str, outcome: LegOutcome) -> LegBegun | None:
    held = outcome.state is TransactionState.HELD
    return LegBegun(leg=leg, generation=outcome.generation) if held else None
