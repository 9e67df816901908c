"""What Temporal's UI tells of a run: in its lists by search attributes, on its page by a short story in Markdown.

A search attribute costs an event of the history, so they are set twice at most: once the decision is known, and at the
end. The story costs none. What a person must know first, AttentionReason, is attention.py's.
"""

from collections.abc import Sequence

from temporalio import workflow
from temporalio.common import SearchAttributeKey

with workflow.unsafe.imports_passed_through():
    from models.messages.common import Outcome
    from models.messages.legs import LegOutcome
    from models.money import format_usdc

PARTNER_ID = SearchAttributeKey.for_keyword("PartnerId")
LOAN_ID = SearchAttributeKey.for_keyword("LoanId")
OAID_TOKEN_ID = SearchAttributeKey.for_keyword("OaidTokenId")
STEP = SearchAttributeKey.for_keyword("Step")
TX_HASH = SearchAttributeKey.for_keyword("TxHash")
ACCEPTED, REFUSED = "ACCEPTED", "REFUSED"


class Tale:
    """Everything here follows from the run itself, so a replay tells it again; what an earlier run did it does not know."""

    def __init__(self) -> None:
        self._partner_id: str | None = None
        self._lines: list[str] = []
        self._next: str | None = None
        self._tx_hash: str | None = None

    def begin(self, partner_id: str, asked: str) -> None:
        self._partner_id = partner_id
        self.happened(f"**{partner_id}** asks to {asked}")

    def happened(self, line: str) -> None:
        self._lines.append(line)
        self.comes_next(None)

    def comes_next(self, what: str | None) -> None:
        self._next = what
        self._show()

    def leg_ended(self, leg: str, outcome: LegOutcome) -> None:
        self._tx_hash = outcome.tx_hash or self._tx_hash
        where = "" if outcome.tx_hash is None else f" in block {outcome.block_number}: `{outcome.tx_hash}`"
        why = "" if outcome.succeeded or outcome.reason is None else f" ({outcome.reason})"
        self.happened(f"**{leg}** {format_usdc(outcome.amount)} USDC {outcome.state}{where}{why}")

    def accepted(self, loan_id: str, oaid_token_id: int | None, line: str) -> None:
        """From here on the run is found by its partner, its loan and its credit line."""
        self.happened(line)
        self._upsert(ACCEPTED, loan_id, oaid_token_id)

    def refused(self, why: str, oaid_token_id: int | None = None) -> None:
        self.happened(f"refused: {why}")
        self._upsert(REFUSED, None, oaid_token_id)

    def ended(self, outcome: Outcome) -> None:
        """A refusal has said so already."""
        if outcome.status == REFUSED:
            return
        why = "" if outcome.problem is None else f": {outcome.problem.detail}"
        self.happened(f"ended **{outcome.status}**{why}")
        hashes = [] if self._tx_hash is None else [TX_HASH.value_set(self._tx_hash)]
        workflow.upsert_search_attributes([STEP.value_set(outcome.status), *hashes])

    def _upsert(self, step: str, loan_id: str | None, oaid_token_id: int | None) -> None:
        named = {PARTNER_ID: self._partner_id, LOAN_ID: loan_id, STEP: step}
        named[OAID_TOKEN_ID] = None if oaid_token_id is None else str(oaid_token_id)
        workflow.upsert_search_attributes([key.value_set(value) for key, value in named.items() if value is not None])

    def _show(self) -> None:
        workflow.set_current_details(_markdown(self._lines, self._next))


def _markdown(lines: Sequence[str], following: str | None) -> str:
    told = [f"- {line}" for line in lines]
    return "\n".join(told if following is None else [*told, "", f"Next: {following}"])
