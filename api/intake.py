"""A request that moves money, from its key to its answer: recorded, started, decided (architecture.md, "A borrow, as data")."""

from dataclasses import replace

from api.errors import OperationRefused, WorkflowsUnavailable
from api.idempotency import MoneyRequest, Recorded, look_again, record
from api.resources import Resources
from api.starter import Decided, NotReached
from models.errors import RefusalPayload
from models.log_lines import name_from_here
from models.messages.common import OperationInput


async def decide(resources: Resources, asked: MoneyRequest) -> Recorded:
    """The operation with its decision, or without one while it is still being made.

    Raises OperationRefused where the decision is a refusal or the key was used for another request, and
    WorkflowsUnavailable where nothing could be started: then the request is recorded and may simply be repeated.
    """
    name_from_here(operation_id=asked.operation_id, loan_id=asked.loan_id)
    known = await record(resources.statements, asked)
    if known.decision is None:
        known = await _start(resources, asked, known)
    decision = known.decision
    if decision is not None and decision.refusal is not None:
        raise refused(decision.refusal, known)
    return known


def refused(refusal: RefusalPayload, known: Recorded) -> OperationRefused:
    return OperationRefused(refusal, known.operation_id, known.trace_id, replayed=known.replayed)


async def _start(resources: Resources, asked: MoneyRequest, known: Recorded) -> Recorded:
    start = OperationInput(operation_id=known.operation_id, traceparent=asked.traceparent)
    attempt = await resources.together.run(known.operation_id, lambda: resources.starter.decide(asked.kind, start))
    if isinstance(attempt, Decided):
        return replace(known, decision=attempt.decision)
    seen = await look_again(resources.statements, known)
    if seen.decision is None and isinstance(attempt, NotReached):
        raise WorkflowsUnavailable
    return seen
