"""USDC: what the engine reads of it, sends to it and reads from its logs. All amounts are base units (10^-6 USDC)."""

from dataclasses import dataclass

from eth_typing import ChecksumAddress

from chain.codec import Call, Event, Function, checksum
from chain.types import Log

BALANCE_OF = Function("balanceOf(address)", "uint256")
ALLOWANCE = Function("allowance(address,address)", "uint256")
DECIMALS = Function("decimals()", "uint8")
TRANSFER = Function("transfer(address,uint256)", "bool")
TRANSFER_FROM = Function("transferFrom(address,address,uint256)", "bool")
APPROVE = Function("approve(address,uint256)", "bool")
TRANSFER_EVENT = Event("Transfer(address*,address*,uint256)")
APPROVAL_EVENT = Event("Approval(address*,address*,uint256)")


@dataclass(frozen=True, slots=True)
class Transfer:
    sender: ChecksumAddress
    recipient: ChecksumAddress
    amount: int


@dataclass(frozen=True, slots=True)
class Approval:
    owner: ChecksumAddress
    spender: ChecksumAddress
    amount: int


class Usdc:
    def __init__(self, address: ChecksumAddress) -> None:
        self.address = address

    def balance_of(self, account: ChecksumAddress) -> Call[int]:
        return BALANCE_OF.call(self.address, (account,), int)

    def allowance(self, owner: ChecksumAddress, spender: ChecksumAddress) -> Call[int]:
        return ALLOWANCE.call(self.address, (owner, spender), int)

    def decimals(self) -> Call[int]:
        return DECIMALS.call(self.address, (), int)


def encode_transfer(recipient: ChecksumAddress, amount: int) -> bytes:
    return TRANSFER.encode(recipient, amount)


def encode_transfer_from(sender: ChecksumAddress, recipient: ChecksumAddress, amount: int) -> bytes:
    return TRANSFER_FROM.encode(sender, recipient, amount)


def encode_approve(spender: ChecksumAddress, amount: int) -> bytes:
    return APPROVE.encode(spender, amount)


def decode_transfer(log: Log) -> Transfer | None:
    """The transfer in a log of any ERC-20; whose token it is stands in `log.address`."""
    values = TRANSFER_EVENT.decode(log)
    return None if values is None else Transfer(checksum(values[0]), checksum(values[1]), values[2])


def decode_approval(log: Log) -> Approval | None:
    values = APPROVAL_EVENT.decode(log)
    return None if values is None else Approval(checksum(values[0]), checksum(values[1]), values[2])
