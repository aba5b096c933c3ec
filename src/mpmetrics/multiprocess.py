"""The two names of prometheus_client.multiprocess, for programs that have them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import prometheus_client
from prometheus_client import Metric
from prometheus_client.registry import Collector

from . import catalog, functions, multiprocdir, originals, store
from .merging import added_up, groups
from .samples import FamilyMetric, Restricted

__all__ = ["MultiProcessCollector", "mark_process_dead"]


class MultiProcessCollector(originals.MultiProcessCollector):
    """
    Every family of the store, of all registries and processes; registered in `registry`, if given.

    Families of one name and type in several registries are added up, as prometheus_client's class
    does. Ours count in no folder. But if there is one, `path` or PROMETHEUS_MULTIPROC_DIR, what
    prometheus_client's own metrics have written there is shown as well, but for names that the
    store has: any process may have classes that stay its own (deriving.py), or have no mpmetrics.
    `merge` is prometheus_client's own, for files that it is given.
    """

    def __init__(
        self, registry: prometheus_client.CollectorRegistry | None, path: str | None = None
    ) -> None:
        self._folder = path or multiprocdir.folder()
        if registry:
            registry.register(self)
            if hasattr(registry, "restricted_registry") and hasattr(registry, "unregister"):
                # prometheus_client itself needs only `register`.
                _show_in_parts(registry, self)

    def describe(self) -> list[Metric]:
        """Nothing: so it never clashes with the registry's own collectors."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The families, the oldest first."""
        shown = set()
        for metric in self._of_the_store():
            shown.add(metric.name)
            yield metric
        if self._folder and os.path.isdir(self._folder):
            # Also what an earlier run has left, as prometheus_client does: nothing in a file says
            # which run wrote it.
            files: Any = originals.MultiProcessCollector
            for metric in files(None, self._folder).collect():
                if metric.name not in shown:
                    yield metric

    def _of_the_store(self) -> Iterator[Metric]:
        joined = store.current(make=False)
        if joined is None:
            return
        joined.settle()
        functions.refresh_all()
        for rows in groups(catalog.of(joined).all_shown()):
            yield FamilyMetric(joined, rows[0]) if len(rows) == 1 else added_up(joined, rows)


def _show_in_parts(registry: Any, collector: MultiProcessCollector) -> None:
    """Lets the registry's parts have the collector's families until it is unregistered."""
    restricted: Callable[[Iterable[str]], Collector] = registry.restricted_registry
    unregister: Callable[[Collector], None] = registry.unregister
    has_left = False

    def restricted_registry(names: Iterable[str]) -> Collector:
        return restricted(names) if has_left else _Part(restricted, collector, names)

    def unregister_either(other: Collector) -> None:
        nonlocal has_left
        unregister(other)
        has_left = has_left or other is collector

    registry.restricted_registry = restricted_registry
    registry.unregister = unregister_either


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
        self._of_others = restricted(wanted)
        self._ours = Restricted(collector, wanted)

    def collect(self) -> Iterator[Metric]:
        seen = set()
        for metric in self._of_others.collect():
            seen.add(metric.name)
            yield metric
        yield from (metric for metric in self._ours.collect() if metric.name not in seen)


def mark_process_dead(pid: int, path: str | None = None) -> None:
    """
    Removes what prometheus_client's own live gauges of that process have in the folder.

    Ours need it not: the kernel says which processes are alive.
    """
    folder = path or multiprocdir.folder()
    if folder and os.path.isdir(folder):
        originals.mark_process_dead(pid, folder)
