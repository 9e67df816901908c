"""Other transactions at the nonce of a leg: more attempts of ours, as a lane stores them, and one that is not ours."""

from chain.codec import checksum
from chain.signer import SignedTransaction, UnsignedTransaction
from chain.types import Wei
from models.statuses import AttemptKind
from models.tables.transactions import ChainAttempt, ChainTransaction
from tests.faults.lanes.yard import Yard

_SELF_TRANSFER_GAS = 21_000


async def store_rival(yard: Yard, leg: ChainTransaction, best: ChainAttempt, kind: AttemptKind) -> ChainAttempt:
    """A further attempt at the nonce of a leg, with fees a fifth above those of its best one, stored and not sent."""
    nonce, desk = leg.nonce, yard.desk
    assert nonce is not None, "a leg without a nonce has no rivals"
    fees = Wei(best.max_fee_per_gas * 6 // 5 + 1), Wei(best.max_priority_fee_per_gas * 6 // 5 + 1)
    unsigned = UnsignedTransaction(
        desk.config.chain_id,
        nonce,
        desk.wallet if kind is AttemptKind.CANCEL else checksum(leg.target or ""),
        b"" if kind is AttemptKind.CANCEL else bytes(leg.calldata or b""),
        Wei(0),
        _SELF_TRANSFER_GAS if kind is AttemptKind.CANCEL else best.gas,
        *fees,
    )
    signed = await desk.signer.sign(unsigned)
    attempt = ChainAttempt(
        hash=signed.hash,
        transaction_id=leg.id,
        kind=kind,
        raw=signed.raw,
        gas=unsigned.gas,
        max_fee_per_gas=fees[0],
        max_priority_fee_per_gas=fees[1],
    )
    async with desk.transaction() as session:
        session.add(attempt)
    return attempt


async def foreign(yard: Yard, nonce: int, fee: Wei) -> SignedTransaction:
    """A transaction that the engine never made, signed with the wallet's key, that moves no USDC. ``fee`` is wei per gas."""
    desk = yard.desk
    return await desk.signer.sign(
        UnsignedTransaction(desk.config.chain_id, nonce, desk.wallet, b"", Wei(1), _SELF_TRANSFER_GAS, fee, fee)
    )
