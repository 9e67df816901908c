"""Whether a credit line carries a borrow: everything that the chain would refuse is refused here first, with a sentence."""

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
    WalletNotOwner,
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
        view = await self._view(asked)
        check_ownership(view, asked.request, by_administrator=asked.by_administrator, wallet=self._chain.wallet)
        self._check_operator(view)
        check_amount(view, asked.request.amount, self._chain.debt_ceiling)
        return CreditLineStanding(
            position_id=view.position_id,
            block_number=view.block.number,
            collateral_token=view.position.collateral_token,
            collateral_amount=view.position.collateral_amount,
            collateral_value=view.position.token_value_usd,
            credit_limit=view.line.credit_limit,
        )

    async def _view(self, asked: CheckCreditLine) -> CreditLineView:
        """One batch where the grant knows the position; another where the line has moved to a new one."""
        view = await self._read(asked.request, asked.position_id)
        if not view.line.exists:
            raise CreditLineNotFound(asked.request.oaid_token_id)
        if view.line.solvency_position_id != asked.position_id:
            return await self._read(asked.request, view.line.solvency_position_id)
        return view

    async def _read(self, request: BorrowRequest, position_id: int) -> CreditLineView:
        chain = self._chain
        block = await chain.client.head()
        owner = request.user_wallet
        line, available, position, plan, max_borrow, liquidity, pool_loan, approved = await chain.client.read(
            chain.oaid.get_credit_line(request.oaid_token_id),
            attempt(chain.oaid.get_available_credit(request.oaid_token_id)),
            chain.vault.get_position(position_id),
            chain.vault.get_repayment_plan(position_id),
            attempt(chain.vault.get_max_borrow(position_id)),
            chain.pool.get_available_liquidity(),
            chain.pool.loans(position_id),
            attempt(chain.vault.is_operator(owner, chain.wallet)),
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

    def _check_operator(self, view: CreditLineView) -> None:
        """The vault pays whom it trusts: the position's own user, or an operator whom that user approved."""
        if view.position.user == self._chain.wallet:
            return
        if not (self._chain.has_operator_path and view.operator_approved):
            raise OperatorNotApproved(view.position.user, self._chain.wallet)


def check_ownership(view: CreditLineView, request: BorrowRequest, *, by_administrator: bool, wallet: str) -> None:
    """The line is the user's, or the platform wallet holds it and an administrator has recorded whose it is."""
    held_for_user = view.line.user == wallet and by_administrator
    if view.line.user != request.user_wallet and not held_for_user:
        raise WalletNotOwner(request.oaid_token_id, request.user_wallet)
    if not view.line.active or view.line.liquidated or not view.position.active:
        raise CreditLineInactive(request.oaid_token_id)


def check_amount(view: CreditLineView, amount: int, debt_ceiling: int) -> None:
    """Raises the first limit that binds, the line's own before the position's and the pool's."""
    if view.plan.is_active or view.pool_loan.active or view.pool_loan.principal > 0:
        raise PlanAlreadyActive(view.position_id)
    if amount > view.available_credit:
        raise InsufficientCredit(view.available_credit, amount)
    if amount > view.max_borrow:
        raise LtvExceeded(view.max_borrow, amount)
    if amount > debt_ceiling:
        raise DebtCeilingExceeded(debt_ceiling, amount)
    if amount > view.liquidity:
        raise InsufficientLiquidity(view.liquidity, amount)
