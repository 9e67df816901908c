"""A seed is a plan of faults: the same one wherever and whenever it is followed."""

from collections import Counter

from chain.classifier import SendClass, classify_message
from tests.faults.plan import REFUSALS, SEND, Fault, FaultPlan

METHODS = [SEND, "eth_getTransactionReceipt", "eth_getBlockByNumber", "eth_call", "eth_getLogs"]
CALLS = 2_000


def test_a_seed_reproduces_its_plan() -> None:
    """What befalls the n-th call of a method depends on the seed, the method and n, and not on what was asked before."""
    for seed in (1, 2, 77):
        forwards = [FaultPlan.of(seed).decide(method, number) for method in METHODS for number in range(CALLS)]
        backwards = [
            FaultPlan.of(seed).decide(method, number) for method in METHODS[::-1] for number in range(CALLS)[::-1]
        ]
        assert forwards == backwards[::-1]


def test_a_known_plan_is_what_it_was() -> None:
    """A change of how plans are drawn would make every recorded seed mean something else."""
    plan = FaultPlan.of(7)
    decided = [plan.decide(SEND, number) for number in range(1, 30)]
    hits = [(number, str(hit.fault), hit.amount % 1000) for number, hit in enumerate(decided, 1) if hit is not None]
    assert (plan.per_mille, hits) == (193, [(3, "refused-sent", 803), (21, "delayed", 722), (28, "twice", 702)])


def test_seeds_differ() -> None:
    """Two seeds neither hit the same calls nor use the same kinds."""
    one, other = FaultPlan.of(1), FaultPlan.of(2)
    assert [one.decide(SEND, n) for n in range(100)] != [other.decide(SEND, n) for n in range(100)]
    assert len({FaultPlan.of(seed).kinds for seed in range(20)}) > 15


def test_the_rate_is_that_of_the_plan() -> None:
    """Between 5 and 20 percent of the calls are hit, as the plan says."""
    for seed in range(10):
        plan = FaultPlan.of(seed)
        hits = sum(plan.decide("eth_call", number) is not None for number in range(CALLS))
        assert 50 <= plan.per_mille <= 200
        assert abs(1000 * hits / CALLS - plan.per_mille) < 40


def test_every_kind_of_fault_is_in_some_plan_and_fits_its_method() -> None:
    """No kind is only a word; what only a send can suffer befalls no read."""
    seen: dict[str, Counter[Fault]] = {method: Counter() for method in METHODS}
    for seed in range(40):
        plan = FaultPlan.of(seed)
        for method in METHODS:
            seen[method].update(hit.fault for n in range(200) if (hit := plan.decide(method, n)) is not None)
    assert {fault for faults in seen.values() for fault in faults} == set(Fault)
    of_sends = {Fault.HELD_BACK, Fault.ALREADY_KNOWN, Fault.REFUSED_SENT, Fault.REFUSED_UNSENT}
    assert all(of_sends.isdisjoint(seen[method]) for method in METHODS if method != SEND)
    assert Fault.UNKNOWN_HERE not in seen["eth_getLogs"]


def test_no_refusal_calls_a_person() -> None:
    """What chaos says of a transaction passes by itself, so that every operation can end."""
    meanings = {classify_message(message) for message in REFUSALS}
    assert meanings.isdisjoint({SendClass.STOP, SendClass.INVALID, SendClass.SENT})
    assert len(meanings) >= 5
