"""Invariant 3, the other end of it: USDC went to whom the rows name, and not only in the right amount.

A leg carries its own recipient, so a leg alone cannot show that somebody changed where it pays. The loan, the repayment
and the inbound transfer say it once more, and the registered addresses say whose a loan's address is.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Select, case, exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from activities.audit.evidence import Evidence
from activities.audit.findings import Finding
from chain.engine_chain import EngineChain
from models.ids import leg_id
from models.statuses import LegName, TransactionState
from models.tables.loans import Loan, Repayment
from models.tables.partners import SettlementAddress
from models.tables.transactions import ChainTransaction, InboundTransfer

_ROWS_AT_A_TIME = 1_000


async def check_parties(session: AsyncSession, chain: EngineChain, evidence: Evidence, finding: Finding) -> None:
    """Adds to the finding about invariant 3."""
    rows = await session.stream(_legs(chain, evidence), execution_options={"yield_per": _ROWS_AT_A_TIME})
    async for row in rows:
        _check_leg(finding, row, [each.party for each in evidence.movements.get(row.result_tx_hash, ())])
    await _check_addresses(session, finding)


def _legs(chain: EngineChain, evidence: Evidence) -> Select[*tuple[Any, ...]]:
    """Each final payout, pull and refund, with the address that the rows name for it."""
    settled = select(Loan.settlement_address).where(Loan.operation_id == ChainTransaction.operation_id)
    repaid = select(Repayment.payer).where(Repayment.operation_id == ChainTransaction.operation_id)
    unclaimed = select(InboundTransfer.sender).where(
        InboundTransfer.refund_operation_id == ChainTransaction.operation_id
    )
    named = case(
        (ChainTransaction.leg == LegName.SETTLE, settled.scalar_subquery()),
        else_=func.coalesce(repaid.scalar_subquery(), unclaimed.scalar_subquery()),
    )
    return select(
        ChainTransaction.id,
        ChainTransaction.operation_id,
        ChainTransaction.leg,
        ChainTransaction.generation,
        ChainTransaction.result_tx_hash,
        named.label("named"),
    ).where(
        ChainTransaction.chain_id == chain.chain_id,
        ChainTransaction.signer == chain.wallet,
        ChainTransaction.state == TransactionState.FINAL_OK,
        ChainTransaction.leg.in_([LegName.SETTLE, LegName.COLLECT, LegName.REFUND]),
        ChainTransaction.result_block.between(evidence.first_block, evidence.block.number),
    )


def _check_leg(finding: Finding, row: Row[*tuple[Any, ...]], parties: Sequence[str]) -> None:
    wrong = sorted({party for party in parties if party != row.named})
    if wrong:
        name = leg_id(row.operation_id, row.leg, row.generation)
        detail = f"{name} is with {row.named} by the rows, and {row.result_tx_hash} moved USDC with {', '.join(wrong)}"
        out = row.leg != LegName.COLLECT
        finding.broken(f"{name}/party", detail, f"chain_transactions {row.id}", pauses_signer=out)


async def _check_addresses(session: AsyncSession, finding: Finding) -> None:
    registered = exists().where(
        SettlementAddress.address == Loan.settlement_address, SettlementAddress.partner_id == Loan.partner_id
    )
    rows = (await session.execute(select(Loan.id, Loan.settlement_address).where(~registered))).all()
    for loan_id, address in rows:
        detail = f"{loan_id} pays to {address}, which is no address of its partner"
        finding.broken(f"{loan_id}/address", detail, f"loans {loan_id}")
    finding.compare("loans that pay to no address of their partner", 0, len(rows))
