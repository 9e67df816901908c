"""A solvency position: what the chain says of it, and which part of its debt came through the engine."""

from api.answers import PositionAnswer, RepaymentPlanAnswer
from api.credit_lines import as_of, moment
from api.resources import Resources
from chain.codec import attempt
from chain.contracts.senior_pool import SeniorPool
from chain.contracts.solvency_vault import RepaymentPlan, SolvencyVault
from chain.errors import Reverted
from models.errors import PositionNotFound
from models.tables.loans import SolvencyPosition


async def read_position(resources: Resources, position_id: int) -> PositionAnswer:
    """One batch of reads at one block, then the rows. Raises PositionNotFound."""
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
    partners, outside = await _debts(resources, position_id)
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
        total_partner_debt=str(partners),
        outside_debt=None if outside is None else str(outside),
        plan=_plan(plan),
        **as_of(head),
    )


async def _debts(resources: Resources, position_id: int) -> tuple[int, int | None]:
    """By the rows, which follow the chain: owed through the engine, and else. No loan was ever made on what has no row."""
    settings = resources.settings
    key = (settings.chain_id, settings.vault_address, position_id)
    async with resources.statements() as session:
        row = await session.get(SolvencyPosition, key)
    return (0, None) if row is None else (row.total_partner_debt, row.outside_debt)


def _plan(plan: RepaymentPlan) -> RepaymentPlanAnswer:
    return RepaymentPlanAnswer(
        active=plan.is_active,
        defaulted=plan.defaulted,
        loan_duration=plan.loan_duration,
        number_of_installments=plan.number_of_installments,
        installments_paid=plan.installments_paid,
        missed_payments=plan.missed_payments,
        next_payment_due=moment(plan.next_payment_due) if plan.next_payment_due else None,
    )
