"""What anybody may read of the chain: credit lines and positions are public there, and here they are only put into words."""

from datetime import UTC, datetime

from fastapi import APIRouter

from api.answers import CreditLineAnswer, PositionAnswer, RepaymentPlanAnswer
from api.deps import OnChainId, ResourcesDep
from api.docs import ON_CHAIN, PUBLIC, problems
from api.errors import InternalError, InvalidRequest, NotThere
from api.gate import PublicRoute
from chain.codec import attempt
from chain.contracts.oaid import Oaid
from chain.contracts.senior_pool import SeniorPool
from chain.contracts.solvency_vault import RepaymentPlan, SolvencyVault
from chain.errors import Reverted
from models.errors import CreditLineNotFound, PositionNotFound

router = APIRouter(prefix="/v1", tags=["chain"], route_class=PublicRoute)


@router.get(
    "/credit-lines/{oaid_token_id}",
    operation_id="getCreditLine",
    summary="A credit line as the chain has it",
    responses=problems(InvalidRequest, InternalError, *PUBLIC, *ON_CHAIN, also=((CreditLineNotFound, 404),)),
)
async def get_credit_line(oaid_token_id: OnChainId, resources: ResourcesDep) -> CreditLineAnswer:
    oaid = Oaid(resources.settings.oaid_address)
    head = await resources.chain.head()
    line, available = await resources.chain.read(
        oaid.get_credit_line(oaid_token_id), attempt(oaid.get_available_credit(oaid_token_id)), block=head.number
    )
    if not line.exists:
        raise NotThere(CreditLineNotFound(oaid_token_id))
    return CreditLineAnswer(
        oaid_token_id=str(oaid_token_id),
        user_wallet=line.user,
        position_id=str(line.solvency_position_id),
        collateral_token=line.collateral_token,
        collateral_amount=str(line.collateral_amount),
        credit_limit=str(line.credit_limit),
        credit_used=str(line.credit_used),
        available_credit="0" if isinstance(available, Reverted) else str(available),
        active=line.active,
        liquidated=line.liquidated,
        issued_at=_moment(line.issued_at),
        total_payments=line.total_payments,
        on_time_payments=line.on_time_payments,
        late_payments=line.late_payments,
        total_amount_repaid=str(line.total_amount_repaid),
        as_of_block=head.number,
        as_of=_moment(head.timestamp),
    )


@router.get(
    "/positions/{position_id}",
    operation_id="getPosition",
    summary="A solvency position, its debt and its plan",
    responses=problems(InvalidRequest, PositionNotFound, InternalError, *PUBLIC, *ON_CHAIN),
)
async def get_position(position_id: OnChainId, resources: ResourcesDep) -> PositionAnswer:
    vault, pool = SolvencyVault(resources.settings.vault_address), SeniorPool(resources.settings.pool_address)
    head = await resources.chain.head()
    position, plan, debt, outstanding, max_borrow, health = await resources.chain.read(
        vault.get_position(position_id),
        vault.get_repayment_plan(position_id),
        pool.loans(position_id),
        pool.get_outstanding_debt(position_id),
        attempt(vault.get_max_borrow(position_id)),
        attempt(vault.get_health_factor(position_id)),
        block=head.number,
    )
    if position.created_at == 0:
        raise PositionNotFound(position_id)
    return PositionAnswer(
        position_id=str(position_id),
        user_wallet=position.user,
        oaid_token_id=str(position.credit_line_id) if position.credit_line_id else None,
        collateral_token=position.collateral_token,
        collateral_amount=str(position.collateral_amount),
        collateral_value=str(position.token_value_usd),
        token_type=position.token_type,
        active=position.active,
        principal=str(debt.principal),
        outstanding=str(outstanding),
        max_borrow=None if isinstance(max_borrow, Reverted) else str(max_borrow),
        health_factor_bps=None if isinstance(health, Reverted) or outstanding == 0 else str(health),
        plan=_plan(plan),
        as_of_block=head.number,
        as_of=_moment(head.timestamp),
    )


def _plan(plan: RepaymentPlan) -> RepaymentPlanAnswer:
    return RepaymentPlanAnswer(
        active=plan.is_active,
        defaulted=plan.defaulted,
        loan_duration=plan.loan_duration,
        number_of_installments=plan.number_of_installments,
        installments_paid=plan.installments_paid,
        missed_payments=plan.missed_payments,
        next_payment_due=_moment(plan.next_payment_due) if plan.next_payment_due else None,
    )


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
