"""Real answers of real nodes to eth_sendRawTransaction, and what they mean."""

import pytest

from chain.classifier import RULES, SendClass, classify
from chain.types import SendError, SendOk, SendUnavailable, TxHash

CORPUS: list[tuple[SendClass, str, str]] = [
    (SendClass.SENT, "geth", "already known"),
    (
        SendClass.SENT,
        "geth before 1.9",
        "known transaction: 1b7ae6a3c33c5b4ba84b4a4a4b7ee9bd0f8a2a4e0d2b5eb9fb9fd5dca5fb6f5c",
    ),
    (SendClass.SENT, "besu", "Known transaction"),
    (SendClass.SENT, "nethermind", "AlreadyKnown"),
    (SendClass.SENT, "erigon", "INTERNAL_ERROR: existing tx with same hash"),
    (SendClass.SENT, "erigon over gRPC", "ALREADY_EXISTS: already known"),
    (SendClass.SENT, "openethereum", "Transaction with the same hash was already imported."),
    (SendClass.SENT, "anvil", "transaction already imported"),
    (
        SendClass.SENT,
        "anvil",
        "Tx: [0x52fdfc072182654f163f5f0f9a621d729566c74d10037c4d7bbb0407d1e2c649] already Imported",
    ),
    (SendClass.SENT, "moonbeam", "submit transaction to pool failed: Pool(AlreadyImported)"),
    (SendClass.SENT, "cosmos", "tx already in mempool"),
    (SendClass.SENT, "erigon 3", "INTERNAL_ERROR: existing txn with same hash"),
    (SendClass.SENT, "reth", "already known"),
    (SendClass.SENT, "op-geth", "already known"),
    (SendClass.RECONCILE, "geth", "nonce too low"),
    (SendClass.RECONCILE, "geth 1.13", "nonce too low: next nonce 12, tx nonce 11"),
    (SendClass.RECONCILE, "besu", "Nonce too low"),
    (SendClass.RECONCILE, "besu", "transaction nonce 4 below sender account nonce 5"),
    (SendClass.RECONCILE, "nethermind", "OldNonce"),
    (SendClass.RECONCILE, "nethermind", "OldNonce, Current nonce: 8, nonce of rejected tx: 7"),
    (SendClass.RECONCILE, "openethereum", "Transaction nonce is too low. Try incrementing the nonce."),
    (SendClass.RECONCILE, "arbitrum", "invalid transaction nonce"),
    (
        SendClass.RECONCILE,
        "arbitrum nitro",
        "nonce too low: address 0x499E8Bd0E1D5a4a5CaEAC5f9Cf0DaeA1b7A9d8e9, tx: 4 state: 5",
    ),
    (
        SendClass.RECONCILE,
        "avalanche",
        "nonce too low: address 0x336394A3219e71D9d9bd18201d34E95C1Bb7122C current nonce (8089) > tx nonce (8088)",
    ),
    (SendClass.RECONCILE, "moonbeam", "submit transaction to pool failed: Pool(Stale)"),
    (SendClass.RECONCILE, "harmony", "transaction already finalized"),
    (SendClass.RECONCILE, "zksync", "nonce too low. allowed nonce range: 427 - 447, actual: 426"),
    (
        SendClass.RECONCILE,
        "conflux",
        "Transaction 0x4a2cfa73267139d965ab86d41f2af16db09e62ff92a5abffd7f8e743f36f327c is discarded due to a too stale nonce",
    ),
    (SendClass.RECONCILE, "erigon", "INTERNAL_ERROR: nonce too low"),
    (SendClass.RECONCILE, "reth", "nonce too low: next nonce 12, tx nonce 11"),
    (SendClass.RECONCILE, "op-geth", "nonce too low: next nonce 8, tx nonce 7"),
    (SendClass.RECONCILE, "anvil", "nonce too low"),
    (SendClass.OURS_IS_LIVE, "geth", "replacement transaction underpriced"),
    (SendClass.OURS_IS_LIVE, "op-geth", "replacement transaction underpriced: new tx gas fee cap 2 <= 2 queued"),
    (SendClass.OURS_IS_LIVE, "besu", "Replacement transaction underpriced"),
    (SendClass.OURS_IS_LIVE, "nethermind", "ReplacementNotAllowed"),
    (SendClass.OURS_IS_LIVE, "nethermind", "OwnNonceAlreadyUsed"),
    (SendClass.OURS_IS_LIVE, "erigon", "INTERNAL_ERROR: could not replace existing tx"),
    (SendClass.OURS_IS_LIVE, "infura", "replacement fee too low"),
    (
        SendClass.OURS_IS_LIVE,
        "anvil",
        "Tx: [0x52fdfc072182654f163f5f0f9a621d729566c74d10037c4d7bbb0407d1e2c649] insufficient gas price to replace existing transaction",
    ),
    (
        SendClass.OURS_IS_LIVE,
        "openethereum",
        (
            "Transaction gas price 100wei is too low. There is another transaction with same nonce in the queue with gas price: "
            "150wei. Try increasing the gas price or incrementing the nonce."
        ),
    ),
    (SendClass.OURS_IS_LIVE, "klaytn", "there is another tx which has the same nonce in the tx pool"),
    (SendClass.OURS_IS_LIVE, "erigon", "INTERNAL_ERROR: replacement transaction underpriced"),
    (SendClass.OURS_IS_LIVE, "erigon", "INTERNAL_ERROR: replaced by transaction with higher tip"),
    (SendClass.OURS_IS_LIVE, "reth", "replacement transaction underpriced"),
    (
        SendClass.OURS_IS_LIVE,
        "conflux",
        "Tx with same nonce already inserted. To replace it, you need to specify a gas price > 20000000000",
    ),
    (SendClass.REPRICE, "geth", "transaction underpriced"),
    (SendClass.REPRICE, "geth", "transaction underpriced: gas tip cap 0, minimum needed 1"),
    (SendClass.REPRICE, "geth", "max fee per gas less than block base fee"),
    (
        SendClass.REPRICE,
        "geth 1.11",
        (
            "err: max fee per gas less than block base fee: address 0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf, "
            "maxFeePerGas: 1 baseFee: 875000000 (supplied gas 15012000)"
        ),
    ),
    (SendClass.REPRICE, "geth 1.10", "fee cap less than block base fee"),
    (
        SendClass.REPRICE,
        "op-geth of Mantle",
        "transaction gas price below minimum: gas tip cap 0, minimum needed 1000000",
    ),
    (SendClass.REPRICE, "besu", "Gas price below configured minimum gas price"),
    (SendClass.REPRICE, "besu", "Gas price below current base fee"),
    (
        SendClass.REPRICE,
        "nethermind",
        "FeeTooLow, MaxFeePerGas too low. MaxFeePerGas: 50, BaseFee: 200, MaxPriorityFeePerGas:0, Block number: 5",
    ),
    (SendClass.REPRICE, "nethermind", "FeeTooLowToCompete"),
    (SendClass.REPRICE, "erigon", "fee too low"),
    (
        SendClass.REPRICE,
        "openethereum",
        (
            "Transaction gas price is too low. It does not satisfy your node's minimal gas price (minimal: 100 got: 50). "
            "Try increasing the gas price."
        ),
    ),
    (SendClass.REPRICE, "arbitrum", "gas price too low"),
    (SendClass.REPRICE, "metis", "gas price too low: 18000000000 wei, use at least tx.gasPrice = 19500000000 wei"),
    (SendClass.REPRICE, "celo", "gasprice is less than gas price minimum floor"),
    (SendClass.REPRICE, "erigon", "INTERNAL_ERROR: underpriced"),
    (SendClass.REPRICE, "reth", "transaction underpriced"),
    (SendClass.REPRICE, "reth", "max fee per gas less than block base fee"),
    (SendClass.REPRICE, "anvil", "max fee per gas less than block base fee"),
    (SendClass.REPRICE, "op-geth", "transaction underpriced: gas tip cap 1, minimum needed 1000000"),
    (SendClass.GAP, "geth", "nonce too high"),
    (SendClass.GAP, "geth 1.13", "nonce too high: tx nonce 14, gapped nonce 12"),
    (SendClass.GAP, "anvil", "Nonce too high"),
    (SendClass.GAP, "nethermind", "NonceGap"),
    (SendClass.GAP, "nethermind", "NonceGap, Future nonce. Expected nonce: 10"),
    (SendClass.GAP, "besu", "Transaction nonce is too distant from current sender nonce"),
    (SendClass.GAP, "besu", "transaction nonce 10 does not match sender account nonce 1."),
    (SendClass.GAP, "zksync", "nonce too high. allowed nonce range: 427 - 477, actual: 527"),
    (SendClass.GAP, "reth", "nonce too high"),
    (SendClass.GAP, "op-geth", "gapped-nonce tx from delegated accounts"),
    (
        SendClass.GAP,
        "arbitrum nitro",
        "nonce too high: address 0x499E8Bd0E1D5a4a5CaEAC5f9Cf0DaeA1b7A9d8e9, tx: 7 state: 5",
    ),
    (SendClass.FUNDS, "geth", "insufficient funds for gas * price + value"),
    (
        SendClass.FUNDS,
        "geth 1.13",
        "insufficient funds for gas * price + value: balance 9, tx cost 21000, overshot 20991",
    ),
    (SendClass.FUNDS, "anvil", "Insufficient funds for gas * price + value"),
    (SendClass.FUNDS, "geth", "insufficient funds for transfer"),
    (SendClass.FUNDS, "geth", "transaction would cause overdraft"),
    (SendClass.FUNDS, "besu", "Upfront cost exceeds account balance"),
    (
        SendClass.FUNDS,
        "besu",
        (
            "transaction up-front cost 0x000000000000000000000000000000000000000000000000000000000000cafe exceeds transaction "
            "sender account balance 0x0000000000000000000000000000000000000000000000000000000000000000"
        ),
    ),
    (
        SendClass.FUNDS,
        "nethermind",
        "InsufficientFunds, Account balance: 4740799397601480913, cumulative cost: 22019342038993800000",
    ),
    (SendClass.FUNDS, "arbitrum", "not enough funds for gas"),
    (
        SendClass.FUNDS,
        "openethereum",
        (
            "Insufficient funds. The account you tried to send transaction from does not have enough funds. "
            "Required 100 and got: 50."
        ),
    ),
    (SendClass.FUNDS, "openethereum", "Insufficient balance for transaction. Balance=100, Cost=200"),
    (SendClass.FUNDS, "erigon", "INTERNAL_ERROR: insufficient funds"),
    (SendClass.FUNDS, "reth", "insufficient funds for gas * price + value: have 9 want 21000"),
    (
        SendClass.FUNDS,
        "op-geth",
        "insufficient funds for gas * price + value: balance 9, tx cost 21000, overshot 20991",
    ),
    (SendClass.INVALID, "geth", "exceeds block gas limit"),
    (SendClass.INVALID, "geth", "intrinsic gas too low"),
    (SendClass.INVALID, "geth 1.13", "intrinsic gas too low: gas 20000, minimum needed 21000"),
    (SendClass.INVALID, "geth", "oversized data: transaction size 131140, limit 131072"),
    (SendClass.INVALID, "geth", "gas uint64 overflow"),
    (SendClass.INVALID, "geth", "transaction type not supported"),
    (SendClass.INVALID, "geth 1.16", "transaction gas limit too high (cap: 16777216, tx: 30000000)"),
    (SendClass.INVALID, "op-geth of Mantle", "insufficient gas for l1Cost. Please use estimateGas to get gasLimit"),
    (SendClass.INVALID, "geth", "insufficient gas for floor data gas cost: gas 21000, minimum needed 23000"),
    (SendClass.INVALID, "geth", "max priority fee per gas higher than max fee per gas"),
    (SendClass.INVALID, "besu", "Intrinsic gas exceeds gas limit"),
    (SendClass.INVALID, "besu", "Transaction gas limit exceeds block gas limit"),
    (SendClass.INVALID, "nethermind", "GasLimitExceeded, Gas limit: 100, gas limit of rejected tx: 150"),
    (SendClass.INVALID, "anvil", "intrinsic gas too high -- tx.gas_limit > env.block.gas_limit"),
    (
        SendClass.INVALID,
        "openethereum",
        (
            "Transaction gas is too low. There is not enough gas to cover minimal cost of the transaction (minimal: 53000, got: "
            "21000). Try increasing supplied gas."
        ),
    ),
    (
        SendClass.INVALID,
        "openethereum",
        "Transaction cost exceeds current gas limit. Limit: 50, got: 100. Try decreasing supplied gas.",
    ),
    (SendClass.INVALID, "erigon", "INTERNAL_ERROR: IntrinsicGas"),
    (SendClass.INVALID, "erigon", "INTERNAL_ERROR: GasUintOverflow"),
    (SendClass.INVALID, "erigon", "INTERNAL_ERROR: RLPTooLong"),
    (SendClass.INVALID, "erigon", "gas limit too high. Max: 16777216"),
    (SendClass.INVALID, "reth", "exceeds block gas limit"),
    (SendClass.INVALID, "reth", "intrinsic gas too low"),
    (SendClass.INVALID, "reth", "intrinsic gas too high"),
    (SendClass.INVALID, "arbitrum nitro", "execution reverted: TransferHelper: TRANSFER_FROM_FAILED"),
    (SendClass.STOP, "geth", "invalid sender"),
    (SendClass.STOP, "geth", "invalid sender: invalid chain id for signer: have 4 want 1"),
    (SendClass.STOP, "anvil", "invalid chain id for signer"),
    (SendClass.STOP, "besu", "Wrong chainId"),
    (SendClass.STOP, "besu", "Invalid signature"),
    (SendClass.STOP, "besu", "Sender account not authorized to send transactions"),
    (SendClass.STOP, "nethermind", "FailedToResolveSender"),
    (SendClass.STOP, "geth", "sender not an eoa: address 0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf, codehash: 0xabc"),
    (SendClass.STOP, "geth", "only replay-protected (EIP-155) transactions allowed over RPC"),
    (SendClass.STOP, "geth", "tx fee (1.10 ether) exceeds the configured cap (1.00 ether)"),
    (SendClass.STOP, "arbitrum", "forbidden sender address"),
    (SendClass.STOP, "erigon", "INTERNAL_ERROR: invalid sender"),
    (SendClass.STOP, "reth", "invalid chain ID"),
    (SendClass.STOP, "reth", "sender is not an EOA"),
    (SendClass.STOP, "op-geth", "invalid sender: invalid chain id for signer: have 10 want 8453"),
    (SendClass.UNKNOWN, "reth", "txpool is full"),
    (SendClass.UNKNOWN, "relays", "unknown transaction: it was not kept"),
    (SendClass.UNKNOWN, "op-geth", "in-flight transaction limit reached for delegated accounts"),
    (SendClass.UNKNOWN, "erigon", "INTERNAL_ERROR: pending sub-pool is full"),
    (SendClass.UNKNOWN, "erigon", "INTERNAL_ERROR: spammer"),
    (SendClass.UNKNOWN, "geth", "txpool is full"),
    (SendClass.UNKNOWN, "geth", "context deadline exceeded"),
    (SendClass.UNKNOWN, "geth", "account limit exceeded"),
    (SendClass.UNKNOWN, "op-geth of Mantle", "exist preconf transaction in process"),
    (SendClass.UNKNOWN, "arbitrum", "sequencer pending tx pool full, please try again"),
    (SendClass.UNKNOWN, "arbitrum", "queue full"),
    (SendClass.UNKNOWN, "infura", "daily request count exceeded, request rate limited"),
    (SendClass.UNKNOWN, "alchemy", "Your app has exceeded its compute units per second capacity."),
    (SendClass.UNKNOWN, "quicknode", "request timed out"),
    (SendClass.UNKNOWN, "nginx", "502 Bad Gateway"),
    (SendClass.UNKNOWN, "nobody yet", "the moon is in the wrong house"),
    (SendClass.UNKNOWN, "nobody", ""),
]


