"""Bench 4: what one borrow and one repayment cost, counted and not timed, so that the figures are the same on any machine.

The engine runs in this process with its default pace, on a chain with a block every second, and does one thing at a time.
What many operations would share, and what time alone makes happen, is told apart from what is done for the operation: see
``polling``.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

from bench.counting import Requested, Tally, Transacted
from bench.history import TemporalCost, temporal_cost
from bench.inside import ASKING, LANE, Inside, running_inside
from bench.report import Figure, Report
from bench.world import World, borrow_body

COUNTED_LINES = 2
SETTLES = timedelta(seconds=1)
"""What still goes on in the engine when the operation is done already, such as the end of its workflow."""

EVENTS, ROUND_TRIPS, COMMITS, REQUESTS = 32, 45, 15, 12

_ELSEWHERE = {"elsewhere", ASKING}
_POLLED_ROWS = {"SELECT chain_transactions limit", "UPDATE chain_signers"}
_POLLING_CALLERS = {"look", "scan", "_transfers", "_canonical"}


@dataclass(frozen=True)
class Cost:
    """What one operation cost, and beside it what the lane did by the clock meanwhile."""

    temporal: TemporalCost
    sql: Counter[Transacted]
    rpc: Counter[Requested]
    polled_sql: Counter[Transacted]
    polled_rpc: Counter[Requested]

    @property
    def events(self) -> int:
        return self.temporal.events.total()

    @property
    def round_trips(self) -> int:
        return round_trips(self.sql)

    @property
    def commits(self) -> int:
        """Those that made something durable."""
        return sum(kind.commits * number for kind, number in self.sql.items() if kind.writes)

    @property
    def all_commits(self) -> int:
        return sum(kind.commits * number for kind, number in self.sql.items())

    @property
    def requests(self) -> int:
        return self.rpc.total()


def round_trips(sql: Counter[Transacted]) -> int:
    return sum(kind.round_trips * number for kind, number in sql.items())


def polling(kind: Transacted) -> bool:
    """Whether the lane does it by the clock, once for all operations.

    That is its beat, its look at whether anything is in flight, at what was sent long ago, at inbound transfers, and a look
    at its queue that finds it empty.
    """
    if kind.who != LANE:
        return False
    first = kind.statements[0]
    alone = len(kind.statements) == 1 and (first in _POLLED_ROWS or first.startswith("SELECT DISTINCT"))
    inbound = any("chain_cursors" in statement for statement in kind.statements)
    return alone or inbound or not (kind.found or kind.writes)


def polling_request(kind: Requested) -> bool:
    """Whether the lane asks by the clock: for the newest block, and for inbound transfers."""
    return kind.who == LANE and kind.caller in _POLLING_CALLERS


async def measure_costs(world: World) -> tuple[Cost, Cost]:
    """Of a borrow to ACTIVE and of its payoff by pull, on an engine that has done both before."""
    async with running_inside(world) as inside:
        await _borrow_and_repay(world, inside)
        return await _borrow_and_repay(world, inside)


async def _borrow_and_repay(world: World, inside: Inside) -> tuple[Cost, Cost]:
    (line,) = world.take_lines(1)
    borrow = await _cost(inside, "/v1/loans", borrow_body(line), "ACTIVE")
    path = f"/v1/loans/loan-{line.credit_line_id}/repayments"
    return borrow, await _cost(inside, path, {"payoff": True}, "APPLIED")


async def _cost(inside: Inside, path: str, body: Mapping[str, object], ends: str) -> Cost:
    before = inside.tally.copy()
    operation_id = await inside.post(path, body, **{"Idempotency-Key": uuid4().hex})
    ended = await inside.wait_until_done(operation_id)
    assert ended == ends, f"the operation ended {ended}"
    await asyncio.sleep(SETTLES.total_seconds())
    return _told_apart(inside.tally.since(before), await temporal_cost(inside.temporal, operation_id))


def _told_apart(tally: Tally, temporal: TemporalCost) -> Cost:
    sql = Counter({kind: number for kind, number in tally.sql.items() if kind.who not in _ELSEWHERE})
    polled_sql = Counter({kind: number for kind, number in sql.items() if polling(kind)})
    polled_rpc = Counter({kind: number for kind, number in tally.rpc.items() if polling_request(kind)})
    return Cost(temporal, sql - polled_sql, tally.rpc - polled_rpc, polled_sql, polled_rpc)


async def counts(world: World, report: Report) -> None:
    report.heading("4. Counts of one borrow and of its payoff by pull")
    report.note(
        "The engine in one process with its default pace (a look at the chain every second), one operation at a time.\n"
        "A transaction costs a round trip for BEGIN, one for each statement and one for COMMIT; a statement that commits by\n"
        "itself costs one. What the lane does by the clock, once for all operations in flight, is told by kind of statement\n"
        "and of request, and shown as polling. A commit counts where it wrote; those of transactions that only read are\n"
        "round trips, and shown beside. Temporal actions are an estimate from the history: the start, each update, regular\n"
        "activity and timer, one for the local activities of each workflow task, and the heartbeats."
    )
    for name, cost in zip(("borrow", "payoff"), await measure_costs(world), strict=True):
        report.figures(_figures(name, cost), beside="beside it")
        report.table(f"Temporal, {name}", ("event", ""), cost.temporal.events.most_common())
        report.table(f"Actions, {name}", ("action", ""), cost.temporal.actions.most_common())
        report.table(f"PostgreSQL, {name}", ("round trips", "times", "who", "statements"), _sql_rows(cost.sql))
        report.table(f"Node, {name}", ("requests", "who", "function", "methods"), _rpc_rows(cost.rpc))


def _figures(name: str, cost: Cost) -> list[Figure]:
    polled = round_trips(cost.polled_sql)
    return [
        _figure(f"{name}: history events", cost.events, EVENTS),
        Figure(f"{name}: Temporal actions, estimated", str(cost.temporal.actions.total())),
        _figure(f"{name}: SQL round trips", cost.round_trips, ROUND_TRIPS, f"and {polled} of polling"),
        _figure(f"{name}: commits", cost.commits, COMMITS, f"{cost.all_commits} with those that only read"),
        _figure(f"{name}: RPC requests", cost.requests, REQUESTS, f"and {cost.polled_rpc.total()} of polling"),
    ]


def _figure(what: str, measured: int, aim: int, beside: str = "") -> Figure:
    return Figure(what, str(measured), beside, "", f"<= {aim}", measured <= aim)


def _sql_rows(sql: Counter[Transacted]) -> Iterable[tuple[object, ...]]:
    for kind, number in sorted(sql.items(), key=lambda item: -item[0].round_trips * item[1]):
        ended = "" if kind.committed else " (rolled back)"
        yield kind.round_trips * number, number, kind.who + ended, "; ".join(kind.statements)


def _rpc_rows(rpc: Counter[Requested]) -> Iterable[tuple[object, ...]]:
    for kind, number in sorted(rpc.items(), key=lambda item: (item[0].who, -item[1])):
        yield number, kind.who, kind.caller, ", ".join(kind.methods)
