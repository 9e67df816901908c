"""What the benchmarks make of what they measured: no services, no clocks."""

from collections import Counter
from decimal import Decimal

import pytest

from bench.counting import Tally, Transacted
from bench.counts import polling
from bench.inside import LANE
from bench.measures import MILLISECOND, NANOSECONDS, Lap, median_ratio, milliseconds, percentile, rates


def transacted(*statements: str, who: str = LANE, own: bool = True, found: bool = True) -> Transacted:
    return Transacted(who, statements, committed=True, own=own, found=found)


def test_a_ratio_is_the_median_of_pairs_that_were_measured_one_after_the_other() -> None:
    """One round on a machine that was busy with something else for one side only does not decide."""
    ours = [Lap(10, NANOSECONDS), Lap(10, 10 * NANOSECONDS), Lap(10, NANOSECONDS)]
    floor = [Lap(20, NANOSECONDS), Lap(20, NANOSECONDS), Lap(20, NANOSECONDS)]
    assert median_ratio(ours, floor) == Decimal("0.5")


@pytest.mark.parametrize(("percent", "expected"), [(50, 5), (99, 10), (100, 10), (1, 1)])
def test_a_percentile_is_a_value_that_was_measured(percent: int, expected: int) -> None:
    assert percentile(range(1, 11), percent) == expected


def test_durations_and_rates_read_well() -> None:
    assert milliseconds(1_500_000) == "1.5 ms"
    assert rates([Lap(10, 500 * MILLISECOND)]) == "20.0/s"
    assert rates([Lap(1, NANOSECONDS), Lap(3, NANOSECONDS)]) == "2.0/s (1, 3)"


def test_a_transaction_costs_its_begin_and_its_end_and_a_single_statement_does_not() -> None:
    assert transacted("SELECT loans", "UPDATE loans").round_trips == 4
    assert transacted("INSERT operations", own=False).round_trips == 1


def test_what_only_read_by_itself_commits_nothing() -> None:
    assert transacted("SELECT api_keys", own=False).commits == 0
    assert transacted("INSERT operations", own=False).commits == 1
    assert transacted("SELECT loans").commits == 1


@pytest.mark.parametrize(
    "kind",
    [
        transacted("UPDATE chain_signers"),
        transacted("SELECT chain_transactions limit"),
        transacted("SELECT DISTINCT chain_attempts, chain_transactions"),
        transacted("SELECT chain_cursors"),
        transacted("SELECT chain_signers", "SELECT chain_transactions limit", found=False),
    ],
)
def test_what_the_lane_does_by_the_clock_is_polling(kind: Transacted) -> None:
    assert polling(kind)


@pytest.mark.parametrize(
    "kind",
    [
        transacted("SELECT chain_signers", "SELECT chain_transactions limit"),
        transacted("UPDATE chain_transactions"),
        transacted("SELECT chain_transactions limit", who="submit_transaction"),
        transacted("SELECT chain_transactions", who="leg waiter", found=False),
    ],
)
def test_what_is_done_for_an_operation_is_not(kind: Transacted) -> None:
    assert not polling(kind)


def test_a_tally_is_told_from_an_earlier_one() -> None:
    tally = Tally(sql=Counter({transacted("SELECT loans"): 2}))
    earlier = tally.copy()
    tally.sql[transacted("SELECT loans")] += 1
    assert tally.since(earlier).sql.total() == 1
