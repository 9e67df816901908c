"""Sending stored attempts, once or again: always the same bytes, so that sending twice is sending once.

No database transaction is open while the node is asked.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.dialects.postgresql import distinct_on

from chain.classifier import SendClass, classify
from chain.election import Office
from chain.signers import pause_signer
from chain.transitions import Answered, record_answers
from chain.types import SendAnswer, SendError, SendOk, SendUnavailable, TxHash
from models.statuses import TransactionState
from models.tables.transactions import ChainAttempt, ChainTransaction

_MAYBE_SENT = frozenset({SendClass.SENT, SendClass.UNKNOWN, SendClass.RECONCILE, SendClass.OURS_IS_LIVE})
_NEEDS_A_PERSON = frozenset({SendClass.INVALID, SendClass.STOP})
_UNMINED = (TransactionState.PREPARED, TransactionState.BROADCAST)


@dataclass(frozen=True, slots=True)
class StoredAttempt:
    """A signed transaction whose row is committed."""

    transaction_id: int
    nonce: int
    hash: TxHash
    raw: bytes


class Outbox:
    def __init__(self, office: Office) -> None:
        self._term = office.term
        self._node = office.node
        self._config = office.config
        self._log = office.log

    async def send(self, attempts: Sequence[StoredAttempt]) -> None:
        """Sends in the order given, and records what the node said of each."""
        if not attempts:
            return
        answers = await self._node.send_raw([attempt.raw for attempt in attempts])
        classed = [
            (attempt, answer, self._class_of(attempt, answer))
            for attempt, answer in zip(attempts, answers, strict=True)
        ]
        async with self._term.transaction() as session:
            recorded = [
                Answered(attempt.transaction_id, attempt.hash, f"{means}: {_words(answer)}", means in _MAYBE_SENT)
                for attempt, answer, means in classed
            ]
            await record_answers(session, recorded)
            for attempt, answer, means in classed:
                if means in _NEEDS_A_PERSON:
                    reason = f"the node answered {means} to {attempt.hash}: {_words(answer)}"
                    await pause_signer(session, self._config.chain_id, self._config.wallet, reason=reason, by="lane")

    async def resend_prepared(self) -> None:
        """After a start: what was stored and perhaps not sent, in the order of the nonces."""
        await self._resend_all(ChainTransaction.state == TransactionState.PREPARED)

    async def resend_stale(self) -> None:
        """What has no receipt for a while: it may have been dropped, or never have arrived."""
        last = func.coalesce(ChainAttempt.sent_at, ChainAttempt.stored_at)
        stale = last < func.clock_timestamp() - self._config.resend_after
        await self._resend_all(ChainTransaction.state.in_(_UNMINED) & stale)

    async def resend(self, transaction_ids: Collection[int]) -> None:
        await self._resend_all(ChainTransaction.state.in_(_UNMINED) & ChainTransaction.id.in_(transaction_ids))

    async def _resend_all(self, which: ColumnElement[bool]) -> None:
        attempts = await self._best_attempts(which)
        for start in range(0, len(attempts), self._config.batch):
            await self.send(attempts[start : start + self._config.batch])

    async def _best_attempts(self, which: ColumnElement[bool]) -> list[StoredAttempt]:
        """Of each leg the attempt that pays most, which is the one that may replace the others in a pool."""
        query = (
            select(ChainTransaction.id, ChainTransaction.nonce, ChainAttempt.hash, ChainAttempt.raw)
            .join(ChainAttempt, ChainAttempt.transaction_id == ChainTransaction.id)
            .where(
                ChainTransaction.chain_id == self._config.chain_id,
                ChainTransaction.signer == self._config.wallet,
                which,
            )
            .ext(distinct_on(ChainTransaction.id))
            .order_by(ChainTransaction.id, ChainAttempt.max_fee_per_gas.desc(), ChainAttempt.stored_at.desc())
        )
        async with self._term.transaction() as session:
            rows = (await session.execute(query)).all()
        found = [StoredAttempt(row.id, int(row.nonce or 0), TxHash(row.hash), row.raw) for row in rows]
        return sorted(found, key=lambda attempt: attempt.nonce)

    def _class_of(self, attempt: StoredAttempt, answer: SendAnswer) -> SendClass:
        means = classify(answer)
        if isinstance(answer, SendOk) and answer.tx_hash != attempt.hash:
            means = SendClass.UNKNOWN
        if means is not SendClass.SENT:
            self._log.warning("send_answered", hash=attempt.hash, nonce=attempt.nonce, means=means, said=_words(answer))
        return means


def _words(answer: SendAnswer) -> str:
    match answer:
        case SendOk():
            return answer.tx_hash
        case SendError():
            return answer.message
        case SendUnavailable():
            return answer.reason
