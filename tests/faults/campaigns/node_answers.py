"""Every real answer of a node to a send, told to a lane at work: each leg then does what the table of money.md section 2 says.

The answer comes to the first send of a leg, and the node either never got the transaction or has it all the same: a lane
cannot tell, so both must end with one payment at most, at the nonce that was given out.
"""

import asyncio
import random
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import rlp  # type: ignore[import-untyped]  # it ships no types
from sqlalchemy import select

from chain import transactions
from chain.classifier import RULES, SendClass
from chain.client import ChainClient
from chain.signers import resume_signer
from chain.types import SendAnswer, SendError
from models.statuses import WITHOUT_EFFECT_STATES, AttemptKind, IncidentKind, LegName, TransactionState
from models.tables.operators import Incident
from models.tables.transactions import ChainAttempt, ChainTransaction
from tests.chain.lane.desk import CHAIN_ID
from tests.chain.test_classifier import CORPUS
from tests.engine import until
from tests.faults.campaign import Part, Report
from tests.faults.grounds import Grounds
from tests.faults.lanes.checks import OK
from tests.faults.lanes.yard import REST_SECONDS, Yard, open_yard

KEPT, TOLD_AFTER = "kept-from-the-node", "told-although-sent"
SAMPLE, STRANGE, FULL_STRANGE = 3, 3, 40
RESEND_AFTER = timedelta(milliseconds=300)
EITHER = frozenset({TransactionState.FINAL_OK, TransactionState.FINAL_CANCELLED})
CANCELLED = frozenset({TransactionState.FINAL_CANCELLED})
INCIDENTS = {SendClass.FUNDS: IncidentKind.GAS_LOW, SendClass.STOP: IncidentKind.SENDS_REFUSED}
_DATA_FIELD = 7


class NodeAnswers:
    name = "node-answers"
    title = "node error strings"
    figure = (
        "each of the corpus, and 40 that nobody ever said, both unsent and sent: an unknown one is never 'not sent'"
    )
    unit = "sends answered with an error"

    def parts(self, *, full: bool) -> list[Part]:
        extent = "all" if full else "some"
        return [Part(self.name, f"{extent}-{kind}", seed) for seed, kind in enumerate((KEPT, TOLD_AFTER))]

    async def run(self, part: Part, grounds: Grounds) -> Report:
        dice = random.Random(part.seed)  # noqa: S311 - a seed must plan the same again
        full, sent = part.name.startswith("all"), part.name.endswith(TOLD_AFTER)
        report = Report()
        async with open_yard(grounds, resend_after=RESEND_AFTER) as yard, AnsweringNode(yard.rpc_url) as node:
            async with yard.desk.running(yard.desk.lane(node)):
                for means in SendClass:
                    words = _words_of(means, dice, full=full)
                    trial = _Trial(yard, node, means, words, sent)
                    report.breaches += await trial.run()
                    report.injections += len(words)
                    report.faults[str(means)] += len(words)
            report.breaches += await yard.breaches(
                {row.operation_id: EITHER for row in await yard.rows() if row.cancel_reason is not None}
            )
            report.operations = len(await yard.rows())
            return report


def _words_of(means: SendClass, dice: random.Random, *, full: bool) -> list[str]:
    known = [message for class_, _, message in CORPUS if class_ is means]
    words = known if full else dice.sample(known, SAMPLE)
    strange = [_strange(dice) for _ in range(FULL_STRANGE if full else STRANGE)] if means is SendClass.UNKNOWN else []
    return [*words, *strange]


def _strange(dice: random.Random) -> str:
    """Words that no rule knows."""
    while True:
        words = "".join(dice.choices(string.ascii_lowercase + " ", k=dice.randint(1, 60)))
        if not any(rule.says in words for rule in RULES):
            return words


class AnsweringNode(ChainClient):
    """The real node, which answers the first send of each of these payments with these words instead of its own."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.waiting: dict[int, str] = {}
        """The words by the payment's amount; a payment that was answered is taken out."""
        self.sends_anyway = False

    async def send_raw(self, raws: Sequence[bytes]) -> list[SendAnswer]:
        words = [self.waiting.pop(_amount(raw), None) for raw in raws]
        passing = [raw for raw, said in zip(raws, words, strict=True) if said is None or self.sends_anyway]
        answers = dict(zip(passing, await super().send_raw(passing), strict=True))
        return [
            answers[raw] if said is None else SendError(-32000, said) for raw, said in zip(raws, words, strict=True)
        ]


def _amount(raw: bytes) -> int:
    """What the signed payment pays; 0 where it is none."""
    data: bytes = rlp.decode(raw[1:])[_DATA_FIELD]
    return int.from_bytes(data[-32:])