@pytest.mark.parametrize(("means", "node", "message"), CORPUS)
def test_each_answer_has_its_meaning(means: SendClass, node: str, message: str) -> None:
    """The message decides, whatever code comes with it."""
    assert classify(SendError(-32000, message)) is means, node
    assert classify(SendError(-32003, message)) is means, node


def test_no_answer_is_maybe_sent() -> None:
    """A timeout says nothing about the transaction."""
    assert classify(SendUnavailable("TimeoutError")) is SendClass.UNKNOWN


def test_a_hash_is_sent() -> None:
    """A node that answers with a hash has the transaction."""
    assert classify(SendOk(TxHash("0x1"))) is SendClass.SENT


def test_every_rule_names_who_says_so() -> None:
    """A row without a source could not be checked by anyone, and one in capitals would never be found."""
    assert all(rule.source and rule.says == rule.says.lower() for rule in RULES)


def test_no_rule_is_hidden_by_an_earlier_one_that_means_something_else() -> None:
    """Every row can decide."""
    for place, rule in enumerate(RULES):
        earlier = [other for other in RULES[:place] if other.says in rule.says]
        assert all(other.means is rule.means for other in earlier), rule


NODES = ("geth", "erigon", "nethermind", "besu", "op-geth", "arbitrum", "anvil", "reth")


@pytest.mark.parametrize("node", NODES)
def test_the_corpus_hears_every_node_of_the_design(node: str) -> None:
    """Each node says at least that it has the transaction or not its nonce, and that a wallet has too little gas."""
    heard = {means for means, said_by, _ in CORPUS if said_by.split()[0] == node}
    assert heard & {SendClass.SENT, SendClass.RECONCILE}
    assert SendClass.FUNDS in heard
    assert len(heard) >= 5


def test_the_corpus_is_as_large_as_the_design_asks() -> None:
    """Eighty real answers, each counted once for the node that gives it, those that no rule knows left out."""
    assert len({(node, message) for means, node, message in CORPUS if means is not SendClass.UNKNOWN}) >= 80
