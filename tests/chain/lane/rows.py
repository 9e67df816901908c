"""What a leg hangs on: rows of a partner, its grant, a position, a loan and money that came in; and the chain of an engine."""

from datetime import datetime

from eth_typing import ChecksumAddress

from chain.engine_chain import EngineChain
from chain.finality import Finality
from chain.lane_config import LaneConfig
from models import accounts
from models.statuses import GrantEvidence, LedgerKind, LoanStatus, PartnerStatus, PartnerTier
from models.tables.book import Entry
from models.tables.loans import Loan, SolvencyPosition
from models.tables.partners import CreditLineGrant, Partner
from tests.chain.world import DAY, USD, World

CHAIN_ID = 31337


def inflow_row(operation_id: str, amount: int, account: str) -> Entry:
    return Entry(
        kind=LedgerKind.BORROW,
        debit=accounts.PLATFORM_WALLET,
        credit=account,
        amount=amount,
        operation_id=operation_id,
    )


def partner_row(partner_id: str, settlement: str) -> Partner:
    return Partner(
        id=partner_id,
        name=partner_id,
        status=PartnerStatus.ACTIVE,
        tier=PartnerTier.BASIC,
        fee_bps=50,
        daily_borrow_limit=10**12,
        total_borrow_limit=10**12,
        settlement_address=settlement,
        kyc_verified=True,
        contract_signed=True,
    )


def grant_row(partner_id: str, position: int, wallet: str, expires_at: datetime) -> CreditLineGrant:
    return CreditLineGrant(
        id=f"grant-{partner_id}",
        partner_id=partner_id,
        chain_id=CHAIN_ID,
        oaid_address=wallet,
        oaid_token_id=1,
        position_id=position,
        user_wallet=wallet,
        max_amount=10**12,
        expires_at=expires_at,
        evidence_kind=GrantEvidence.ADMINISTRATOR,
        evidence={},
    )


def position_row(config: LaneConfig, position: int, wallet: str) -> SolvencyPosition:
    return SolvencyPosition(
        chain_id=config.chain_id,
        vault_address=config.vault,
        position_id=position,
        oaid_token_id=1,
        user_wallet=wallet,
        collateral_token=wallet,
        collateral_amount=1,
        collateral_value=1,
        credit_limit=1,
        seen_at_block=1,
    )


def loan_row(config: LaneConfig, operation_id: str, partner_id: str, position: int, settlement: str) -> Loan:
    return Loan(
        id=f"loan-{partner_id}",
        operation_id=operation_id,
        partner_id=partner_id,
        partner_loan_id="L1",
        user_wallet=config.wallet,
        oaid_token_id=1,
        chain_id=config.chain_id,
        vault_address=config.vault,
        position_id=position,
        status=LoanStatus.PENDING,
        principal=1_000 * USD,
        fee=5 * USD,
        payout=995 * USD,
        settlement_address=settlement,
        loan_duration=90 * DAY,
        number_of_installments=3,
        grant_id=f"grant-{partner_id}",
    )


def engine_chain(world: World, wallet: ChecksumAddress, finality: Finality) -> EngineChain:
    """The chain as the activities of an engine with this wallet see it."""
    return EngineChain(
        client=world.client,
        chain_id=CHAIN_ID,
        usdc_address=world.contracts.usdc,
        oaid_address=world.contracts.oaid,
        vault_address=world.contracts.vault,
        pool_address=world.contracts.pool,
        wallet=wallet,
        probe_address=wallet,
        debt_ceiling=10**12,
        finality=finality,
        has_operator_path=True,
    )
