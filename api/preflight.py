"""What a borrow would be answered, with everything that stands against it at once; nothing is reserved or stored.

Every check is the one that a borrow meets, in the order in which it meets them: the key of the request as api/idempotency.py
records it, then what ``BorrowWorkflow`` asks of activities/partners.py, credit_lines.py and limits.py. A borrow stops at its
first refusal, and this goes on, so the first problem here is the one that the borrow would be answered.
"""

from dataclasses import dataclass, field

from sqlalchemy import select

from activities.credit_lines import line_refusals, look_at_line
from activities.limit_book import limit_refusals, see_limits_today
from activities.limits import other_loan_refusals
from activities.partners import live_grant, standing_refusals
from api.answers import PreflightAnswer, QuoteAnswer
from api.idempotency import MoneyRequest, decision_of, key_reused
from api.problems import Problem, problem_of
from api.resources import Resources
from models.errors import GrantRequired, RefusalPayload, Refused
from models.messages.borrow import BorrowDecision, BorrowRequest
from models.money import Quote, quote
from models.statuses import GrantEvidence, Scope
from models.tables.operations import Operation
from models.tables.partners import ApiKey, CreditLineGrant, Partner

UNKNOWN_POSITION = 0
"""No position has this id: the line itself says which one is its own, at the cost of a second look."""


@dataclass(frozen=True, slots=True)
class Authority:
    """What is known of who asks, before the chain is looked at."""

    fee_bps: int
    grant: CreditLineGrant | None
    refusals: list[Refused] = field(default_factory=list)


async def preflight(resources: Resources, asked: MoneyRequest) -> PreflightAnswer:
    """Asks the chain, so it must not be called inside a transaction. Raises RpcUnavailable without a node."""
    earlier = await _earlier(resources, asked)
    same = earlier is not None and earlier.fingerprint == asked.fingerprint
    request = BorrowRequest.model_validate(asked.request)
    authority = await _authority(resources, asked, request)
    cost = quote(request.amount, authority.fee_bps)
    if earlier is not None and same and earlier.decision is not None:
        return _as_decided(resources, asked, earlier, cost)
    refusals = authority.refusals + await _in_the_way(resources, asked, request, authority.grant)
    problems = [_problem(resources, asked, refusal.payload()) for refusal in _once_each(refusals)]
    if earlier is not None and not same:
        problems.insert(0, _problem(resources, asked, key_reused(earlier, asked).payload(), earlier.id))
    return _answer(cost, problems)


async def _earlier(resources: Resources, asked: MoneyRequest) -> Operation | None:
    async with resources.statements() as session:
        return await session.get(Operation, asked.operation_id)


def _as_decided(resources: Resources, asked: MoneyRequest, earlier: Operation, cost: Quote) -> PreflightAnswer:
    """The same request once more is answered as it was decided, whatever holds now."""
    decision = decision_of(earlier)
    if isinstance(decision, BorrowDecision) and decision.terms is not None:
        return _answer(decision.terms.quote, [], repeats=earlier.id)
    refusal = RefusalPayload.model_validate(earlier.refusal)
    return _answer(cost, [_problem(resources, asked, refusal, earlier.id)], repeats=earlier.id)


async def _authority(resources: Resources, asked: MoneyRequest, request: BorrowRequest) -> Authority:
    settings = resources.settings
    caller = select(Partner, ApiKey).outerjoin(ApiKey, ApiKey.id == asked.caller.api_key_id)
    async with resources.statements() as session:
        found = await session.execute(caller.where(Partner.id == asked.caller.partner_id))
        partner, key = found.one()
        refusals = list(standing_refusals(partner, key, Scope.BORROW, demands_clearance=settings.demands_clearance))
        try:
            grant = await live_grant(
                session, partner.id, request, chain_id=settings.chain_id, oaid_address=settings.oaid_address
            )
        except GrantRequired as required:
            return Authority(partner.fee_bps, None, [*refusals, required])
    return Authority(partner.fee_bps, grant, refusals)


async def _in_the_way(
    resources: Resources, asked: MoneyRequest, request: BorrowRequest, grant: CreditLineGrant | None
) -> list[Refused]:
    """What the chain says, then the loans and the limits of the rows.

    Without a grant it is the grant that is missing, and not also the proof that an administrator's record would be.
    """
    chain = await resources.engine_chain.get()
    view = await look_at_line(chain, request, UNKNOWN_POSITION if grant is None else grant.position_id)
    by_administrator = grant is None or grant.evidence_kind is GrantEvidence.ADMINISTRATOR
    position = (chain.chain_id, chain.vault_address, view.line.solvency_position_id)
    partner_id = asked.caller.partner_id
    async with resources.statements() as session:
        others = await other_loan_refusals(session, partner_id, request.partner_loan_id, position)
        _, limits = await see_limits_today(session, partner_id)
    return [
        *line_refusals(chain, view, request, by_administrator=by_administrator),
        *others,
        *limit_refusals(limits, request.amount),
    ]


def _once_each(refusals: list[Refused]) -> list[Refused]:
    """The chain and the rows may both know of one loan that is in the way; it is told of once."""
    return list({(type(refusal), refusal.detail): refusal for refusal in refusals}.values())


def _problem(
    resources: Resources, asked: MoneyRequest, refusal: RefusalPayload, operation_id: str | None = None
) -> Problem:
    return problem_of(refusal, resources.settings.problem_base, asked.trace_id, operation_id)


def _answer(cost: Quote, problems: list[Problem], repeats: str | None = None) -> PreflightAnswer:
    return PreflightAnswer(
        would_be_accepted=not problems, quote=QuoteAnswer.of(cost), problems=problems, repeats=repeats
    )
