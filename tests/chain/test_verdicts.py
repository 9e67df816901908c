"""What a receipt proves, and what it does not."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from chain.codec import checksum
from chain.types import Block, BlockHash, BlockNumber, Receipt, TxHash, Wei
from chain.verdicts import Evidence, InFlight, canonical_receipt, left_the_chain, result_of
from models.statuses import AttemptKind, TransactionState

USDC, WALLET = checksum("0x" + "b2" * 20), checksum("0x" + "a1" * 20)
PAYLOAD, CANCEL = TxHash("0xpayload"), TxHash("0xcancel")
IN_POOL = InFlight(
    1,
    "op",
    "settle",
    1,
    TransactionState.BROADCAST,
    None,
    None,
    {PAYLOAD: AttemptKind.PAYLOAD, CANCEL: AttemptKind.CANCEL},
)
MINED = replace(IN_POOL, state=TransactionState.MINED, block_number=10, block_hash="0xten")


def receipt(tx_hash: TxHash = PAYLOAD, status: int = 1, number: int = 10, block_hash: str = "0xten") -> Receipt:
    return Receipt(tx_hash, status, BlockNumber(number), BlockHash(block_hash), 21_000, Wei(1), WALLET, USDC, ())


def header(number: int, block_hash: str) -> Block:
    return Block(BlockNumber(number), BlockHash(block_hash), BlockHash("0xparent"), 0, Wei(0))


def evidence(found: list[Receipt], headers: Mapping[int, Block | None], final: int = 10) -> Evidence:
    return Evidence({each.tx_hash: each for each in found}, headers, final)


TEN = {10: header(10, "0xten")}


@pytest.mark.parametrize("headers", [{10: header(10, "0xother")}, {10: None}, {}])
def test_a_receipt_counts_only_in_a_block_that_the_chain_has(headers: Mapping[int, Block | None]) -> None:
    """A receipt whose block is another one now, or is not there, proves nothing."""
    assert canonical_receipt(IN_POOL, evidence([receipt()], headers)) is None


@pytest.mark.parametrize(("final", "state"), [(9, TransactionState.MINED), (10, TransactionState.FINAL_OK)])
def test_depth_makes_it_final(final: int, state: TransactionState) -> None:
    """MINED until its block is as deep as is asked for."""
    mined = canonical_receipt(IN_POOL, evidence([receipt()], TEN, final))
    assert mined is not None
    assert result_of(mined, [], USDC, WALLET).state is state


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (receipt(), TransactionState.FINAL_OK),
        (receipt(status=0), TransactionState.FINAL_REVERTED),
        (receipt(CANCEL), TransactionState.FINAL_CANCELLED),
        (receipt(CANCEL, status=0), TransactionState.FINAL_CANCELLED),
    ],
)
def test_the_receipt_says_which_attempt_won(found: Receipt, state: TransactionState) -> None:
    """A failed call is never success, and a mined cancel means that the payload never was."""
    mined = canonical_receipt(IN_POOL, evidence([found], TEN))
    assert mined is not None
    assert result_of(mined, [], USDC, WALLET).state is state


def test_success_without_its_logs_is_held() -> None:
    """What succeeded must show the expected logs."""
    mined = canonical_receipt(IN_POOL, evidence([receipt()], TEN))
    assert mined is not None
    result = result_of(mined, [{"address": USDC, "topics": [], "data": []}], USDC, WALLET)
    assert result.state is TransactionState.HELD
    assert result.held_reason is not None


def test_a_depth_that_is_not_reached_needs_no_logs_yet() -> None:
    """Logs are judged when they can no longer change."""
    mined = canonical_receipt(IN_POOL, evidence([receipt()], TEN, final=9))
    assert mined is not None
    assert result_of(mined, [{"address": USDC, "topics": [], "data": []}], USDC, WALLET).held_reason is None


def test_only_another_block_in_its_place_takes_a_leg_back() -> None:
    """A missing receipt or header may be a node that lags; a different header is a reorg."""
    assert left_the_chain(MINED, evidence([], {10: header(10, "0xother")}))
    assert not left_the_chain(MINED, evidence([], TEN))
    assert not left_the_chain(MINED, evidence([], {10: None}))
    assert not left_the_chain(IN_POOL, evidence([], {10: header(10, "0xother")}))
