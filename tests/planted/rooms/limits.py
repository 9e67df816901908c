"""Bugs of a partner's limits: taken and given back exactly once."""

from tests.planted.bug import Bug

_BOOK = "activities/limit_book.py"

BUGS = [
    Bug(
        name="limit-without-what-is-reserved",
        breaks="outstanding + reserved + amount ≤ total_borrow_limit",
        file=_BOOK,
        old="used=partner.outstanding, reserved=partner.reserved)",
        new="used=partner.outstanding, reserved=0)",
        test="tests/activities/test_limits.py::test_the_total_counts_what_is_outstanding_and_reserved",
    ),
    Bug(
        name="limit-without-what-is-outstanding",
        breaks="outstanding + reserved + amount ≤ total_borrow_limit",
        file=_BOOK,
        old="used=partner.outstanding, reserved=partner.reserved)",
        new="used=0, reserved=partner.reserved)",
        test="tests/machines/test_limits.py::test_any_order_of_steps",
    ),
    Bug(
        name="partner-not-locked",
        breaks="1,000 concurrent borrows against a limit that fits 100 give exactly 100",
        file=_BOOK,
        old="await session.get(Partner, partner_id, with_for_update=NO_KEY_UPDATE)",
        new="await session.get(Partner, partner_id)",
        test="tests/activities/test_limits.py::test_what_is_left_goes_to_who_fits",
    ),
    Bug(
        name="limit-released-twice",
        breaks="a reservation is settled exactly once",
        file="activities/limits.py",
        old="            if (outcome := stored_outcome(rows.operation)) is not None:\n                return outcome\n",
        new="            rows.reservation.state = limit_book.ReservationState.RESERVED\n",
        test="tests/activities/test_limits.py::test_a_release_counts_once",
    ),
    Bug(
        name="day-not-given-back",
        breaks="a release gives its day back",
        file=_BOOK,
        old="    partner.reserved -= reservation.amount\n    day.reserved -= reservation.amount\n    reservation",
        new="    partner.reserved -= reservation.amount\n    reservation",
        test="tests/activities/test_limits.py::test_a_release_gives_back_the_day",
    ),
    Bug(
        name="another-day-given-back",
        breaks="a release gives back the day of its reservation",
        file=_BOOK,
        old="    _expect(reservation, ReservationState.RESERVED)\n"
        "    day = await _day(session, partner.id, reservation.day)\n"
        "    partner.reserved -= reservation.amount\n    day.reserved",
        new="    day = (await lock_limits_today(session, partner.id)).day\n"
        "    partner.reserved -= reservation.amount\n    day.reserved",
        test="tests/activities/test_limits.py::test_a_release_gives_back_its_own_day",
    ),
    Bug(
        name="interest-frees-the-limit",
        breaks="the limit is released by the principal paid",
        file="activities/applying.py",
        old="max(0, loan.outstanding - applied.principal)",
        new="max(0, loan.outstanding - applied.principal - applied.interest)",
        test="tests/activities/test_limits.py::test_interest_frees_nothing",
    ),
    Bug(
        name="released-while-it-may-be-sent",
        breaks="only FINAL, REFUSED or ABANDONED permits release",
        file="activities/limits.py",
        old="            if not await transactions.abandon(session, asked.operation_id, LegName.BORROW, asked.refusal.detail):\n"
        '                raise InvariantBroken(f"the borrow leg of {asked.operation_id} may still have its effect")\n',
        new="",
        test="tests/machines/test_limits.py::test_any_order_of_steps",
    ),
    Bug(
        name="released-on-a-timeout",
        breaks="sent and of unknown outcome, a borrow holds its limits",
        file="workflows/legs.py",
        old="        while not (outcome.succeeded or outcome.without_effect):\n",
        new="        while not (outcome.succeeded or outcome.without_effect or outcome.patience_ended):\n",
        test="tests/faults/test_away.py::test_node_away_for_the_tail",
    ),
    Bug(
        name="fee-rounded-up",
        breaks="a fee is never above what was agreed",
        file="models/money.py",
        old="    return principal * fee_bps // BASIS_POINTS\n",
        new="    return -(-principal * fee_bps // BASIS_POINTS)\n",
        test="tests/unit/test_money.py::test_the_fee_is_rounded_down",
    ),
]
