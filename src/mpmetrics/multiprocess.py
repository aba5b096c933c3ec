"""The two names of prometheus_client.multiprocess, for programs that have them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import prometheus_client
from prometheus_client import Metric
from prometheus_client.samples import Sample

from . import catalog, store
from ._native import Store
from .samples import FamilyMetric, read

__all__ = ["MultiProcessCollector", "mark_process_dead"]


class MultiProcessCollector:
    """
    Every family of the store, of all registries and processes; registered in `registry`, if given.

    Families of one name and shape in several registries are added up, as prometheus_client's class
    does. `path` is ignored: there is no folder.
    """

    def __init__(
        self, registry: prometheus_client.CollectorRegistry | None, path: str | None = None
    ) -> None:
        if registry is not None:
            registry.register(self)

    def describe(self) -> list[Metric]:
        """Nothing: so it never clashes with the registry's own collectors."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The families, the oldest first."""
        joined = store.current(make=False)
        if joined is None:
            return
        joined.settle()
        groups: dict[str, list[catalog.Row]] = {}
        for row in sorted(catalog.of(joined).all_shown(), key=lambda row: row.birth):
            groups.setdefault(row.name, []).append(row)
        for rows in groups.values():
            alike = [row for row in rows if _shape(row) == _shape(rows[0])]
            yield FamilyMetric(joined, rows[0]) if len(alike) == 1 else _added_up(joined, alike)


def _shape(row: catalog.Row) -> tuple[object, ...]:
    return row.kind, row.mode, row.labelnames, row.bounds, row.states


def _added_up(joined: Store, rows: Iterable[catalog.Row]) -> Metric:
    totals: dict[tuple[object, ...], Sample] = {}
    for row in rows:
        for sample in read(joined, row):
            key = sample.name, tuple(sample.labels.items())
            before = totals.get(key)
            if before is not None and row.type in ("counter", "summary", "histogram"):
                value = before.value + sample.value
                if sample.name.endswith("_created"):
                    value = min(before.value, sample.value)
                sample = sample._replace(value=value)
            totals[key] = sample
    metric = Metric(row.name, row.documentation, row.type, row.unit)
    metric.samples = list(totals.values())
    return metric


def mark_process_dead(pid: int, path: str | None = None) -> None:
    """Does nothing: the kernel says which processes are alive."""
