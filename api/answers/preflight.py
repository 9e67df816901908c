"""What a borrow would be answered, were it sent now."""

from pydantic import Field

from api.answers.common import Answer
from api.answers.money import QuoteAnswer
from api.problems import Problem


class PreflightAnswer(Answer):
    """Nothing is reserved by it: what would be accepted now may be refused in the next moment."""

    would_be_accepted: bool
    quote: QuoteAnswer = Field(description="what the borrow would cost at the partner's fee of now")
    problems: list[Problem] = Field(
        description="everything that stands against the borrow, as its own problem; the first is what a borrow would answer"
    )
    repeats: str | None = Field(
        default=None,
        description="the operation that this very request has named before, where that is decided: a borrow is answered from it",
    )
