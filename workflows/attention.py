"""What a run waits for a person to see or to decide: shown in Temporal's lists, and kept in the operation's rows."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import SearchAttributeKey

with workflow.unsafe.imports_passed_through():
    from activities.reviews import ReviewActivities
    from models.messages.common import LegBegun, OperationInput, OperatorChoice, UnderReview
    from workflows.steps import run_step
    from workflows.tale import Tale

ATTENTION_REASON = SearchAttributeKey.for_keyword("AttentionReason")
SHOWN = 200
"""Characters of a reason that are shown; stores of Temporal cut off or refuse a keyword beyond 255."""


class Question:
    """Something that the story cannot decide by itself. It is answered once, and an answer never serves another question."""

    def __init__(self, about: str, possible: frozenset[OperatorChoice]) -> None:
        self.about = about
        self.possible = possible
        self.answer: OperatorChoice | None = None


class Attention:
    def __init__(self, start: OperationInput, tale: Tale) -> None:
        self._start = start
        self._tale = tale
        self.reason: str | None = None
        self.question: Question | None = None
        self.held: LegBegun | None = None
        """The leg that is HELD, as far as this run was told."""

    def remember(self, reason: str | None) -> None:
        """An earlier run of the operation has asked for attention, and ended before it got what it waited for."""
        if reason is not None:
            self._show(reason)

    async def report(self, reason: str) -> None:
        """Shows operators and the partner that this operation waits for a person."""
        review = UnderReview(operation_id=self._start.operation_id, reason=reason)
        await run_step(ReviewActivities.mark_under_review, review, f"under review: {reason}")
        self._show(reason)

    async def end(self) -> None:
        """What was waited for has come. A run that never asked for attention does nothing here."""
        if self.reason is not None:
            await run_step(ReviewActivities.end_review, self._start, "no longer under review")
            self._show(None)

    async def ask(
        self, about: str, reason: str, *possible: OperatorChoice, at_most: timedelta | None = None
    ) -> OperatorChoice:
        """Reports, and waits for an operator to choose; after ``at_most``, where it is given, the choice is to retry."""
        await self.report(reason)
        question = self.question = Question(about, frozenset(possible))
        try:
            # An operator's update is handled while this waits; it answers this question or none.
            await workflow.wait_condition(lambda: question.answer is not None, timeout=at_most)
        except TimeoutError:
            question.answer = question.answer or OperatorChoice.RETRY
        self.question = None
        await self.end()
        return question.answer or OperatorChoice.RETRY

    def _show(self, reason: str | None) -> None:
        self.reason = reason
        self._tale.comes_next(None if reason is None else f"**waits for a person**: {reason}")
        shown = ATTENTION_REASON.value_unset() if reason is None else ATTENTION_REASON.value_set(reason[:SHOWN])
        workflow.upsert_search_attributes([shown])
