"""The hands of operators on a running operation: validated updates, each recorded before it acts (money.md section 2).

A validator refuses, in words that an operator can act on, what is not possible now; nothing of a refused update is kept.
"""

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.operators import OperatorActivities
    from models.messages.common import OperationInput, OperatorChoice
    from models.messages.operators import (
        ActionTaken,
        CancelEffect,
        CancelLeg,
        LeadOutOfHold,
        OperatorAnswer,
        OperatorCommand,
        ResolveHold,
        WaitsFor,
        hold_action,
    )
    from models.statuses import LegName, OperatorActionKind
    from workflows.attention import Attention, Question
    from workflows.steps import StepRefused, run_step


class Hands:
    """What an operator may do to one run. ``first_leg`` is the leg that can be given up, as long as no USDC has moved."""

    def __init__(self, start: OperationInput, attention: Attention, first_leg: LegName) -> None:
        self._start = start
        self._attention = attention
        self._first_leg: LegName | None = first_leg
        self._why_not = ""

    def first_leg_is_certain(self, why_not: str) -> None:
        """From here on nothing is given up; ``why_not`` tells an operator what happens instead."""
        self._first_leg = None
        self._why_not = why_not

    def waits_for(self) -> WaitsFor:
        question = self._attention.question
        possible = {
            "retry": question is not None and OperatorChoice.RETRY in question.possible,
            "cancel": self._first_leg is not None or self._undoing() is not None,
            "resolve-hold": self._attention.held is not None,
        }
        return WaitsFor(
            reason=self._attention.reason, commands=tuple(name for name, allowed in possible.items() if allowed)
        )

    def check_retry(self) -> None:
        """Raises ValueError, as every check here, which the operator reads at once."""
        if self._attention.question is None:
            raise ValueError("nothing waits for a retry now: the engine goes on by itself")

    async def retry(self, command: OperatorCommand) -> OperatorAnswer:
        question = _asked(self._attention.question)
        await self._record(OperatorActionKind.RETRY_STEP, command, question.about)
        return _answer(question, OperatorChoice.RETRY, f"{question.about} is tried again")

    def check_cancel(self) -> None:
        if self._first_leg is None and self._undoing() is None:
            raise ValueError(self._why_not)

    async def cancel(self, command: OperatorCommand) -> OperatorAnswer:
        undoing, leg = self._undoing(), self._first_leg
        if leg is None:
            question = _asked(undoing)
            await self._record(OperatorActionKind.CANCEL_IF_SAFE, command, question.about)
            return _answer(question, OperatorChoice.UNWIND, "the borrow is undone")
        await self._record(OperatorActionKind.CANCEL_IF_SAFE, command, leg)
        asked = CancelLeg(operation_id=self._start.operation_id, leg=leg, reason=command.reason)
        answer = await run_step(OperatorActivities.cancel_leg, asked, f"cancel {leg}")
        return OperatorAnswer(said=_CANCELLED[answer.effect].format(leg=leg))

    def check_hold(self, command: ResolveHold) -> None:
        held = self._attention.held
        if held is None:
            raise ValueError("no leg of this operation is known to be HELD")
        if command.leg != held.leg or command.generation not in (None, held.generation):
            raise ValueError(f"the leg that is HELD is '{held.leg}', generation {held.generation}")

    async def resolve_hold(self, command: ResolveHold) -> OperatorAnswer:
        operation_id = self._start.operation_id
        taken = hold_action(str(workflow.uuid4()), operation_id, command)
        await run_step(OperatorActivities.record_action, taken, "record resolve_hold")
        asked = LeadOutOfHold(operation_id=operation_id, command=command)
        try:
            outcome = await run_step(OperatorActivities.lead_out_of_hold, asked, f"resolve the hold of {command.leg}")
        except StepRefused as refused:
            raise ApplicationError(refused.refusal.detail, type=refused.refusal.code) from refused
        return OperatorAnswer(said=f"{command.leg} is {outcome.state}")

    def _undoing(self) -> Question | None:
        """The open question, if undoing the borrow is one of its answers."""
        question = self._attention.question
        return question if question is not None and OperatorChoice.UNWIND in question.possible else None

    async def _record(self, kind: OperatorActionKind, command: OperatorCommand, subject: str) -> None:
        taken = ActionTaken(
            id=str(workflow.uuid4()),
            kind=kind,
            operator=command.operator,
            reason=command.reason,
            operation_id=self._start.operation_id,
            subject=subject,
        )
        await run_step(OperatorActivities.record_action, taken, f"record {kind.lower()}")


class OperatorUpdates:
    """The updates themselves, which both workflows inherit."""

    _hands: Hands

    @workflow.query
    def waits_for(self) -> WaitsFor:
        return self._hands.waits_for()

    @workflow.update
    async def retry_step(self, command: OperatorCommand) -> OperatorAnswer:
        """Tries again at once what waits for an operator."""
        return await self._hands.retry(command)

    @retry_step.validator
    def _check_retry(self, command: OperatorCommand) -> None:  # noqa: ARG002 - a validator takes what its update takes
        self._hands.check_retry()

    @workflow.update
    async def cancel_if_safe(self, command: OperatorCommand) -> OperatorAnswer:
        """Gives up or undoes what money.md permits at this point, and nothing else."""
        return await self._hands.cancel(command)

    @cancel_if_safe.validator
    def _check_cancel(self, command: OperatorCommand) -> None:  # noqa: ARG002 - as above
        self._hands.check_cancel()

    @workflow.update
    async def resolve_hold(self, command: ResolveHold) -> OperatorAnswer:
        """Leads the leg that is HELD back to the chain, or to FINAL on evidence."""
        return await self._hands.resolve_hold(command)

    @resolve_hold.validator
    def _check_hold(self, command: ResolveHold) -> None:
        self._hands.check_hold(command)


_CANCELLED = {
    CancelEffect.ABANDONED: "the leg '{leg}' was given up before it was sent",
    CancelEffect.ASKED: "the leg '{leg}' is being cancelled on chain; its final receipt says whether that came in time",
    CancelEffect.TOO_LATE: "nothing was given up: the leg '{leg}' has been mined, or is HELD",
    CancelEffect.NOTHING: "the leg '{leg}' will not be sent",
}


def _asked(question: Question | None) -> Question:
    if question is None:  # the validator has seen it in this very activation; this tells the type checker
        raise RuntimeError("an update without the question that it answers")
    return question


def _answer(question: Question, choice: OperatorChoice, said: str) -> OperatorAnswer:
    """Only the first answer counts: while this one was being recorded another may have come, or the wait have ended."""
    if question.answer is not None:
        return OperatorAnswer(said=f"nothing was done: '{question.about}' goes on already with '{question.answer}'")
    question.answer = choice
    return OperatorAnswer(said=said)
