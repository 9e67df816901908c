"""Sending stored attempts, once or again: always the same bytes, so that sending twice is sending once.

No database transaction is open while the node is asked.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession

from chain.alarms import Alarms
from chain.attempts import StoredAttempt, answer_in_words
from chain.classifier import SendClass, classify
from chain.election import Office
from chain.signers import pause_signer
from chain.transitions import Answered, ask_cancel, record_answers
from chain.types import SendAnswer, SendError, SendOk, SendUnavailable, TxHash
from models.statuses import UNMINED_STATES, IncidentKind, TransactionState
from models.tables.incident_book import open_incident
from models.tables.transactions import ChainAttempt, ChainTransaction

_MAYBE_SENT = frozenset({SendClass.SENT, SendClass.UNKNOWN, SendClass.RECONCILE, SendClass.OURS_IS_LIVE})
_UNMINED = ChainTransaction.state.in_(UNMINED_STATES)


@dataclass(frozen=True, slots=True)
class _Reply:
    """What a node said to one attempt, and the class of it."""

    attempt: StoredAttempt
    means: SendClass
    words: str

    @property
    def blame(self) -> str:
        return f"the node answered {self.means} to {self.attempt.hash}: {self.words}"


class Outbox:
    def __init__(self, office: Office, alarms: Alarms) -> None:
        self._term = office.term
        self._node = office.node
        self._config = office.config
        self._log = office.log
        self._alarms = alarms

    async def send(self, attempts: Sequence[StoredAttempt]) -> None:
        """Sends in the order given, and records what the node said of each. A gap below them is filled once."""
        gaps = [reply.attempt.nonce for reply in await self._send_once(attempts) if reply.means is SendClass.GAP]
        if gaps:
            await self._send_once(await self._best_attempts(_UNMINED & (ChainTransaction.nonce <= max(gaps))))

    async def _send_once(self, attempts: Sequence[StoredAttempt]) -> list[_Reply]:
        if not attempts:
            return []
        answers = await self._node.send_raw([attempt.raw for attempt in attempts])
        replies = [self._reply(*pair) for pair in zip(attempts, answers, strict=True)]
        async with self._term.transaction() as session:
            for reply in replies:
                if reply.means is SendClass.STOP:
                    await self._stop(session, reply.blame)
            await record_answers(session, [_answered(reply) for reply in replies])
            unfit = {reply.attempt.transaction_id: reply.blame for reply in replies if reply.means is SendClass.INVALID}
            await ask_cancel(session, unfit)
        refused = [reply for reply in replies if reply.means is SendClass.FUNDS]
        if refused:
            await self._alarms.open(IncidentKind.GAS_LOW, self._config.lock_name, refused[0].blame)
        return replies

    async def _stop(self, session: AsyncSession, blame: str) -> None:
        """The key or the chain is wrong: whatever else were sent would be refused as well."""
        await pause_signer(session, self._config.chain_id, self._config.wallet, reason=blame, by="lane")
        await open_incident(session, IncidentKind.SENDS_REFUSED, self._config.lock_name, blame)

    async def resend_prepared(self) -> None:
        """After a start: what was stored and perhaps not sent, in the order of the nonces."""
        await self._resend_all(ChainTransaction.state == TransactionState.PREPARED)

    async def resend(self, transaction_ids: Collection[int]) -> None:
        await self._resend_all(_UNMINED & ChainTransaction.id.in_(transaction_ids))

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

    def _reply(self, attempt: StoredAttempt, answer: SendAnswer) -> _Reply:
        means = classify(answer)
        if isinstance(answer, SendOk) and answer.tx_hash != attempt.hash:
            means = SendClass.UNKNOWN
        if means is not SendClass.SENT:
            self._log.warning("send_answered", hash=attempt.hash, nonce=attempt.nonce, means=means, said=_words(answer))
        return _Reply(attempt, means, _words(answer))


def _answered(reply: _Reply) -> Answered:
    said = answer_in_words(reply.means, reply.words)
    return Answered(reply.attempt.transaction_id, reply.attempt.hash, said, reply.means in _MAYBE_SENT)


def _words(answer: SendAnswer) -> str:
    match answer:
        case SendOk():
            return answer.tx_hash
        case SendError():
            return answer.message
        case SendUnavailable():
            return answer.reason
