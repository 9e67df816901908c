"""The ``loans`` role put together: every activity with its clients, and the workers that serve them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import Worker, WorkerDeploymentConfig

from activities.breakage import BreakageInterceptor
from activities.credit_lines import CreditLineActivities
from activities.fees import FeeActivities
from activities.funding import FundingActivities
from activities.installments import InstallmentActivities
from activities.limits import LimitActivities
from activities.loans import LoanActivities
from activities.log_context import LogContextInterceptor
from activities.operators import OperatorActivities
from activities.outside import OutsideActivities
from activities.partners import PartnerActivities
from activities.positions import PositionActivities
from activities.reconciliation import ReconciliationActivities
from activities.refusals import RefusalInterceptor
from activities.repayments import RepaymentActivities
from activities.request_months import RequestMonths
from activities.reviews import ReviewActivities
from activities.rollups import Rollups
from activities.settlement import SettlementActivities
from activities.settlement_changes import SettlementChanges
from activities.sweeps import SweepActivities
from activities.transactions import TransactionActivities
from activities.upkeep import UpkeepActivities, UpkeepPart
from activities.webhooks.deliveries import WebhookActivities
from activities.webhooks.dispatcher import Dispatcher
from activities.webhooks.transport import Transport
from chain.engine_chain import EngineChain
from chain.waiter import LegWaiter
from models.sealing import Sealer
from models.statuses import OperationKind
from models.tables.session import Transaction, transactions
from settings import Settings
from workflows.borrow import BorrowWorkflow
from workflows.deliver_webhook import DeliverWebhookWorkflow
from workflows.operate import OperateWorkflow
from workflows.options import LOANS_QUEUE, WAITING_QUEUE, WEBHOOKS_QUEUE
from workflows.pinned import PinnedBorrowWorkflow, PinnedRepayWorkflow
from workflows.reconcile import AuditWorkflow, ReconcileWorkflow
from workflows.repay import RepayWorkflow
from workflows.service_loans import ServiceLoansWorkflow
from workflows.sweep import SweepWorkflow
from workflows.sync_positions import SyncPositionsWorkflow
from workflows.upkeep import UpkeepWorkflow

WAITING_SLOTS = 5_000
STEP_SLOTS = 100
DELIVERY_SLOTS = 2_000
"""Far more than the places of any endpoint, so that slow ones do not fill them (activities/webhooks/gate.py)."""
GRACE = timedelta(seconds=20)

OPERATIONS = (BorrowWorkflow, RepayWorkflow)
PINNED_OPERATIONS = (PinnedBorrowWorkflow, PinnedRepayWorkflow)
WORKFLOWS = (
    AuditWorkflow,
    OperateWorkflow,
    ReconcileWorkflow,
    ServiceLoansWorkflow,
    SweepWorkflow,
    SyncPositionsWorkflow,
    UpkeepWorkflow,
)
STORIES = {OperationKind.BORROW: BorrowWorkflow.__name__, OperationKind.REPAY: RepayWorkflow.__name__}


@dataclass(frozen=True)
class Parts:
    """What the roles are built from."""

    settings: Settings
    database: AsyncEngine
    chain: EngineChain


def upkeep_parts(transaction: Transaction, settings: Settings) -> tuple[UpkeepPart, ...]:
    """What ``UpkeepWorkflow`` does, in this order; each part by itself."""
    months = RequestMonths(transaction, settings.request_log_months)
    return (
        UpkeepPart("request log: months to come", months.make),
        UpkeepPart("request log: months to drop", months.drop),
        UpkeepPart("settlement addresses that are due", SettlementChanges(transaction).apply_due),
        UpkeepPart("administrators' figures", Rollups(transaction).roll_all_up),
    )


def deployment(settings: Settings) -> WorkerDeploymentConfig | None:
    """The build that these workers are, where they are versioned: what its class does not pin moves on to the current one.

    So what the clock starts is never left behind on a build whose workers are gone, where it would hold up its schedule.
    """
    if settings.worker_deployment is None or settings.build_id is None:
        return None
    return WorkerDeploymentConfig(
        WorkerDeploymentVersion(settings.worker_deployment, settings.build_id),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
    )


def loans_workers(temporal: Client, parts: Parts, waiter: LegWaiter) -> tuple[Worker, Worker]:
    """The ``loans`` role: workflows with their steps, and apart from them what waits for the chain."""
    transaction, chain, settings = transactions(parts.database), parts.chain, parts.settings
    legs = TransactionActivities(transaction, chain, waiter)
    funding = FundingActivities(transaction, chain)
    loans = LoanActivities(transaction)
    installments = InstallmentActivities(transaction, chain, settings.installment_notice)
    limits = LimitActivities(transaction, chain, settings.pace, settings.residue_cap)
    operators = OperatorActivities(transaction, chain)
    outside = OutsideActivities(transaction, chain)
    partners = PartnerActivities(
        transaction, chain.chain_id, chain.oaid_address, demands_clearance=settings.demands_clearance
    )
    positions = PositionActivities(transaction, chain)
    reconciliation = ReconciliationActivities(transaction, chain)
    repayments = RepaymentActivities(transaction, chain, settings.pace, settings.residue_cap)
    reviews = ReviewActivities(transaction)
    sweeps = SweepActivities(transaction, temporal, STORIES, LOANS_QUEUE, settings.give_up_after)
    upkeep = UpkeepActivities(transaction, upkeep_parts(transaction, settings))
    steps: list[Callable[..., Any]] = [
        CreditLineActivities(chain).check_credit_line,
        FeeActivities().calculate_fee,
        positions.read_debt,
        positions.read_residue,
        funding.check_funding,
        legs.submit_transaction,
        limits.release_limit,
        limits.reserve_limit,
        loans.activate_loan,
        loans.move_to_suspense,
        loans.open_operation,
        loans.record_borrow,
        loans.refuse_borrow,
        loans.reverse_loan,
        operators.cancel_leg,
        operators.carry_out,
        operators.lead_out_of_hold,
        operators.record_action,
        partners.authorize_partner,
        partners.authorize_repayment,
        reconciliation.conclude,
        repayments.accept_repayment,
        repayments.apply_repayment,
        repayments.claim_transfer,
        repayments.close_uncollected,
        repayments.find_loan,
        repayments.open_repayment,
        repayments.record_collection,
        repayments.refuse_repayment,
        reviews.end_review,
        reviews.mark_under_review,
        reviews.request_cancel,
    ]
    waits: list[Callable[..., Any]] = [
        SettlementActivities(chain).await_settlement,
        funding.await_transfer,
        installments.service_loans,
        legs.confirm_transaction,
        outside.follow_positions,
        reconciliation.look,
        sweeps.sweep,
        upkeep.upkeep,
    ]
    build = deployment(settings)
    interceptors = [LogContextInterceptor(), RefusalInterceptor(), BreakageInterceptor(transaction)]
    stories = Worker(
        temporal,
        task_queue=LOANS_QUEUE,
        workflows=WORKFLOWS + (OPERATIONS if build is None else PINNED_OPERATIONS),
        activities=steps,
        interceptors=interceptors,
        max_concurrent_activities=STEP_SLOTS,
        max_concurrent_local_activities=STEP_SLOTS,
        graceful_shutdown_timeout=GRACE,
        deployment_config=build,
    )
    waiting = Worker(
        temporal,
        task_queue=WAITING_QUEUE,
        activities=waits,
        interceptors=interceptors,
        max_concurrent_activities=WAITING_SLOTS,
        deployment_config=build,
    )
    return stories, waiting


def webhooks_worker(
    temporal: Client, settings: Settings, database: AsyncEngine, sealer: Sealer, transport: Transport
) -> Worker:
    """The ``webhooks`` role's workflows and tries."""
    transaction = transactions(database)
    deliveries = WebhookActivities(transaction, transport, sealer, settings.webhook_disable_after)
    return Worker(
        temporal,
        task_queue=WEBHOOKS_QUEUE,
        workflows=[DeliverWebhookWorkflow],
        activities=[deliveries.attempt_delivery],
        interceptors=[LogContextInterceptor(), BreakageInterceptor(transaction)],
        max_concurrent_activities=DELIVERY_SLOTS,
        graceful_shutdown_timeout=GRACE,
    )


def dispatcher(temporal: Client, database: AsyncEngine) -> Dispatcher:
    workflow = DeliverWebhookWorkflow.__name__
    return Dispatcher(transactions(database), database.url, temporal, workflow, WEBHOOKS_QUEUE)
