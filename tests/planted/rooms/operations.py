"""Bugs of decisions, runs and stories: what was decided once stays so, and nothing is undone by guess."""

from tests.planted.bug import Bug

_AGAIN = "tests/workflows/test_runs_again.py"
_BORROWS = "tests/workflows/test_borrow_table.py"

BUGS = [
    Bug(
        name="head-not-skipped",
        breaks="a run that finds a decision goes straight to the tail",
        file="workflows/borrow.py",
        old="decision = opened.decision or await self._decide(request)",
        new="decision = await self._decide(request)",
        test="tests/replay/test_histories.py::test_replays",
    ),
    Bug(
        name="fee-computed-again",
        breaks="a run that is started again keeps to the terms that the partner was given",
        file="activities/loans.py",
        old="            return OpenedBorrow(\n",
        new="            from activities.fees import quote\n"
        "            from models.tables.partners import Partner\n"
        "            partner = await session.get_one(Partner, operation.partner_id)\n"
        "            if operation.terms is not None:\n"
        "                again = quote(operation.terms['quote']['principal'], partner.fee_bps)\n"
        "                operation.terms = operation.terms | {'quote': again.model_dump(mode='json')}\n"
        "            return OpenedBorrow(\n",
        test=f"{_AGAIN}::test_terminated_after_the_borrow_is_on_chain",
    ),
    Bug(
        name="decided-twice",
        breaks="a decision is a compare-and-set: the loser takes the stored one",
        file="activities/limits.py",
        old="            if operation.decision is not None:\n                return stored_decision(operation)\n",
        new="",
        test="tests/activities/test_limits.py::test_one_operation_reserves_once",
    ),
    Bug(
        name="fingerprint-ignored",
        breaks="another request under the same key is a conflict, never the first answer",
        file="api/idempotency.py",
        old="        if row.fingerprint != asked.fingerprint:\n            raise _conflict(row, asked)\n",
        new="",
        test="tests/api/test_idempotency.py::test_another_body_is_a_conflict_before_and_after_the_decision",
    ),
    Bug(
        name="grant-of-another-partner",
        breaks="a borrow needs a live grant for that partner",
        file="activities/partners.py",
        old="            CreditLineGrant.partner_id == partner_id,\n",
        new="",
        test=f"{_BORROWS}::test_a_line_granted_to_another_partner",
    ),
    Bug(
        name="story-cut-in-half-by-a-cancel",
        breaks="a cancellation never interrupts the story",
        file="workflows/operation.py",
        old="outcome = await asyncio.shield(told)",
        new="outcome = await told",
        test=f"{_BORROWS}::test_cancelled_before_prepared",
    ),
    Bug(
        name="unwound-while-usdc-is-paused",
        breaks="a settlement is undone only where the same transfer to a probe address passes",
        file="activities/settlement.py",
        old="verdict = SettlementVerdict.BLOCKED if probe_passes else SettlementVerdict.UNDECIDED",
        new="verdict = SettlementVerdict.BLOCKED",
        test=f"{_BORROWS}::test_usdc_paused_for_a_while",
    ),
    Bug(
        name="unwound-by-time-alone",
        breaks="past the settle deadline an operator chooses, never automatically",
        file="workflows/borrow.py",
        old="            if outlook.verdict is SettlementVerdict.UNDECIDED:\n",
        new="            if outlook.verdict is SettlementVerdict.UNDECIDED:\n                return outlook.reason\n",
        test=f"{_BORROWS}::test_settle_deadline",
    ),
    Bug(
        name="event-outside-the-transaction",
        breaks="an event is written by the transaction that makes it true",
        file="activities/loans.py",
        old="            write_event(session, rows.operation, EventType.LOAN_BORROWED, loan_snapshot(rows.loan))\n",
        new="            async with self._transaction() as apart:\n"
        "                write_event(apart, rows.operation, EventType.LOAN_BORROWED, loan_snapshot(rows.loan))\n",
        test="tests/activities/test_events.py::test_what_is_undone_was_never_told",
    ),
    Bug(
        name="recorded-twice",
        breaks="a reservation is drawn once",
        file="activities/loans.py",
        old="            if rows.reservation.state is not ReservationState.RESERVED:\n                return Done()\n",
        new="            rows.reservation.state = ReservationState.RESERVED\n",
        test="tests/activities/test_limits.py::test_a_borrow_is_drawn_once",
    ),
    Bug(
        name="late-submission-after-the-end",
        breaks="a submission that wakes up after its operation is done sends nothing",
        file="activities/transactions.py",
        old="            if operation.state is OperationState.DONE:\n",
        new="            if operation.state is OperationState.NOT_STARTED:\n",
        test=f"{_AGAIN}::test_a_submit_that_stalls_while_its_operation_is_abandoned",
    ),
    Bug(
        name="reversed-with-a-debt",
        breaks="a loan is REVERSED only where the chain says that nothing is owed",
        file="activities/loans.py",
        old="        if asked.debt.outstanding > 0:\n",
        new="        if asked.debt.outstanding < 0:\n",
        test="tests/machines/test_limits.py::test_any_order_of_steps",
    ),
]
