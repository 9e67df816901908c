"""Legs under submits, releases and the lane in any order, the late ones too: what money.md forbids raises and changes nothing."""

from functools import partial

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from chain import transactions
from chain.broken import IllegalTransition
from chain.legs import PlannedLeg, plan_leg
from chain.transitions import (
    Answered,
    NewAttempt,
    Result,
    abandon_queued,
    forget_receipts,
    prepare,
    record_answers,
    record_results,
    refuse_queued,
    resume_held,
    settle_held,
)
from chain.types import TxHash, Wei
from models.messages.legs import BorrowCall, LegCall, LegOutcome, RepayCall, TransferCall
from models.statuses import LIVE_STATES, AttemptKind, LedgerKind, TransactionState
from models.tables import book
from models.tables.transactions import ChainAttempt, ChainSigner, ChainTransaction
from tests import factories as make
from tests.machines import stage as on
from tests.machines.legs import ACCOUNT_OF, COUNTS, LEGS, MOVES, RIVALS, Generation, Model, S

OPERATIONS = 2
COLLECTED = 10
WORKFLOW = (
    "submit_next",
    "submit_next",
    "submit_next_refused",
    "submit_any",
    "submit_any_refused",
    "give_up",
    "cancel",
)
GO_ON = dict.fromkeys(S, ("answer",)) | {
    S.QUEUED: ("prepare",),
    S.BROADCAST: ("mine",),
    S.MINED: ("succeed", "revert", "end_cancelled", "hold"),
    S.HELD: ("resume", "accept"),
}
"""What comes next of a leg that is alive."""
LANE = ("prepare", "prepare_two", "prepare_with_used_nonce", "answer", *MOVES, *("go_on",) * 16)
DEEDS = (*WORKFLOW * 2, *LANE)


