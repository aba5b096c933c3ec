"""The two names of prometheus_client.multiprocess, for programs that have them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import prometheus_client
from prometheus_client import Metric, multiprocess as theirs
from prometheus_client.registry import Collector

from . import catalog, functions, store
from .merging import added_up, groups
from .samples import FamilyMetric, Restricted

__all__ = ["MultiProcessCollector", "mark_process_dead"]


class MultiProcessCollector(theirs.MultiProcessCollector):
    """
    Every family of the store, of all registries and processes; registered in `registry`, if given.

    Families of one name and type in several registries are added up, as prometheus_client's class
    does. There is no folder: `path` and PROMETHEUS_MULTIPROC_DIR are ignored. `merge` is
    prometheus_client's own, for files that it is given.
    """

    def __init__(
        self, registry: prometheus_client.CollectorRegistry | None, path: str | None = None
    ) -> None:
        if registry:
            registry.register(self)
            whole: Any = registry
            whole.restricted_registry = functools.partial(_Part, registry.restricted_registry, self)

    def describe(self) -> list[Metric]:
        """Nothing: so it never clashes with the registry's own collectors."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The families, the oldest first."""
        joined = store.current(make=False)
        if joined is None:
            return
        joined.settle()
        functions.refresh_all()
        for rows in groups(catalog.of(joined).all_shown()):
            yield FamilyMetric(joined, rows[0]) if len(rows) == 1 else added_up(joined, rows)


class _Part:
    """
    What a registry and the collector in it have of these names.

    prometheus_client asks no collector without names, unless its registry was made with
    `support_collectors_without_names`: then its part has these families already.
    """

    def __init__(
        self,
        restricted: Callable[[Iterable[str]], Collector],
        collector: MultiProcessCollector,
        names: Iterable[str],
    ) -> None:
        wanted = frozenset(names)
        self._theirs = restricted(wanted)
        self._ours = Restricted(collector, wanted)

    def collect(self) -> Iterator[Metric]:
        seen = set()
        for metric in self._theirs.collect():
            seen.add(metric.name)
            yield metric
        yield from (metric for metric in self._ours.collect() if metric.name not in seen)


def mark_process_dead(pid: int, path: str | None = None) -> None:
    """Does nothing: the kernel says which processes are alive."""
