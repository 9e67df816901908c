"""The signers and their nonces, as the rows have them, against what the chain has used."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from chain.types import Market
from metrics import catalogue
from metrics.samples import Sample

_SIGNERS = text(
    """
    SELECT signer.address, signer.paused_at IS NOT NULL AS paused, signer.next_nonce,
        extract(epoch FROM clock_timestamp() - signer.lane_beat_at) AS beat_age,
        (SELECT count(*) FROM chain_transactions AS leg WHERE leg.chain_id = signer.chain_id
            AND leg.signer = signer.address AND leg.nonce >= :used) AS given_out
    FROM chain_signers AS signer
    """
)


async def read_signers(session: AsyncSession, wallet: str, market: Market | None) -> Sequence[Sample]:
    """``market`` is older than the session's snapshot: so the lane is never behind the chain because of our looking."""
    samples: list[Sample] = []
    used = 0 if market is None else market.nonce
    for signer in await session.execute(_SIGNERS, {"used": used}):
        samples.append(Sample(catalogue.SIGNER_PAUSED, int(signer.paused), (signer.address,)))
        if signer.beat_age is not None:
            samples.append(Sample(catalogue.LANE_BEAT_AGE, max(signer.beat_age, Decimal()), (signer.address,)))
        if market is not None and signer.address == wallet:
            samples += _nonces(signer, used)
    return samples


def _nonces(signer: Any, used: int) -> Sequence[Sample]:
    """Nonces from the chain's next one on are each held by a leg. One that is held by none was lost, or used by another."""
    in_flight = signer.next_nonce - used
    missing = -in_flight if in_flight < 0 else in_flight - signer.given_out
    return [
        Sample(catalogue.NONCES_IN_FLIGHT, in_flight, (signer.address,)),
        Sample(catalogue.NONCES_MISSING, missing, (signer.address,)),
    ]