class Legs(on.Machine):
    def __init__(self, stage: on.Stage) -> None:
        super().__init__(stage)
        self.model = Model(COLLECTED)
        self.operations: list[str] = []

    @initialize()
    def operations_with_money(self) -> None:
        async def begin(session: AsyncSession) -> list[str]:
            await make.known_signer(session)
            partner = await make.new_partner(session)
            return [(await make.new_operation(session, partner)).id for _ in range(OPERATIONS)]

        self.operations = self.commit(begin)
        for operation_id in self.operations:
            for account in {each for each in ACCOUNT_OF.values() if each is not None}:
                entry = book.Entry(LedgerKind.BORROW, "platform_wallet", account, COLLECTED, operation_id=operation_id)
                self.commit(partial(book.record, entry=entry))

    @rule(deed=st.sampled_from(DEEDS), place=st.integers(0, 9), how=st.integers(1, COLLECTED))
    def do(self, deed: str, place: int, how: int) -> None:
        """One rule and not one for each deed, many of whose deeds go on: else few legs would come far."""
        if deed in WORKFLOW:
            operation, leg = divmod(place, len(LEGS))
            self._workflow(deed, operation, LEGS[leg], how)
        elif known := [each for each in self.model.generations if not each.tombstone]:
            self._lane(deed, known, place, how)

    # Workflows and operators

    def _workflow(self, deed: str, operation: int, leg: str, how: int) -> None:
        """``how`` is an amount; of late or confused callers also the generation that they ask for."""
        if deed == "give_up":
            act = partial(transactions.abandon, operation_id=self.operations[operation], leg=leg, reason="given up")
            assert self.commit(act) == self.model.abandon(operation, leg)
        elif deed == "cancel":
            ask = partial(transactions.request_cancel, operation_id=self.operations[operation], leg=leg, reason="asked")
            assert self.commit(ask) == self.model.cancel(operation, leg)
        else:
            number = 1 + how % 4 if "any" in deed else len(self.model.of(operation, leg)) + 1
            state = S.REFUSED if deed.endswith("refused") else S.QUEUED
            self._submit(Generation(operation, leg, number, state, how))

    def _submit(self, wanted: Generation) -> None:
        act = partial(self._insert, wanted)
        stored = self.model.find(wanted.operation, wanted.leg, wanted.number)
        queued = wanted.state is S.QUEUED
        broken = self.model.why_not(wanted) if queued else self.model.why_too_early(wanted)
        if stored is not None:
            assert self._shown(self.commit(act)) == (stored.number, stored.state, stored.amount)
        elif broken is not None:
            with pytest.raises(broken):
                self.commit(act)
        else:
            assert self._shown(self.commit(act)) == (wanted.number, wanted.state, wanted.amount)
            self.model.generations.append(wanted)

    async def _insert(self, wanted: Generation, session: AsyncSession) -> LegOutcome:
        planned = self._planned(wanted)
        if wanted.state is S.REFUSED:
            return await transactions.insert_refused(session, planned, "the machine says so")
        return await transactions.insert_queued(session, planned, gas=21_000)

    # The lane

    def _lane(self, deed: str, known: list[Generation], place: int, how: int) -> None:
        """On any generation, be it where the lane would find it or long past: what was read may be old."""
        live = [each for each in known if each.state in LIVE_STATES]
        chosen = (live or known)[place % len(live or known)] if deed == "go_on" else known[-1 - place % len(known)]
        if deed == "go_on":
            deed = GO_ON[chosen.state][how % len(GO_ON[chosen.state])]
        if deed.startswith("prepare"):
            rows = [chosen, known[how % len(known)]] if deed == "prepare_two" else [chosen]
            self._prepare(rows, used_nonce=deed == "prepare_with_used_nonce")
        elif deed == "answer":
            self._answer(chosen, maybe_sent=how > 1)
        else:
            self._move(deed, chosen)

    def _prepare(self, rows: list[Generation], *, used_nonce: bool) -> None:
        """With the nonces that come next, or with one that was given out before."""
        if used_nonce and self.model.next_nonce == 0:
            return
        first = 0 if used_nonce else self.model.next_nonce
        legal = all(row.state is S.QUEUED for row in rows) and len({id(row) for row in rows}) == len(rows)
        act = partial(self._give_nonces, rows, first)
        if not legal or used_nonce:
            with pytest.raises((IllegalTransition, IntegrityError)):
                self.commit(act)
            return
        self.commit(act)
        for row in rows:
            row.state, row.nonce = S.PREPARED, self.model.next_nonce
            self.model.next_nonce += 1

    async def _give_nonces(self, rows: list[Generation], first: int, session: AsyncSession) -> None:
        ids = [await self._id(session, row) for row in rows]
        attempts = [
            NewAttempt(row_id, first + place, AttemptKind.PAYLOAD, _hash(), b"", 21_000, Wei(1), Wei(1))
            for place, row_id in enumerate(ids)
        ]
        await prepare(session, attempts)
        await session.execute(update(ChainSigner).values(next_nonce=first + len(rows)))

    def _answer(self, row: Generation, *, maybe_sent: bool) -> None:
        async def act(session: AsyncSession) -> None:
            answer = Answered(await self._id(session, row), _hash(), "the machine says so", maybe_sent)
            await record_answers(session, [answer])

        self.commit(act)
        if maybe_sent and row.state is S.PREPARED:
            row.state = S.BROADCAST

    def _move(self, name: str, row: Generation) -> None:
        sources, target = MOVES[name]

        async def act(session: AsyncSession) -> None:
            row_id = await self._id(session, row)
            await _transition(session, name, row_id, target)

        if row.state in sources:
            self.commit(act)
            row.state = target
        else:
            with pytest.raises(IllegalTransition):
                self.commit(act)

    # What must hold

    @invariant()
    def rows_are_those_of_the_model(self) -> None:
        rows = self.commit(on.all_rows(ChainTransaction))
        found = {(row.operation_id, row.leg, row.generation): (row.state, row.amount, row.nonce) for row in rows}
        assert found == {
            (self.operations[each.operation], each.leg, each.number): (each.state, each.amount, each.nonce)
            for each in self.model.generations
        }

    @invariant()
    def each_nonce_was_given_once(self) -> None:
        signers = self.commit(on.all_rows(ChainSigner))
        attempts = self.commit(on.all_rows(ChainAttempt))
        nonces = sorted(each.nonce for each in self.model.generations if each.nonce is not None)
        assert nonces == list(range(self.model.next_nonce))
        assert [signer.next_nonce for signer in signers] == [self.model.next_nonce]
        assert len({attempt.transaction_id for attempt in attempts}) == len(attempts) == len(nonces)

    @invariant()
    def effects_are_once_and_covered(self) -> None:
        """Of the model, which the rows are equal to: so that its own rules are checked by other words."""
        for operation in range(OPERATIONS):
            for leg in LEGS:
                alive = [each for each in self.model.of(operation, leg) if each.state in COUNTS]
                rivals = [each for each in self.model.of(operation, RIVALS.get(leg, "")) if each.state in COUNTS]
                assert len(alive + rivals) <= 1
            for account in ACCOUNT_OF.values():
                assert account is None or self.model.taken(operation, account) <= COLLECTED

    def _planned(self, wanted: Generation) -> PlannedLeg:
        return plan_leg(
            _call(wanted),
            operation_id=self.operations[wanted.operation],
            leg=wanted.leg,
            generation=wanted.number,
            wallet=make.WALLET,
            usdc=make.OAID,
            vault=make.VAULT,
            charges_account=ACCOUNT_OF[wanted.leg],
            chain_id=make.CHAIN_ID,
        )

    async def _id(self, session: AsyncSession, row: Generation) -> int:
        found = await transactions.find(session, self.operations[row.operation], row.leg, row.number)
        assert found is not None
        return found.id

    @staticmethod
    def _shown(outcome: LegOutcome) -> tuple[int, TransactionState, int]:
        return outcome.generation, outcome.state, outcome.amount


def test_any_order_of_steps(stage: on.Stage) -> None:
    """After each step of any sequence the rows are the model's: one effect for each leg, and each nonce once."""
    on.play(Legs, stage, examples=20, steps=40)


def _call(wanted: Generation) -> LegCall:
    match wanted.leg:
        case "borrow":
            return BorrowCall(position_id=1, amount=wanted.amount, loan_duration=1, number_of_installments=1)
        case "settle" | "refund":
            return TransferCall(recipient=make.USER, amount=wanted.amount)
        case _:
            return RepayCall(position_id=1, amount=wanted.amount)


def _hash() -> TxHash:
    return TxHash(make.unique_hash())


async def _transition(session: AsyncSession, name: str, row_id: int, target: TransactionState) -> None:
    match name:
        case "give_up_queued":
            await abandon_queued(session, {row_id: "the machine says so"})
        case "refuse_queued":
            await refuse_queued(session, {row_id: "the machine says so"})
        case "reorg":
            await forget_receipts(session, [row_id])
        case "resume":
            await resume_held(session, [row_id])
        case "accept":
            await settle_held(session, [_result(row_id, target)])
        case _:
            await record_results(session, [_result(row_id, target)])


def _result(row_id: int, state: TransactionState) -> Result:
    held = "the machine says so" if state is S.HELD else None
    return Result(row_id, "settle", state, _hash(), 1, make.unique_hash(), 1, Wei(1), [], held)
