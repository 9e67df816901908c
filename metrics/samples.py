"""Figures that were read elsewhere, in the form in which Prometheus takes them.

They are made once, when they are read, and a scrape hands out what is there: it asks nobody and waits for nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from time import monotonic_ns

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from metrics.catalogue import Family, Kind

_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Distribution:
    """How many durations there were of each length, in microseconds."""

    counts: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Sample:
    """One number of a family; ``labels`` are the values of its labels, in their order."""

    family: Family
    value: int | Decimal | Distribution
    labels: tuple[str, ...] = ()


class LatestSamples(Collector):
    """What was read last. Where nothing new came for ``stale_after`` seconds, nothing is told rather than what was."""

    def __init__(self, registry: CollectorRegistry, stale_after: int) -> None:
        self._stale_after = stale_after
        self._latest: tuple[int, Sequence[Metric]] = (0, ())
        registry.register(self)

    def put(self, samples: Iterable[Sample]) -> None:
        self._latest = (monotonic_ns(), _metrics(samples))

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        put_at, metrics = self._latest  # one read: a scrape runs in a thread of its own
        if monotonic_ns() - put_at <= self._stale_after * _SECOND:
            yield from metrics


def _metrics(samples: Iterable[Sample]) -> list[Metric]:
    found: dict[Family, GaugeMetricFamily | CounterMetricFamily | HistogramMetricFamily] = {}
    for each in samples:
        metric = found.setdefault(each.family, _empty(each.family))
        if isinstance(metric, HistogramMetricFamily):
            assert isinstance(each.value, Distribution)  # noqa: S101 - a slip of ours, which the tests' first scrape shows
            buckets, total = _buckets(each.family, each.value)
            metric.add_metric(each.labels, buckets, total)  # type: ignore[arg-type]  # any number will do
        else:
            assert not isinstance(each.value, Distribution)  # noqa: S101 - as above
            metric.add_metric(each.labels, each.value)  # type: ignore[arg-type]  # as above
    return list(found.values())


def _empty(family: Family) -> GaugeMetricFamily | CounterMetricFamily | HistogramMetricFamily:
    if family.kind is Kind.HISTOGRAM:
        return HistogramMetricFamily(family.name, family.meaning, labels=family.labels)
    if family.kind is Kind.COUNTER:
        return CounterMetricFamily(family.name, family.meaning, labels=family.labels)
    return GaugeMetricFamily(family.name, family.meaning, labels=family.labels)


def _buckets(family: Family, of: Distribution) -> tuple[list[tuple[str, int]], Decimal]:
    """The number of durations up to each edge, and the sum of all in seconds."""
    seconds = {Decimal(length) / 1_000_000: count for length, count in of.counts.items()}
    edges = [
        (edge, sum(count for length, count in seconds.items() if length <= Decimal(edge))) for edge in family.edges
    ]
    total = sum((length * count for length, count in seconds.items()), start=Decimal())
    return [*edges, ("+Inf", sum(seconds.values()))], total
