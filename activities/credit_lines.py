"""Whether a credit line carries a borrow: everything that the chain would refuse is refused here first, with a sentence."""

from collections.abc import Iterator
from dataclasses import dataclass

from temporalio import activity

from chain.codec import attempt
from chain.contracts.oaid import CreditLine
from chain.contracts.senior_pool import LoanState
from chain.contracts.solvency_vault import Position, RepaymentPlan
from chain.engine_chain import EngineChain
from chain.types import Block
from models.errors import (
    CreditLineInactive,
    CreditLineNotFound,
    DebtCeilingExceeded,
    InsufficientCredit,
    InsufficientLiquidity,
    LtvExceeded,
    OperatorNotApproved,
    PlanAlreadyActive,
    Refused,
    WalletNotOwner,
    raise_first,
)
from models.messages.borrow import BorrowRequest, CheckCreditLine, CreditLineStanding


@dataclass(frozen=True)
class CreditLineView:
    """A credit line and all that stands behind it, as one block shows it. Amounts are base units."""

    block: Block
    position_id: int
    line: CreditLine
    available_credit: int
    position: Position
    plan: RepaymentPlan
    max_borrow: int
    liquidity: int
    pool_loan: LoanState
    operator_approved: bool


class CreditLineActivities:
    def __init__(self, chain: EngineChain) -> None:
        self._chain = chain

    @activity.defn
    async def check_credit_line(self, asked: CheckCreditLine) -> CreditLineStanding:
        """Raises the refusal that a borrow on this line would meet on chain; RpcUnavailable where the node is away."""
        view = await look_at_line(self._chain, asked.request, asked.position_id)
        raise_first(line_refusals(self._chain, view, asked.request, by_administrator=asked.by_administrator))
        return CreditLineStanding(
            position_id=view.position_id,
            block_number=view.block.number,
            collateral_token=view.position.collateral_token,
            collateral_amount=view.position.collateral_amount,
            collateral_value=view.position.token_value_usd,
            credit_limit=view.line.credit_limit,
        )


async def look_at_line(chain: EngineChain, request: BorrowRequest, position_id: int) -> CreditLineView:
    """The line as the newest block has it, or what the chain answers where it knows none: zeros.

    One batch where ``position_id`` is the line's; another where it is not, since the line has moved to a new one.
    """
    view = await _read(chain, request, position_id)
    if view.line.exists and view.line.solvency_position_id != position_id:
        return await _read(chain, request, view.line.solvency_position_id)
    return view


def line_refusals(
    chain: EngineChain, view: CreditLineView, request: BorrowRequest, *, by_administrator: bool
) -> Iterator[Refused]:
    """All that stands against this borrow on the chain's side. The first is what a run raises, preflight shows all.

    ``by_administrator``: the grant is an administrator's record, which alone says whose a line is that the platform
    wallet holds.
    """
    if not view.line.exists:
        yield CreditLineNotFound(request.oaid_token_id)
        return
    yield from _of_ownership(view, request, by_administrator=by_administrator, wallet=chain.wallet)
    yield from _of_operator(chain, view)
    yield from _of_amount(view, request.amount, chain.debt_ceiling)


async def _read(chain: EngineChain, request: BorrowRequest, position_id: int) -> CreditLineView:
    block = await chain.client.head()
    line, available, position, plan, max_borrow, liquidity, pool_loan, approved = await chain.client.read(
        chain.oaid.get_credit_line(request.oaid_token_id),
        attempt(chain.oaid.get_available_credit(request.oaid_token_id)),
        chain.vault.get_position(position_id),
        chain.vault.get_repayment_plan(position_id),
        attempt(chain.vault.get_max_borrow(position_id)),
        chain.pool.get_available_liquidity(),
        chain.pool.loans(position_id),
        attempt(chain.vault.is_operator(request.user_wallet, chain.wallet)),
        block=block.number,
    )
    return CreditLineView(
        block=block,
        position_id=position_id,
        line=line,
        available_credit=available if isinstance(available, int) else 0,
        position=position,
        plan=plan,
        max_borrow=max_borrow if isinstance(max_borrow, int) else 0,
        liquidity=liquidity,
        pool_loan=pool_loan,
        operator_approved=approved is True,
    )


def _of_ownership(
    view: CreditLineView, request: BorrowRequest, *, by_administrator: bool, wallet: str
) -> Iterator[Refused]:
    """The line is the user's, or the platform wallet holds it and an administrator has recorded whose it is."""
    held_for_user = view.line.user == wallet and by_administrator
    if view.line.user != request.user_wallet and not held_for_user:
        yield WalletNotOwner(request.oaid_token_id, request.user_wallet)
    if not view.line.active or view.line.liquidated or not view.position.active:
        yield CreditLineInactive(request.oaid_token_id)


def _of_operator(chain: EngineChain, view: CreditLineView) -> Iterator[Refused]:
    """The vault pays whom it trusts: the position's own user, or an operator whom that user approved."""
    if view.position.user == chain.wallet:
        return
    if not (chain.has_operator_path and view.operator_approved):
        yield OperatorNotApproved(view.position.user, chain.wallet)


def _of_amount(view: CreditLineView, amount: int, debt_ceiling: int) -> Iterator[Refused]:
    """The limits that bind, the line's own before the position's and the pool's."""
    if view.plan.is_active or view.pool_loan.active or view.pool_loan.principal > 0:
        yield PlanAlreadyActive(view.position_id)
    if amount > view.available_credit:
        yield InsufficientCredit(view.available_credit, amount)
    if amount > view.max_borrow:
        yield LtvExceeded(view.max_borrow, amount)
    if amount > debt_ceiling:
        yield DebtCeilingExceeded(debt_ceiling, amount)
    if amount > view.liquidity:
        yield InsufficientLiquidity(view.liquidity, amount)
