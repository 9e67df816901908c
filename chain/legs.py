"""From what a leg is asked to do to what is signed, and what its receipt must then show (money.md section 2)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from eth_typing import ChecksumAddress

from chain.broken import LegMisplanned
from chain.codec import Event, checksum
from chain.contracts.solvency_vault import encode_borrow_usdc, encode_repay_loan
from chain.contracts.usdc import (
    APPROVAL_EVENT,
    TRANSFER_EVENT,
    encode_approve,
    encode_transfer,
    encode_transfer_from,
)
from chain.contracts.vault_events import LOAN_REPAID_EVENT, USDC_BORROWED_EVENT
from chain.types import Log
from models.messages.legs import ApproveCall, BorrowCall, CollectCall, LegCall, RepayCall, TransferCall

ExpectedLog = Mapping[str, Any]
"""JSON: ``address``, ``topics`` and the 32-byte words of ``data``; a null matches anything."""

_WORD = 64
_CALL_OF_LEG = re.compile(
    r"(?P<borrow>borrow)|(?P<transfer>settle|refund)|(?P<repay>repay|unwind|residue-[1-9][0-9]*)"
    r"|(?P<collect>collect)|(?P<approve>approve)"
)


@dataclass(frozen=True, slots=True)
class PlannedLeg:
    """One generation of a leg, ready to be stored. ``amount`` is USDC base units, ``target`` the contract called.

    ``charges_account`` is whose USDC leaves the wallet; ``spends_allowance`` says that the vault pulls it.
    """

    operation_id: str
    leg: str
    generation: int
    chain_id: int
    wallet: ChecksumAddress
    call: LegCall
    target: ChecksumAddress
    calldata: bytes
    amount: int
    expected_logs: tuple[ExpectedLog, ...]
    spends_allowance: bool
    charges_account: str | None

    @property
    def usdc_leaves(self) -> bool:
        """Whether the leg takes USDC out of the wallet, so that an account must pay for it."""
        return isinstance(self.call, RepayCall | TransferCall)


@dataclass(frozen=True, slots=True)
class _Plan:
    target: ChecksumAddress
    calldata: bytes
    expected_logs: tuple[ExpectedLog, ...]


def plan_leg(
    call: LegCall,
    *,
    operation_id: str,
    leg: str,
    generation: int,
    wallet: ChecksumAddress,
    usdc: ChecksumAddress,
    vault: ChecksumAddress,
    charges_account: str | None,
    chain_id: int,
) -> PlannedLeg:
    """Raises LegMisplanned where the leg's name does not fit the call."""
    _check_fit(call, leg)
    plan = _plan(call, wallet, usdc, vault)
    return PlannedLeg(
        operation_id=operation_id,
        leg=leg,
        generation=generation,
        chain_id=chain_id,
        wallet=wallet,
        call=call,
        target=plan.target,
        calldata=plan.calldata,
        amount=call.amount,
        expected_logs=plan.expected_logs,
        spends_allowance=isinstance(call, RepayCall),
        charges_account=charges_account,
    )


def logs_match(
    expected: Sequence[ExpectedLog], receipt_logs: Sequence[Log], usdc: ChecksumAddress, wallet: ChecksumAddress
) -> str | None:
    """Why the logs are not those of the leg; None where they are.

    Each expected log is there exactly once, and USDC moved to or from the wallet only as expected: a movement that nobody
    planned is for a person to explain.
    """
    if (missing := expected_missing(expected, receipt_logs)) is not None:
        return missing
    for log in receipt_logs:
        if not is_expected(expected, log) and _moves_usdc_of(log, usdc, wallet):
            return f"log {log.log_index} moves USDC of the platform wallet and is not expected"
    return None


def expected_missing(expected: Sequence[ExpectedLog], receipt_logs: Sequence[Log]) -> str | None:
    """Which expected log is not there exactly once; None where each is.

    Ledger, loan and limits are written from these logs: what the leg moved, and how a repayment split into its parts.
    """
    for wanted in expected:
        fitting = sum(_fits(wanted, log) for log in receipt_logs)
        if fitting != 1:
            return f"{fitting} logs of {wanted['address']} instead of one fit {wanted['topics']} {wanted['data']}"
    return None


