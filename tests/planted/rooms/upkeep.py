"""Bugs of what runs by the clock: the sweep of lost operations, and the reconciliation."""

from tests.planted.bug import Bug

_SWEEPS = "activities/sweeps.py"
_RECONCILIATION = "activities/reconciliation.py"
_SWEPT = "tests/workflows/test_sweep.py"
_RECONCILED = "tests/workflows/test_reconcile.py"
_CONCLUDED = "tests/activities/test_reconciliation.py"
_TAMPERED = "tests/audit/test_tampering.py::test_what_was_tampered_with_is_named"

BUGS = [
    Bug(
        name="sweep-starts-system-operations",
        breaks="system operations are driven by the lane, with no workflow and no sweep",
        file=_SWEEPS,
        old="Operation.kind.in_(self._workflows), old)",
        new="old)",
        test=f"{_SWEPT}::test_the_lanes_own_operations_are_not_swept",
    ),
    Bug(
        name="sweep-trusts-a-closed-workflow",
        breaks="an open operation is run again, also when its workflow completed",
        file=_SWEEPS,
        old="        return description.status is WorkflowExecutionStatus.RUNNING\n",
        new="        return description.status is not WorkflowExecutionStatus.TERMINATED\n",
        test=f"{_SWEPT}::test_an_open_operation_is_opened_again",
    ),
    Bug(
        name="sweep-gives-up-what-is-asked-again",
        breaks="a repeat of the request by its partner restores RECEIVED",
        file=_SWEEPS,
        old="                Operation.received_at < func.now() - self._give_up_after,\n",
        new="",
        test=f"{_SWEPT}::test_a_repeat_wins_against_the_sweep",
    ),
    Bug(
        name="sweep-gives-up-what-runs",
        breaks="only RECEIVED without a workflow becomes NOT_STARTED",
        file=_SWEEPS,
        old="            if await self._runs(found.id):\n",
        new="            if await self._runs(found.id) and found.state is OperationState.OPEN:\n",
        test=f"{_SWEPT}::test_a_request_is_given_up_only_without_a_workflow",
    ),
    Bug(
        name="surplus-pauses-the-signer",
        breaks="nobody can stop the engine by sending it a base unit",
        file=_RECONCILIATION,
        old="[each for each in news if each.pauses_signer]",
        new="news",
        test=f"{_RECONCILED}::test_a_surplus_goes_to_suspense_and_alerts",
    ),
    Bug(
        name="outflow-does-not-pause-the-signer",
        breaks="an unexplained outflow pauses the signer",
        file=_RECONCILIATION,
        old="[each for each in news if each.pauses_signer]",
        new="news[:0]",
        test=f"{_RECONCILED}::test_usdc_that_went_out_by_itself_pauses_the_signer",
    ),
    Bug(
        name="person-overruled",
        breaks="what a person has seen, and has resumed the signer in spite of, stays with that person",
        file=_RECONCILIATION,
        old="[each for each in news if each.pauses_signer]",
        new="[each for each in confirmed if each.pauses_signer]",
        test=f"{_RECONCILED}::test_a_person_who_resumes_the_signer_is_not_overruled",
    ),
    Bug(
        name="incident-closed-by-a-look-at-what-is-new",
        breaks="a breach stays an incident until an audit that can see it finds it no more",
        file=_RECONCILIATION,
        old="if asked.since is not None or asked.last.left_out > 0 or begun_at is None:",
        new="if asked.last.left_out > 0 or begun_at is None:",
        test=f"{_RECONCILED}::test_only_a_look_at_everything_closes_what_an_audit_found",
    ),
    Bug(
        name="incident-closed-by-a-look-that-began-before-it",
        breaks="a breach stays an incident until an audit that can see it finds it no more",
        file="models/tables/incident_book.py",
        old=", Incident.seen_at < seen_before)",
        new=")",
        test=f"{_CONCLUDED}::test_what_was_found_since_a_look_began_stays_open",
    ),
    Bug(
        name="audit-overlooks-overdrawn-accounts",
        breaks="an account that gave more than it had is a breach of invariant 1",
        file="activities/audit/books.py",
        old="if amount < 0 and account != accounts.PLATFORM_WALLET:",
        new="if False:",
        test=f"{_TAMPERED}[an-account-gives-more-than-it-had]",
    ),
    Bug(
        name="surplus-booked-twice",
        breaks="a surplus goes to suspense, once",
        file=_RECONCILIATION,
        old="    if await session.scalar(booked) != last.surplus_booked or last.surplus_booked != before.surplus_booked:\n"
        "        return 0\n",
        new="    await session.scalar(booked)\n",
        test=f"{_CONCLUDED}::test_a_surplus_is_booked_once",
    ),
    Bug(
        name="audit-believes-the-tip-at-once",
        breaks="no state of another block is compared with the ledger at block B",
        file="activities/audit/evidence.py",
        old="    if block.number >= head.number and state",
        new="    if block.number > head.number and state",
        test="tests/audit/test_moving.py::test_the_state_of_the_next_block_says_nothing_of_this_one",
    ),
    Bug(
        name="deleted-history-taken-for-one-that-runs",
        breaks="a scheduled sweep starts a run for every OPEN operation without a running workflow",
        file=_SWEEPS,
        old="            if error.status is RPCStatusCode.NOT_FOUND:\n                return False\n",
        new="            if error.status is RPCStatusCode.NOT_FOUND:\n                return True\n",
        test="tests/e2e/test_forever.py::test_the_history_is_deleted_at_every_stage",
    ),
]
