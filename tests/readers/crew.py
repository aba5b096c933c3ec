"""Several processes that count in two registries: the default one, and one with a name.

`expected.py` says what must be shown of it. Only programs of their own import this module.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event

from tests.readers.expected import UNITS, WORKERS
from tests.sharing import share

from mpmetrics import REGISTRY, CollectorRegistry, Counter, Enum, Gauge, Histogram, Info, Summary

REGISTRIES = {"default": REGISTRY, "named": CollectorRegistry(name="batch")}


class Metrics:
    """One of each type."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.jobs = Counter("crew_jobs", "Jobs done.", ["outcome"], registry=registry)
        self.level = Gauge("crew_level", "One value for all.", registry=registry)
        self.lowest = Gauge(
            "crew_lowest", "Least of all.", registry=registry, multiprocess_mode="min"
        )
        self.size = Summary("crew_size", "Size of each job.", registry=registry)
        self.seconds = Histogram("crew_seconds", "Time of each.", registry=registry, buckets=(1, 2))
        self.build = Info("crew_build", "What runs.", registry=registry)
        self.phase = Enum("crew_phase", "What is done.", registry=registry, states=["idle", "busy"])


METRICS = {which: Metrics(registry) for which, registry in REGISTRIES.items()}


def work(number: int, go: Event | None = None) -> None:
    """A worker's whole life: it counts its share in both registries, once it may go."""
    if go is not None:
        go.wait()
    for which, metrics in METRICS.items():
        unit = UNITS[which]
        metrics.jobs.labels("ok").inc((number + 1) * unit)
        metrics.jobs.labels("failed").inc(unit)
        metrics.level.inc((number + 1) * unit)
        metrics.lowest.set((number + 1) * unit)
        for _ in range(unit):
            metrics.size.observe((number + 1) / 4)
            metrics.seconds.observe(number + 0.5)
        metrics.build.info({"version": "1.2", "of": 'a "b"\\c'})
        metrics.phase.state("busy")
        # Declared by workers only: whoever reads has never heard of it.
        late = Counter("crew_late", "Declared late.", registry=REGISTRIES[which])
        late.inc(unit)
    share()


def start(method: str, numbers: range, go: Event | None = None) -> list[BaseProcess]:
    context = multiprocessing.get_context(method)
    workers: list[BaseProcess] = [
        context.Process(target=work, args=(number, go)) for number in numbers
    ]
    for worker in workers:
        worker.start()
    return workers


def end(workers: list[BaseProcess]) -> None:
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0


def count(method: str) -> None:
    """All of them, to their end."""
    end(start(method, range(WORKERS)))
