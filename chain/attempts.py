"""Making a signed transaction for a leg: its payload, or the self-transfer that uses up its nonce instead."""

from dataclasses import dataclass
from typing import Self

from eth_typing import ChecksumAddress

from chain.classifier import SendClass
from chain.fees import Fees
from chain.signer import Signer, UnsignedTransaction
from chain.transitions import NewAttempt
from chain.types import CallRequest, TxHash, Wei
from models.statuses import AttemptKind


@dataclass(frozen=True, slots=True)
class StoredAttempt:
    """A signed transaction whose row is committed."""

    transaction_id: int
    nonce: int
    hash: TxHash
    raw: bytes

    @classmethod
    def of(cls, attempt: NewAttempt) -> Self:
        """An attempt whose insert was committed."""
        return cls(attempt.transaction_id, attempt.nonce, attempt.hash, attempt.raw)


@dataclass(frozen=True, slots=True)
class Effect:
    """What a transaction does: its call and the gas that it may use. ``value`` is in wei."""

    kind: AttemptKind
    to: ChecksumAddress
    data: bytes
    value: Wei
    gas: int


def cancellation(wallet: ChecksumAddress, gas: int) -> Effect:
    """Nothing, sent to ourselves: all that it does is to use up a nonce."""
    return Effect(AttemptKind.CANCEL, wallet, b"", Wei(0), gas)


def cancellation_request(wallet: ChecksumAddress) -> CallRequest:
    return CallRequest(wallet, wallet, b"")


class AttemptSigner:
    """Signs for the legs of one lane."""

    def __init__(self, signer: Signer, chain_id: int) -> None:
        self._signer = signer
        self._chain_id = chain_id

    async def sign(self, transaction_id: int, nonce: int, effect: Effect, fees: Fees) -> NewAttempt:
        unsigned = UnsignedTransaction(
            chain_id=self._chain_id,
            nonce=nonce,
            to=effect.to,
            data=effect.data,
            value=effect.value,
            gas=effect.gas,
            max_fee_per_gas=fees.most,
            max_priority_fee_per_gas=fees.priority,
        )
        signed = await self._signer.sign(unsigned)
        return NewAttempt(
            transaction_id, nonce, effect.kind, signed.hash, signed.raw, effect.gas, fees.most, fees.priority
        )


def answer_in_words(means: SendClass, words: str) -> str:
    """What a node said to an attempt, as its row keeps it."""
    return f"{means}: {words}"


def meaning_of(answer: str | None) -> SendClass | None:
    """The class in such words; None where no answer is known."""
    return None if answer is None else SendClass(answer.partition(":")[0])
