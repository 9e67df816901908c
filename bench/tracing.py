"""Bench 8: what tracing costs of end-to-end throughput: on, of a quarter of the requests, with a receiver that is away, and off, in turns."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from bench.borrows import WARM_UP, Rounds, Scale, spent_figure
from bench.floor import running_module
from bench.load import open_client
from bench.measures import median_ratio, rates
from bench.otlp_receiver import READY
from bench.report import Figure, Report
from bench.sides import NO_PAUSE, Burst, EngineSide
from bench.world import World
from sandbox.services.ports import LOOPBACK, leased_port
from sandbox.services.process import Process, ensured
from settings import ENV_PREFIX, Settings

AIM = Decimal("0.9")
RECEIVER, ENDPOINT, PERCENT = "receiver", f"{ENV_PREFIX}OTLP_ENDPOINT", f"{ENV_PREFIX}TRACE_PERCENT"
SIDES = 4
QUARTER = 25


def lines_for(scale: Scale) -> int:
    """Each turn warms up, since its processes have just started."""
    return SIDES * scale.rounds * (WARM_UP + scale.borrows)


@dataclass
class TracedSide:
    """The engine, started anew for each of its turns, with its spans sent to ``endpoint``; ``percent`` if not the default."""

    world: World
    endpoint: str | None
    receiver: Mapping[str, Process]
    percent: int | None = None
    side: EngineSide | None = None

    @asynccontextmanager
    async def on_turn(self) -> AsyncIterator[None]:
        variables = self.world.engine.variables
        for name, value in ((ENDPOINT, self.endpoint), (PERCENT, self.percent)):
            variables.pop(name, None)
            if value is not None:
                variables[name] = str(value)
        async with open_client() as http, EngineSide.running(self.world, http) as self.side:
            await self.side.burst(WARM_UP, WARM_UP)
            yield

    async def burst(self, number: int, concurrency: int, pause: timedelta = NO_PAUSE) -> Burst:
        assert self.side is not None, "asked while it is not its turn"
        return await self.side.burst(number, concurrency, pause)

    def processes(self) -> Mapping[str, Process]:
        engine = {} if self.side is None else self.side.processes()
        return {**engine, **self.receiver}


@dataclass(frozen=True)
class _Receiver:
    endpoint: str
    process: Process
    log: Path

    @property
    def spans(self) -> int:
        return int(self.log.read_text().split()[-1])


@asynccontextmanager
async def _receiving(world: World) -> AsyncIterator[_Receiver]:
    folder = ensured(world.folder / "receiver")
    log = folder / "receiver.log"

    async def ready() -> bool:
        return READY in log.read_text()

    with leased_port() as port:
        async with running_module(folder, log, ready, "bench.otlp_receiver", str(port)) as process:
            yield _Receiver(f"http://{LOOPBACK}:{port}", process, log)


async def tracing(world: World, scale: Scale, report: Report) -> None:
    percent = Settings.model_fields["trace_percent"].default
    report.heading(f"8. Tracing on, away and off: {scale.rounds} x {scale.borrows}, {scale.concurrency} at a time")
    report.note(
        f"Loans end to end as in bench 2, at the default sampling of {percent} percent of the requests. The receiver is a process of\n"
        "its own that counts spans and keeps none; its time is taken from the same cores, so on few cores the ratio holds a part\n"
        "of what is not the engine's. The processes start anew for each turn."
    )
    async with AsyncExitStack() as opened:
        receiver = await opened.enter_async_context(_receiving(world))
        nobody = opened.enter_context(leased_port())
        counted = {RECEIVER: receiver.process}
        on, quarter, away, off = (
            Rounds(TracedSide(world, receiver.endpoint, counted)),
            Rounds(TracedSide(world, receiver.endpoint, counted, QUARTER)),
            Rounds(TracedSide(world, f"http://{LOOPBACK}:{nobody}", counted)),
            Rounds(TracedSide(world, None, counted)),
        )
        for _ in range(scale.rounds):
            for rounds in (on, quarter, away, off):
                await _turn(rounds, world, scale)
        spans = receiver.spans
    a_quarter = replace(_figure("of a quarter", quarter, off), aim="", met=None)
    figures = [_figure("tracing on", on, off), a_quarter, _figure("receiver away", away, off)]
    report.figures([*figures, spent_figure(on, off)], beside="off")
    report.note(f"{spans} spans were received")
    for title, rounds in (("on", on), ("of a quarter", quarter), ("away", away), ("off", off)):
        rounds.tell_spent(report, f"CPU time of one loan, tracing {title}")


async def _turn(rounds: Rounds, world: World, scale: Scale) -> None:
    assert isinstance(rounds.side, TracedSide)
    async with rounds.side.on_turn():
        await rounds.turn(world, scale)


def _figure(what: str, measured: Rounds, off: Rounds) -> Figure:
    ratio = median_ratio(measured.finished(), off.finished())
    figures = (rates(measured.finished()), rates(off.finished()), f"{ratio:.2f}")
    return Figure(what, *figures, f"ratio >= {AIM}", ratio >= AIM)