def is_expected(expected: Sequence[ExpectedLog], log: Log) -> bool:
    return any(_fits(wanted, log) for wanted in expected)


def address_topic(address: ChecksumAddress) -> str:
    """An address as it stands in an indexed parameter."""
    return f"0x{address[2:].lower().zfill(_WORD)}"


def _check_fit(call: LegCall, leg: str) -> None:
    named = _CALL_OF_LEG.fullmatch(leg)
    if named is None or named.lastgroup != call.call:
        raise LegMisplanned(f"the leg '{leg}' cannot be a call '{call.call}'")


def _plan(call: LegCall, wallet: ChecksumAddress, usdc: ChecksumAddress, vault: ChecksumAddress) -> _Plan:
    match call:
        case BorrowCall():
            data = encode_borrow_usdc(call.position_id, call.amount, call.loan_duration, call.number_of_installments)
            borrowed = _log(vault, USDC_BORROWED_EVENT, [_number(call.position_id)], [_number(call.amount), None])
            return _Plan(vault, data, (borrowed, _transfer(usdc, None, wallet, call.amount)))
        case RepayCall():
            repaid = _log(
                vault, LOAN_REPAID_EVENT, [_number(call.position_id)], [_number(call.amount), None, None, None]
            )
            data = encode_repay_loan(call.position_id, call.amount)
            return _Plan(vault, data, (repaid, _transfer(usdc, wallet, None, call.amount)))
        case TransferCall():
            recipient = checksum(call.recipient)
            data = encode_transfer(recipient, call.amount)
            return _Plan(usdc, data, (_transfer(usdc, wallet, recipient, call.amount),))
        case CollectCall():
            payer = checksum(call.payer)
            data = encode_transfer_from(payer, wallet, call.amount)
            return _Plan(usdc, data, (_transfer(usdc, payer, wallet, call.amount),))
        case ApproveCall():
            parties = [address_topic(wallet), address_topic(vault)]
            approved = _log(usdc, APPROVAL_EVENT, parties, [_number(call.amount)])
            return _Plan(usdc, encode_approve(vault, call.amount), (approved,))
        case _:
            assert_never(call)


def _transfer(
    usdc: ChecksumAddress, sender: ChecksumAddress | None, recipient: ChecksumAddress | None, amount: int
) -> ExpectedLog:
    parties = [None if party is None else address_topic(party) for party in (sender, recipient)]
    return _log(usdc, TRANSFER_EVENT, parties, [_number(amount)])


def _log(
    address: ChecksumAddress, event: Event, indexed: Sequence[str | None], words: Sequence[str | None]
) -> ExpectedLog:
    return {"address": address, "topics": [event.topic0, *indexed], "data": list(words)}


def _number(value: int) -> str:
    return f"0x{value:0{_WORD}x}"


def _fits(wanted: ExpectedLog, log: Log) -> bool:
    return (
        wanted["address"] == log.address
        and _all_fit(wanted["topics"], log.topics)
        and _all_fit(wanted["data"], _words(log.data))
    )


def _all_fit(wanted: Sequence[str | None], found: Sequence[str]) -> bool:
    return len(wanted) == len(found) and all(
        want is None or want == have for want, have in zip(wanted, found, strict=True)
    )


def _words(data: str) -> list[str]:
    digits = data.removeprefix("0x").lower()
    return [f"0x{digits[start : start + _WORD]}" for start in range(0, len(digits), _WORD)]


def _moves_usdc_of(log: Log, usdc: ChecksumAddress, wallet: ChecksumAddress) -> bool:
    return (
        log.address == usdc and log.topics[:1] == (TRANSFER_EVENT.topic0,) and address_topic(wallet) in log.topics[1:]
    )
