"""Bugs of the ledger's book and of its table."""

from tests.planted.bug import Bug

_BOOK = "models/tables/book.py"
_TABLES = "migrations/versions/0001_the_tables.py"
_MACHINE = "tests/machines/test_ledger.py::test_any_order_of_steps"

BUGS = [
    Bug(
        name="resolved-twice",
        breaks="a pending row is named by one posting or voiding row",
        file=_TABLES,
        old='        sa.UniqueConstraint("pending_id", name=op.f("uq_ledger_transfers_pending_id")),\n',
        new="",
        test="tests/activities/test_ledger_constraints.py::test_a_resolution_is_final",
    ),
    Bug(
        name="rows-that-change",
        breaks="ledger rows are immutable",
        file=_TABLES,
        old="CREATE TRIGGER ledger_transfers_immutable BEFORE UPDATE OR DELETE ON ledger_transfers\n",
        new="CREATE TRIGGER ledger_transfers_immutable BEFORE DELETE ON ledger_transfers\n",
        test=_MACHINE,
    ),
    Bug(
        name="void-counted-as-posted",
        breaks="what is voided moved nothing",
        file=_BOOK,
        old="moved = row.amount if phase is LedgerPhase.POSTED else 0",
        new="moved = row.amount",
        test="tests/activities/test_book.py::test_what_is_left_of_the_float",
    ),
    Bug(
        name="promise-left-in-the-cache",
        breaks="cached balances equal derived ones",
        file=_BOOK,
        old="posted=-moved, pending_out=-row.amount)",
        new="posted=-moved)",
        test=_MACHINE,
    ),
    Bug(
        name="another-generation-resolved",
        breaks="a leg that is final posts its own movements and no others",
        file=_BOOK,
        old="    if generation is not None:\n        query = query.where(LedgerTransfer.generation == generation)\n",
        new="",
        test=_MACHINE,
    ),
    Bug(
        name="promise-made-again",
        breaks="a movement of a leg is promised once",
        file=_TABLES,
        old='        ["operation_id", "leg", "generation", "kind"],\n        unique=True,\n',
        new='        ["operation_id", "leg", "generation", "kind"],\n        unique=False,\n',
        test=_MACHINE,
    ),
    Bug(
        name="promised-counted-as-there",
        breaks="a balance counts what has happened",
        file=_BOOK,
        old="_COUNTED = (LedgerPhase.POSTED, LedgerPhase.SINGLE)",
        new="_COUNTED = (LedgerPhase.PENDING, LedgerPhase.SINGLE)",
        test="tests/activities/test_book.py::test_a_balance_counts_what_has_happened",
    ),
    Bug(
        name="float-read-without-a-lock",
        breaks="of two that spend the last of the float at once, one does",
        file=_BOOK,
        old="LedgerBalance.account == accounts.FLOAT).with_for_update()",
        new="LedgerBalance.account == accounts.FLOAT)",
        test="tests/activities/test_book.py::test_who_reads_what_is_left_holds_it",
    ),
]
