"""Invariants 5 and 6: a leg succeeds once, and a signer's nonces are a sequence without a gap, each of them ours."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from activities.audit.evidence import Evidence
from activities.audit.findings import Finding
from chain.engine_chain import EngineChain
from models.statuses import TransactionState
from models.tables.transactions import ChainSigner, ChainTransaction


async def check_one_success(session: AsyncSession) -> Finding:
    """``settle`` and ``unwind`` count as one leg: what was paid out is not given back as well."""
    finding = Finding(5, "at most one FINAL_OK per operation and leg, settle and unwind being one")
    succeeded = ChainTransaction.state == TransactionState.FINAL_OK
    key = (ChainTransaction.operation_id, ChainTransaction.exclusive_leg)
    ids = func.array_agg(ChainTransaction.id)
    twice = select(*key, ids).where(succeeded).group_by(*key).having(func.count() > 1)
    for operation_id, leg, rows in await session.execute(twice):
        detail = f"{leg} of {operation_id} succeeded {len(rows)} times"
        finding.broken(f"{operation_id}/{leg}", detail, *(f"chain_transactions {row}" for row in sorted(rows)))
    legs = select(*key).where(succeeded).distinct().subquery()
    different = await session.scalar(select(func.count()).select_from(legs))
    final = await session.scalar(select(func.count()).select_from(ChainTransaction).where(succeeded))
    finding.compare("legs that succeeded", different or 0, final or 0)
    return finding


async def check_nonces(session: AsyncSession, chain: EngineChain, evidence: Evidence) -> Finding:
    finding = Finding(6, "nonces from first_nonce up to next_nonce are contiguous, each ours")
    for signer in await session.scalars(select(ChainSigner).order_by(ChainSigner.chain_id, ChainSigner.address)):
        await _check_sequence(session, finding, signer)
        if (signer.chain_id, signer.address) == (chain.chain_id, chain.wallet):
            await _check_chain(session, finding, signer, evidence)
    return finding


async def _check_sequence(session: AsyncSession, finding: Finding, signer: ChainSigner) -> None:
    given = select(ChainTransaction.nonce).where(
        ChainTransaction.chain_id == signer.chain_id,
        ChainTransaction.signer == signer.address,
        ChainTransaction.nonce.is_not(None),
    )
    row = f"chain_signers {signer.chain_id}/{signer.address}"
    count = await session.scalar(select(func.count()).select_from(given.subquery()))
    finding.compare(f"nonces that {signer.address} gave out", signer.next_nonce - signer.first_nonce, count or 0)
    all_of_them = select(func.generate_series(signer.first_nonce, signer.next_nonce - 1).label("nonce"))
    for (nonce,) in await session.execute(all_of_them.except_(given).order_by("nonce")):
        finding.broken(f"{signer.address}/{nonce}", f"nonce {nonce} of {signer.address} belongs to no leg", row)
    for (nonce,) in await session.execute(given.except_(all_of_them)):
        finding.broken(f"{signer.address}/{nonce}", f"nonce {nonce} of {signer.address} was never given out", row)


async def _check_chain(session: AsyncSession, finding: Finding, signer: ChainSigner, evidence: Evidence) -> None:
    """The chain may have seen fewer transactions than were made, but none that were not, and no fewer than are final."""
    subject, row = f"{signer.address}/chain", f"chain_signers {signer.chain_id}/{signer.address}"
    mined = select(func.max(ChainTransaction.nonce)).where(
        ChainTransaction.chain_id == signer.chain_id,
        ChainTransaction.signer == signer.address,
        ChainTransaction.state.startswith("FINAL"),
        ChainTransaction.result_block <= evidence.block.number,
    )
    last = await session.scalar(mined)
    least = signer.first_nonce if last is None else last + 1
    if evidence.nonce > signer.next_nonce:
        detail = f"{signer.address} has sent {evidence.nonce} transactions, and the engine made {signer.next_nonce}"
        finding.broken(subject, detail, row)
    elif evidence.nonce < least:
        detail = f"{signer.address} has sent {evidence.nonce} transactions, and nonce {least - 1} is said to be mined"
        finding.broken(subject, detail, row)
    within = min(max(evidence.nonce, least), signer.next_nonce)
    finding.compare(f"transactions of {signer.address} on chain", within, evidence.nonce)
