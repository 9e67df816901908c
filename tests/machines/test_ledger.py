"""The ledger in any order of steps: each promise is resolved once, rows never change, and balances are what rows say."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, initialize, invariant, multiple, rule
from sqlalchemy import delete, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from models import accounts
from models.statuses import LedgerKind, LedgerPhase
from models.tables import book
from models.tables.book import Entry
from models.tables.ledger import LedgerBalance, LedgerTransfer
from tests import factories as make
from tests.machines.stage import Machine, Stage, all_rows, play

WALLET, LIABILITY = accounts.PLATFORM_WALLET, accounts.liability("p")
MOVEMENTS = {
    "borrow": [(LedgerKind.BORROW, WALLET, accounts.IN_FLIGHT)],
    "settle": [
        (LedgerKind.PAYOUT, accounts.IN_FLIGHT, WALLET),
        (LedgerKind.FEE, accounts.IN_FLIGHT, accounts.FEE_INCOME),
    ],
    "collect": [(LedgerKind.COLLECT, WALLET, LIABILITY)],
    "residue-1": [(LedgerKind.RESIDUE, accounts.FLOAT, WALLET)],
}
AT_ONCE = [
    (LedgerKind.TREASURY, WALLET, accounts.FLOAT),
    (LedgerKind.INBOUND, WALLET, accounts.UNCLAIMED_INBOUND),
    (LedgerKind.CLAIM, accounts.UNCLAIMED_INBOUND, LIABILITY),
    (LedgerKind.SUSPENSE, accounts.IN_FLIGHT, accounts.SUSPENSE),
]
ACCOUNTS = [
    WALLET, LIABILITY, accounts.IN_FLIGHT, accounts.FEE_INCOME, accounts.FLOAT, accounts.UNCLAIMED_INBOUND, accounts.SUSPENSE,
]  # fmt: skip

amounts = st.integers(1, 9) | st.integers(1, 10**15)
numbers = st.integers(0, 1)
legs = st.sampled_from(sorted(MOVEMENTS)) | st.just("residue-1")
"""The one whose balance is kept beside the rows is taken more often than the others."""
generations = st.integers(1, 2)
ends = st.sampled_from([LedgerPhase.POSTED, LedgerPhase.VOIDED])

Look = Sequence[LedgerTransfer] | MultipleResults[Sequence[LedgerTransfer]]
Key = tuple[str | None, str | None, int | None, LedgerKind]
Row = tuple[Key, LedgerPhase, int]


@dataclass
class Model:
    """What the ledger should say, by the simplest means: each promise with what became of it."""

    promised: dict[Key, tuple[Entry, LedgerPhase]] = field(default_factory=dict)
    singles: list[Entry] = field(default_factory=list)

    def pend(self, entry: Entry) -> None:
        self.promised.setdefault(_key(entry), (entry, LedgerPhase.PENDING))

    def open(self, operation_id: str, leg: str, generation: int | None) -> set[Key]:
        return {
            key
            for key, (_, phase) in self.promised.items()
            if phase is LedgerPhase.PENDING and key[:2] == (operation_id, leg) and generation in (None, key[2])
        }

    def resolve(self, keys: set[Key], phase: LedgerPhase) -> None:
        self.promised |= {key: (self.promised[key][0], phase) for key in keys}

    def rows(self) -> list[Row]:
        pending = [(key, LedgerPhase.PENDING, entry.amount) for key, (entry, _) in self.promised.items()]
        resolved = [
            (key, phase, entry.amount)
            for key, (entry, phase) in self.promised.items()
            if phase is not LedgerPhase.PENDING
        ]
        return sorted(
            pending + resolved + [(_key(each), LedgerPhase.SINGLE, each.amount) for each in self.singles], key=str
        )

    def balance(self, account: str, operation_id: str | None = None) -> int:
        posted = [entry for entry, phase in self.promised.values() if phase is LedgerPhase.POSTED]
        counted = [each for each in posted + self.singles if operation_id in (None, each.operation_id)]
        came = sum(each.amount for each in counted if each.credit == account)
        return came - sum(each.amount for each in counted if each.debit == account)

    @property
    def promised_of_float(self) -> int:
        return sum(
            entry.amount
            for entry, phase in self.promised.values()
            if phase is LedgerPhase.PENDING and entry.debit == accounts.FLOAT
        )


class Ledger(Machine):
    looks = Bundle("looks")

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.model = Model()
        self.operations: list[str] = []

    @initialize()
    def two_operations(self) -> None:
        self.operations = [self.commit(make.new_operation).id for _ in range(2)]

    @rule(target=looks, number=numbers, leg=legs, generation=generations, amount=amounts)
    def promise(self, number: int, leg: str, generation: int, amount: int) -> Look:
        """Returns what somebody reads of the leg now, and may act upon later."""
        entries = [_entry(movement, amount, self.operations[number], leg, generation) for movement in MOVEMENTS[leg]]
        self.commit(partial(book.pend, entries=entries))
        for entry in entries:
            self.model.pend(entry)
        return self._read(number, leg)

    @rule(number=numbers, leg=legs, generation=generations)
    def keep(self, number: int, leg: str, generation: int) -> None:
        asked = (self.operations[number], leg, generation)
        self.commit(lambda session: book.post(session, *asked))
        self.model.resolve(self.model.open(*asked), LedgerPhase.POSTED)

    @rule(number=numbers, leg=legs, generation=st.none() | generations)
    def give_up(self, number: int, leg: str, generation: int | None) -> None:
        asked = (self.operations[number], leg, generation)
        self.commit(lambda session: book.void(session, *asked))
        self.model.resolve(self.model.open(*asked), LedgerPhase.VOIDED)

    @rule(movement=st.sampled_from(AT_ONCE), amount=amounts, number=numbers)
    def move_at_once(self, movement: tuple[LedgerKind, str, str], amount: int, number: int) -> None:
        entry = _entry(movement, amount, self.operations[number])
        self.commit(partial(book.record, entry=entry))
        self.model.singles.append(entry)

    def _read(self, number: int, leg: str) -> Look:
        rows = self.commit(lambda session: book._unresolved(session, self.operations[number], leg, None))
        return multiple(*([rows] if rows else []))

    @rule(rows=looks, phase=ends)
    def resolve_what_was_read_once(self, rows: Sequence[LedgerTransfer], phase: LedgerPhase) -> None:
        keys = {_key_of(row) for row in rows}
        act = partial(book._resolve, pending=rows, phase=phase)
        if all(self.model.promised[key][1] is LedgerPhase.PENDING for key in keys):
            self.commit(act)
            self.model.resolve(keys, phase)
        else:
            with pytest.raises(IntegrityError, match="uq_ledger_transfers_pending_id"):
                self.commit(act)

    @rule(which=st.sampled_from(["update", "delete", "truncate"]))
    def tamper(self, which: str) -> None:
        statement = {
            "update": update(LedgerTransfer).values(amount=LedgerTransfer.amount + 1),
            "delete": delete(LedgerTransfer),
            "truncate": text("TRUNCATE ledger_transfers"),
        }[which]
        if self.model.rows():
            with pytest.raises(IntegrityError, match="never changed or deleted"):
                self.commit(partial(AsyncSession.execute, statement=statement))

    @rule(account=st.sampled_from(ACCOUNTS), number=st.none() | numbers)
    def ask_for_a_balance(self, account: str, number: int | None) -> None:
        operation_id = None if number is None else self.operations[number]
        asked = partial(book.balance, account=account, operation_id=operation_id)
        assert self.commit(asked) == self.model.balance(account, operation_id)

    @invariant()
    def rows_are_those_of_the_model(self) -> None:
        rows = self.commit(all_rows(LedgerTransfer))
        assert sorted(((_key_of(row), row.phase, row.amount) for row in rows), key=str) == self.model.rows()

    @invariant()
    def the_float_is_what_the_rows_say(self) -> None:
        cached = self.commit(partial(AsyncSession.get, entity=LedgerBalance, ident=accounts.FLOAT))
        found = (0, 0) if cached is None else (cached.posted, cached.pending_out)
        assert found == (self.model.balance(accounts.FLOAT), self.model.promised_of_float)
        assert self.commit(book.float_left) == found[0] - found[1]


def test_any_order_of_steps(stage: Stage) -> None:
    """After each step of any sequence, late ones included, the ledger is the model's, and the float's cache is true."""
    play(Ledger, stage, examples=30, steps=25)


def _entry(
    movement: tuple[LedgerKind, str, str],
    amount: int,
    operation_id: str,
    leg: str | None = None,
    generation: int | None = None,
) -> Entry:
    kind, debit, credit = movement
    return Entry(kind, debit, credit, amount, operation_id=operation_id, leg=leg, generation=generation)


def _key(entry: Entry) -> Key:
    return entry.operation_id, entry.leg, entry.generation, entry.kind


def _key_of(row: LedgerTransfer) -> Key:
    return row.operation_id, row.leg, row.generation, row.kind
