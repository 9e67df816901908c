"""Scraping as Prometheus does it, and reading what came."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import httpx
from prometheus_client.parser import text_string_to_metric_families

SCRAPE_SECONDS = 2
"""Far below what a look at something that is away may take: a scrape waits for none."""


@dataclass(frozen=True)
class Scrape:
    """Every sample by its name and its labels."""

    samples: Mapping[tuple[str, frozenset[tuple[str, str]]], Decimal]

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.samples}

    def get(self, name: str, **labels: str) -> Decimal | None:
        """None where it is absent."""
        return self.samples.get((name, frozenset(labels.items())))

    def one(self, name: str) -> Decimal:
        """The only sample of this name, whatever its labels."""
        (found,) = [value for (each, _), value in self.samples.items() if each == name]
        return found


def parsed(exposition: str) -> Scrape:
    families = text_string_to_metric_families(exposition)
    samples = [sample for family in families for sample in family.samples]
    return Scrape({(each.name, frozenset(each.labels.items())): Decimal(str(each.value)) for each in samples})


async def scrape(port: int) -> Scrape:
    async with httpx.AsyncClient(trust_env=False, timeout=SCRAPE_SECONDS) as client:
        answer = await client.get(f"http://127.0.0.1:{port}/metrics")
    answer.raise_for_status()
    return parsed(answer.text)
