"""What each leg signs, and what its receipt must show."""

from dataclasses import replace

import pytest

from chain.broken import LegMisplanned
from chain.codec import checksum
from chain.contracts.solvency_vault import encode_borrow_usdc, encode_repay_loan
from chain.contracts.usdc import TRANSFER_EVENT, encode_approve, encode_transfer, encode_transfer_from
from chain.contracts.vault_events import USDC_BORROWED_EVENT
from chain.legs import PlannedLeg, address_topic, logs_match, plan_leg
from chain.types import BlockHash, BlockNumber, Log, TxHash
from models.messages.legs import ApproveCall, BorrowCall, CollectCall, LegCall, RepayCall, TransferCall

WALLET, USDC, VAULT, OTHER = (checksum("0x" + digits * 20) for digits in ("a1", "b2", "c3", "d4"))
BORROW = BorrowCall(position_id=7, amount=100, loan_duration=90, number_of_installments=3)


def plan(call: LegCall, leg: str, charges: str | None = None) -> PlannedLeg:
    return plan_leg(
        call,
        operation_id="borrow:p:k",
        leg=leg,
        generation=1,
        wallet=WALLET,
        usdc=USDC,
        vault=VAULT,
        charges_account=charges,
        chain_id=1,
    )


def word(value: int) -> str:
    return f"{value:064x}"


def transfer_log(sender: str, recipient: str, amount: int, index: int = 0) -> Log:
    topics = (TRANSFER_EVENT.topic0, address_topic(checksum(sender)), address_topic(checksum(recipient)))
    return log(USDC, topics, word(amount), index)


def log(address: str, topics: tuple[str, ...], data: str, index: int) -> Log:
    return Log(checksum(address), topics, f"0x{data}", BlockNumber(1), BlockHash("0xb"), TxHash("0xt"), index)


def borrowed_log(position: int, amount: int, index: int = 1) -> Log:
    return log(VAULT, (USDC_BORROWED_EVENT.topic0, f"0x{word(position)}"), word(amount) + word(amount + 5), index)


@pytest.mark.parametrize(
    ("call", "leg", "target", "calldata", "spends"),
    [
        (BORROW, "borrow", VAULT, encode_borrow_usdc(7, 100, 90, 3), False),
        (RepayCall(position_id=7, amount=5), "repay", VAULT, encode_repay_loan(7, 5), True),
        (RepayCall(position_id=7, amount=5), "unwind", VAULT, encode_repay_loan(7, 5), True),
        (RepayCall(position_id=7, amount=5), "residue-12", VAULT, encode_repay_loan(7, 5), True),
        (TransferCall(recipient=OTHER, amount=5), "settle", USDC, encode_transfer(OTHER, 5), False),
        (TransferCall(recipient=OTHER, amount=5), "refund", USDC, encode_transfer(OTHER, 5), False),
        (CollectCall(payer=OTHER, amount=5), "collect", USDC, encode_transfer_from(OTHER, WALLET, 5), False),
        (ApproveCall(amount=5), "approve", USDC, encode_approve(VAULT, 5), False),
    ],
)
def test_each_leg_is_one_call(call: LegCall, leg: str, target: str, calldata: bytes, spends: bool) -> None:
    """A leg's target and calldata are those of its one contract call."""
    planned = plan(call, leg)
    assert (planned.target, planned.calldata, planned.amount) == (target, calldata, call.amount)
    assert planned.spends_allowance == spends


@pytest.mark.parametrize(
    ("call", "leg"),
    [
        (BORROW, "settle"),
        (RepayCall(position_id=7, amount=5), "residue"),
        (RepayCall(position_id=7, amount=5), "residue-0"),
        (RepayCall(position_id=7, amount=5), "refund"),
        (TransferCall(recipient=OTHER, amount=5), "repay"),
        (ApproveCall(amount=5), "approves"),
    ],
)
def test_a_name_that_does_not_fit_its_call_is_a_bug(call: LegCall, leg: str) -> None:
    """A leg called settle can only be a transfer, and so on."""
    with pytest.raises(LegMisplanned):
        plan(call, leg)


def test_the_logs_of_a_borrow() -> None:
    """The vault's event and one transfer to the wallet, whoever it came from, amounts exact, total debt whatever it is."""
    planned = plan(BORROW, "borrow")
    good = [transfer_log(VAULT, WALLET, 100, 0), borrowed_log(7, 100, 1)]
    assert _mismatch(planned, good) is None
    assert _mismatch(planned, [*good, transfer_log(OTHER, VAULT, 100, 2)]) is None
    for bad in (
        good[:1],
        good[1:],
        [good[0], borrowed_log(8, 100)],
        [good[0], borrowed_log(7, 99)],
        [transfer_log(VAULT, WALLET, 99), good[1]],
        [replace(good[0], address=OTHER), good[1]],
        [*good, transfer_log(VAULT, WALLET, 100, 2)],
        [*good, transfer_log(WALLET, OTHER, 1, 2)],
    ):
        assert _mismatch(planned, bad) is not None, bad


def test_the_log_of_a_transfer() -> None:
    """Exactly one transfer from the wallet to the recipient: another recipient is another effect."""
    planned = plan(TransferCall(recipient=OTHER, amount=5), "settle")
    assert _mismatch(planned, [transfer_log(WALLET, OTHER, 5)]) is None
    assert _mismatch(planned, [transfer_log(WALLET, VAULT, 5)]) is not None
    assert _mismatch(planned, []) is not None


def test_data_of_another_length_does_not_fit() -> None:
    """A log with more words than expected is not the expected one."""
    planned = plan(TransferCall(recipient=OTHER, amount=5), "settle")
    fits = transfer_log(WALLET, OTHER, 5)
    assert _mismatch(planned, [replace(fits, data=fits.data + word(1))]) is not None


def _mismatch(planned: PlannedLeg, logs: list[Log]) -> str | None:
    return logs_match(planned.expected_logs, logs, USDC, WALLET)
