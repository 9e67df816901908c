"""What a node's answer to a sent transaction means (money.md section 2).

Codes differ between nodes and between versions of one node, so the message decides. A row below is data: what to look
for, what it means, and which node says it. The first row that fits decides, so the narrower ones stand first. What fits
no row is UNKNOWN: maybe sent. No class ever means that a nonce is free again.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from chain.types import SendAnswer, SendError, SendOk, SendUnavailable


class SendClass(StrEnum):
    SENT = "SENT"
    RECONCILE = "RECONCILE"
    """The nonce is used: by one of our attempts, as its receipt will say, or by a thief."""
    OURS_IS_LIVE = "OURS_IS_LIVE"
    """Another attempt at this nonce waits in the pool."""
    REPRICE = "REPRICE"
    GAP = "GAP"
    """A lower nonce of ours is missing at this node."""
    FUNDS = "FUNDS"
    INVALID = "INVALID"
    """These bytes can never be mined."""
    STOP = "STOP"
    """The key or the chain is wrong: nothing more may be sent."""
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Rule:
    """``says`` is searched for in the message without regard to case."""

    says: str
    means: SendClass
    source: str


def _rules(means: SendClass, *rows: tuple[str, str]) -> tuple[Rule, ...]:
    return tuple(Rule(says, means, source) for says, source in rows)


RULES: tuple[Rule, ...] = (
    *_rules(
        SendClass.UNKNOWN, ("unknown transaction", "relays, of what they did not keep; it is no known transaction")
    ),
    *_rules(
        SendClass.SENT,
        ("already known", "geth, op-geth, bor, reth, erigon 3, nethermind"),
        ("alreadyknown", "nethermind"),
        ("known transaction", "geth before 1.9, besu, klaytn"),
        ("already imported", "anvil, openethereum"),
        ("alreadyimported", "substrate (moonbeam)"),
        ("existing tx with same hash", "erigon 2"),
        ("existing txn with same hash", "erigon 3"),
        ("already in mempool", "cosmos chains"),
        ("tx already in cache", "cosmos chains"),
        ("already in the pool", "zksync, reth"),
    ),
    *_rules(
        SendClass.OURS_IS_LIVE,
        ("replacement transaction underpriced", "geth, op-geth, besu, reth, nethermind"),
        ("replacement tx underpriced", "relays"),
        ("replacement fee too low", "infura"),
        ("replacementnotallowed", "nethermind"),
        ("ownnoncealreadyused", "nethermind"),
        ("insufficient gas price to replace existing transaction", "anvil"),
        ("could not replace existing tx", "erigon"),
        ("replaced by transaction with higher tip", "erigon"),
        ("another transaction with same nonce", "openethereum"),
        ("another tx which has the same nonce", "klaytn"),
        ("tx with same nonce already inserted", "conflux"),
    ),
    *_rules(
        SendClass.RECONCILE,
        ("nonce too low", "geth, op-geth, erigon, besu, reth, anvil, avalanche, zksync"),
        ("nonce is too low", "openethereum"),
        ("oldnonce", "nethermind"),
        ("below sender account nonce", "besu"),
        ("invalid transaction nonce", "arbitrum, which says so of a low and of a high one"),
        ("nonce has already been used", "hardhat, ethers relays"),
        ("too stale nonce", "conflux"),
        ("pool(stale)", "substrate (moonbeam)"),
        ("already finalized", "harmony"),
        ("already mined", "openethereum forks"),
    ),
    *_rules(
        SendClass.GAP,
        ("nonce too high", "geth, op-geth, erigon, anvil, arbitrum, zksync"),
        ("nonce is too high", "openethereum forks"),
        ("noncegap", "nethermind"),
        ("nonce gap", "nethermind, erigon"),
        ("noncetoofarinfuture", "nethermind"),
        ("nonce too far in the future", "nethermind"),
        ("nonce is too distant", "besu"),
        ("does not match sender account nonce", "besu"),
        ("gapped nonce", "geth"),
        ("gapped-nonce", "geth and op-geth, of an account with EIP-7702 code"),
    ),
    *_rules(
        SendClass.FUNDS,
        ("insufficient funds", "geth, op-geth, erigon, anvil, reth, arbitrum, klaytn, openethereum"),
        ("insufficientfunds", "nethermind"),
        ("insufficient balance", "openethereum, zksync"),
        ("not enough funds", "arbitrum"),
        ("doesn't have enough funds", "hardhat"),
        ("exceeds account balance", "besu"),
        ("exceeds transaction sender account balance", "besu"),
        ("would cause overdraft", "geth"),
        ("out of balance", "conflux"),
    ),
    *_rules(
        SendClass.INVALID,
        ("exceeds block gas limit", "geth, op-geth, erigon, besu, reth"),
        ("greater than the block gas limit", "anvil"),
        ("exceeds current gas limit", "openethereum"),
        ("gas limit is beyond", "openethereum"),
        ("gas is beyond limit", "openethereum"),
        ("gaslimitexceeded", "nethermind"),
        ("gas limit reached", "nethermind"),
        ("gas limit too high", "geth after EIP-7825"),
        ("intrinsic gas too low", "geth, op-geth, erigon, anvil, reth"),
        ("intrinsic gas too high", "anvil"),
        ("intrinsic gas exceeds", "besu"),
        ("not enough gas to cover minimal cost", "openethereum"),
        ("insufficient gas for", "op-geth of Mantle (l1Cost), geth (floor data gas)"),
        ("gas uint64 overflow", "geth, reth, anvil"),
        ("gasuintoverflow", "erigon"),
        ("intrinsicgas", "erigon"),
        ("rlptoolong", "erigon"),
        ("max priority fee per gas higher than max fee per gas", "geth, anvil"),
        ("oversized data", "geth, op-geth"),
        ("transaction type not supported", "geth"),
        ("negative value", "geth"),
        ("execution reverted", "arbitrum's sequencer"),
    ),
    *_rules(
        SendClass.STOP,
        ("invalid chain id", "geth, anvil, arbitrum, reth"),
        ("wrong chain id", "besu"),
        ("wrong chainid", "besu"),
        ("chain id mismatch", "reth"),
        ("incompatible eip-155", "anvil"),
        ("replay-protected", "geth"),
        ("invalid sender", "geth, op-geth, erigon"),
        ("invalid signature", "besu, openethereum"),
        ("failedtoresolvesender", "nethermind"),
        ("failed to recover sender", "nethermind"),
        ("sender not an eoa", "geth, anvil"),
        ("sender is not an eoa", "reth"),
        ("senderiscontract", "nethermind"),
        ("forbidden sender", "arbitrum"),
        ("sender account not authorized", "besu"),
        ("sender is banned", "openethereum"),
        ("in blacklist", "harmony"),
        ("nonce has max value", "geth"),
        ("exceeds the configured cap", "geth, whose operator caps the fee"),
        ("transaction fee cap exceeded", "besu"),
    ),
    *_rules(
        SendClass.REPRICE,
        ("max fee per gas less than block base fee", "geth, anvil, arbitrum, zksync"),
        ("fee cap less than block base fee", "geth 1.10"),
        ("below current base fee", "besu"),
        ("below configured minimum gas price", "besu"),
        ("gas price below minimum", "bor, op-geth of Mantle"),
        ("less than gas price minimum", "celo"),
        ("underpriced", "geth, op-geth, erigon, reth, nethermind, klaytn"),
        ("feetoolow", "nethermind"),
        ("fee too low", "erigon, nethermind"),
        ("gas price too low", "arbitrum, metis"),
        ("gas price is too low", "openethereum"),
        ("gas price supplied is too low", "openethereum"),
        ("fee is too low", "openethereum"),
        ("unacceptable gas price", "zksync"),
    ),
)


def classify(answer: SendAnswer) -> SendClass:
    match answer:
        case SendOk():
            return SendClass.SENT
        case SendUnavailable():
            return SendClass.UNKNOWN
        case SendError():
            return classify_message(answer.message)
        case _:
            assert_never(answer)


def classify_message(message: str) -> SendClass:
    lowered = message.lower()
    return next((rule.means for rule in RULES if rule.says in lowered), SendClass.UNKNOWN)
