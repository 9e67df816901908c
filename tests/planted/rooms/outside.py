"""Bugs of what happens without the engine: debts that move outside it, and USDC that nobody claims."""

from tests.planted.bug import Bug

_BOOK = "activities/outside_book.py"
_REFUNDS = "chain/refunds.py"
_OUTSIDE = "tests/workflows/test_outside.py"
_FOLLOWER = "activities/outside.py"
_UNAPPLIED = "tests/workflows/test_unapplied.py"
_ORDERS = "tests/activities/test_outside.py::test_known_orders"
_REFUNDED = "tests/chain/lane/test_refunds.py"

BUGS = [
    Bug(
        name="outside-repayment-applied-twice",
        breaks="debt that changes outside the engine releases the limit once",
        file=_BOOK,
        old="        if known.log_index == log.log_index:\n            return None\n",
        new="        if known.log_index == log.log_index:\n            return known\n",
        test=f"{_OUTSIDE}::test_a_partial_repayment_by_the_user",
    ),
    Bug(
        name="own-repayment-followed-as-anothers",
        breaks="a repayment of the engine's own releases the limit once",
        file=_FOLLOWER,
        old="    if operation_id is None:\n",
        new="    if operation_id is None or event.principal < 0:\n",
        test=f"{_OUTSIDE}::test_the_user_repays_before_and_after_our_repayment",
    ),
    Bug(
        name="users-own-debt-charged-to-the-loan",
        breaks="what the user borrows directly is no loan's and charges no limit",
        file=_BOOK,
        old="    return Debtor(operation_id) if own is None or own < place else Debtor()\n",
        new="    return Debtor(operation_id)\n",
        test=_ORDERS,
    ),
    Bug(
        name="liquidation-writes-nothing-off",
        breaks="what a liquidation does not bring back is written off with the limit",
        file=_BOOK,
        old="        loan.written_off += max(0, movement.released - repaid)\n",
        new="        loan.written_off += 0\n",
        test=_ORDERS,
    ),
    Bug(
        name="loan-closed-under-a-repayment",
        breaks="one repayment per loan is in flight, and its own end closes the loan",
        file=_BOOK,
        old="    elif happened.ended and not await loan_is_taken(session, loan.id):\n",
        new="    elif happened.ended:\n",
        test=f"{_OUTSIDE}::test_the_user_repays_all_during_our_repayment",
    ),
    Bug(
        name="refund-and-claim-both-win",
        breaks="claim and refund are compare-and-sets of the transfer's state",
        file="migrations/versions/0001_the_tables.py",
        old="(state = 'CLAIMED') = (claimed_by IS NOT NULL)",
        new="state <> 'CLAIMED' OR claimed_by IS NOT NULL",
        test="tests/activities/test_constraints.py::test_a_claim_or_refund_has_its_operation",
    ),
    Bug(
        name="refunded-to-a-stranger",
        breaks="automatic refunds go only to settlement addresses and granted wallets",
        file=_REFUNDS,
        old="            InboundTransfer.sender.not_in(config.treasury),\n            known,\n",
        new="            InboundTransfer.sender.not_in(config.treasury),\n            known | known.is_not(None),\n",
        test=f"{_REFUNDED}::test_a_stranger_gets_nothing_back_by_itself",
    ),
    Bug(
        name="refunded-before-it-is-due",
        breaks="automatic refunds come after the configured days",
        file=_REFUNDS,
        old="            InboundTransfer.seen_at <= func.now() - config.refund_after,\n",
        new="",
        test=f"{_REFUNDED}::test_what_is_not_due_waits",
    ),
    Bug(
        name="refund-without-effect-forgotten",
        breaks="the rest waits as a liability: a refund without effect gives it back to its account",
        file=_REFUNDS,
        old="    await book.record(session, _back(_to_suspense(leg.operation_id, transfer.id, transfer.amount)))\n",
        new="",
        test=f"{_REFUNDED}::test_a_refund_without_effect_moves_back",
    ),
    Bug(
        name="outside-repayment-before-the-record-forgotten",
        breaks="debt that changes outside the engine releases the limit, whenever the borrow is recorded",
        file="activities/loans.py",
        old="            await absorb_all(session, rows)\n",
        new="",
        test=_ORDERS,
    ),
    Bug(
        name="written-off-though-repaid",
        breaks="what a repayment of ours had paid is not written off",
        file="activities/applying.py",
        old="    loan.written_off = max(0, loan.written_off - max(0, applied.principal - loan.outstanding))\n",
        new="",
        test=_ORDERS,
    ),
    Bug(
        name="debt-that-ended-since-it-was-read",
        breaks="a loan whose debt has ended is REPAID",
        file="activities/applying.py",
        old="or await debt_ended(session, loan.id)",
        new="",
        test=_ORDERS,
    ),
    Bug(
        name="liquidated-taken-for-repaid",
        breaks="what a liquidation did not bring back is written off, and the loan is LIQUIDATED",
        file="activities/applying.py",
        old="debt.outstanding == 0 and not debt.liquidated",
        new="debt.outstanding == 0",
        test=_ORDERS,
    ),
    Bug(
        name="refused-event-forgotten",
        breaks="debt that changes outside the engine is followed, also where the rows refuse it at first",
        file=_FOLLOWER,
        old="            await keep(session, key, log, event)\n",
        new="",
        test=f"{_UNAPPLIED}::test_a_refused_event_is_applied_when_the_rows_allow_it",
    ),
    Bug(
        name="refused-event-overtaken",
        breaks="whose debt an event is of is decided by what came before it on chain",
        file=_FOLLOWER,
        old="            if place_of(log) >= held_up.get(event.position_id, NOWHERE):\n",
        new="            if place_of(log) == held_up.get(event.position_id, NOWHERE):\n",
        test=f"{_UNAPPLIED}::test_what_comes_after_a_refused_event_waits_behind_it",
    ),
    Bug(
        name="applied-event-waits-still",
        breaks="an incident about a position is open for as long as an event of it waits",
        file="activities/unapplied.py",
        old="    await session.execute(delete(UnappliedEvent).where(UnappliedEvent.id == applied.id))\n",
        new="",
        test=f"{_UNAPPLIED}::test_a_refused_event_is_applied_when_the_rows_allow_it",
    ),
]