@dataclass(frozen=True)
class _Trial:
    """All answers of one class at once, each told to a leg of its own."""

    yard: Yard
    node: AnsweringNode
    means: SendClass
    words: Sequence[str]
    sent: bool

    async def run(self) -> list[str]:
        legs = await self._answered()
        breaches = [*await self._given_up(legs), *await self._told()]
        if self.means is SendClass.STOP:
            breaches += await self._stopped()
        breaches += await self.yard.rests(mining=False)
        attempts = await self.yard.attempts()
        for row in await self.yard.rows():
            if row.operation_id in legs:
                breaches += self._fate(row, attempts.get(row.id, []), legs[row.operation_id])
        return breaches

    async def _answered(self) -> Mapping[str, str]:
        """Returns once each leg was sent and has heard its words, which are the values."""
        amounts = self.yard.amounts(len(self.words))
        self.node.sends_anyway = self.sent
        self.node.waiting = dict(zip(amounts, self.words, strict=True))
        operations = await self.yard.queue_amounts(amounts)
        await until(self._all_heard, REST_SECONDS)
        return dict(zip(operations, self.words, strict=True))

    async def _all_heard(self) -> bool:
        return not self.node.waiting

    async def _given_up(self, legs: Mapping[str, str]) -> list[str]:
        """No answer makes a leg one that may be released: it has a nonce, and may be mined.

        One that was cancelled for its answer may be final by now, and then it may. Giving up is undone either way.
        """
        gone = []
        for operation_id in legs:
            async with self.yard.desk.transaction() as session:
                async with session.begin_nested() as trying:
                    given_up = await transactions.abandon(session, operation_id, LegName.SETTLE, "given up")
                    await trying.rollback()
                sent = await transactions.find(session, operation_id, LegName.SETTLE, 1)
            if given_up and (sent is None or sent.state not in WITHOUT_EFFECT_STATES):
                gone.append(operation_id)
        return [f"{each} was given up after '{legs[each]}', though it may have been sent" for each in gone]

    async def _told(self) -> list[str]:
        """Whether a person is told where the table says so."""
        kind = INCIDENTS.get(self.means)
        if kind is None:
            return []
        try:
            await until(lambda: self._has_incident(kind), REST_SECONDS)
        except TimeoutError:
            return [f"nobody was told of {self.means} by an incident {kind}"]
        return []

    async def _has_incident(self, kind: IncidentKind) -> bool:
        query = select(Incident.id).where(Incident.kind == kind)
        async with self.yard.desk.transaction() as session:
            return await session.scalar(query.limit(1)) is not None

    async def _stopped(self) -> list[str]:
        """A stopped lane takes no nonce until a person lets it go on."""
        desk = self.yard.desk
        if (await self.yard.signer_row()).paused_at is None:
            return ["the signer goes on after an answer that says that its key or its chain is wrong"]
        (behind,) = await self.yard.queue(1)
        await asyncio.sleep(
            3 * desk.config.queue_poll.total_seconds()
        )  # nothing happens, so there is nothing to wait for
        state = (await desk.row(behind)).state
        async with desk.transaction() as session:
            await resume_signer(session, CHAIN_ID, desk.wallet)
        return [] if state is TransactionState.QUEUED else [f"{behind} is {state} while the signer is paused"]

    def _fate(self, row: ChainTransaction, attempts: Sequence[ChainAttempt], words: str) -> Iterator[str]:
        ends = self._ends()
        kinds = [attempt.kind for attempt in attempts]
        if row.state not in ends:
            yield f"'{words}' ({self.means}) ended {row.state}, not {' or '.join(sorted(ends))}"
        if not self._fits(kinds):
            yield f"'{words}' ({self.means}) led to the attempts {[str(kind) for kind in kinds]}"
        nonces = {int.from_bytes(rlp.decode(bytes(attempt.raw)[1:])[1]) for attempt in attempts}
        if nonces != {row.nonce}:
            yield f"'{words}' ({self.means}): the attempts of nonce {row.nonce} have the nonces {sorted(nonces)}"

    def _ends(self) -> frozenset[TransactionState]:
        if self.means is SendClass.INVALID:
            return EITHER if self.sent else CANCELLED
        return OK

    def _fits(self, kinds: Sequence[AttemptKind]) -> bool:
        """The attempts of a leg whose first one was answered so, in the order in which they were stored."""
        only_payloads = set(kinds) == {AttemptKind.PAYLOAD}
        match self.means:
            case SendClass.INVALID:
                cancelled = kinds[:2] == [AttemptKind.PAYLOAD, AttemptKind.CANCEL]
                return cancelled or (self.sent and kinds == [AttemptKind.PAYLOAD])
            case SendClass.REPRICE:
                return only_payloads and (self.sent or len(kinds) > 1)
            case SendClass.OURS_IS_LIVE:
                return only_payloads
            case _:
                return kinds == [AttemptKind.PAYLOAD]
