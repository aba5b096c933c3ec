"""Families that only other processes declared, as collectors of this process's registries.

A stand-in is an ordinary collector, one a family; it steps aside as soon as the process declares
such a name itself.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import prometheus_client
from prometheus_client import Metric
from prometheus_client.samples import Sample

from . import _native, catalog, identity, originals, references, store
from .samples import FamilyMetric


class StandIn:
    """
    A family that only other processes declared, as a collector of this one.

    It is a metric, too, of a class made for it: some programs look in the registry whether it has a
    name, and take what they find there to count with.
    """

    _owner: Foreign
    row: catalog.Row

    def describe(self) -> list[Metric]:
        return [Metric(self.row.name, self.row.documentation, self.row.type)]

    def collect(self) -> list[Metric]:
        metric: Any = super()
        return metric.collect() if metric._labelvalues else list(self._owner.show(self))

    def _samples_now(self) -> list[Sample]:
        metric: Any = super()
        shown: list[Metric] = metric.collect()  # also once it has stepped aside
        return shown[0].samples


@functools.cache
def _class_of(kind: catalog.Kind) -> type[Any]:
    """The class of stand-ins of that kind."""
    ours = getattr(_native, _NAMES[kind])
    return type(
        ours.__name__, (StandIn, ours), {"__module__": ours.__module__, "_pickled_class": ours}
    )


_NAMES = {
    catalog.Kind.COUNTER: "Counter",
    catalog.Kind.GAUGE: "Gauge",
    catalog.Kind.GAUGE_MODE: "Gauge",
    catalog.Kind.SUMMARY: "Summary",
    catalog.Kind.HISTOGRAM: "Histogram",
    catalog.Kind.INFO: "Info",
    catalog.Kind.ENUM: "Enum",
}


def _stand_in(owner: Foreign, joined: _native.Store, row: catalog.Row) -> StandIn:
    name = references.FamilyName(
        (row.kind, row.mode, row.flags),
        row.registry,
        row.name,
        row.documentation,
        row.unit,
        row.labelnames,
        row.bounds,
        row.states,
    )
    stand_in: StandIn = references.bound(_class_of(catalog.Kind(row.kind)), joined, name)
    stand_in._owner, stand_in.row = owner, row
    return stand_in


class Foreign:
    """The families of a registry that were not declared in this object of it."""

    def __init__(self, registry: prometheus_client.CollectorRegistry) -> None:
        self._registry = weakref.ref(registry)
        self._stand_ins: dict[str, StandIn] = {}
        self._seen: object = None
        self.left_out = 0  # families whose name a local collector of another kind has
        self.unlock()

    def unlock(self) -> None:
        """In a forked child nobody is at work here, whatever thread was in the parent."""
        # One scrape waits until another has made the stand-ins: else it would miss them, once.
        # Each registry has its own, since prometheus_client calls collectors inside its own lock.
        self.lock = threading.RLock()

    def show(self, stand_in: StandIn) -> Iterator[Metric]:
        """The stand-in's family, if it is still there."""
        joined = store.current(make=False)
        row = None if joined is None else catalog.of(joined).winner(stand_in.row.id)
        if joined is not None and row is not None:
            yield FamilyMetric(joined, row)

    def refresh(self) -> None:
        """Makes the stand-ins those of the families that are there now."""
        joined = store.current(make=False)
        registry = self._registry()
        known = identity.known(registry) if registry is not None else None
        if joined is None or registry is None or known is None:
            return
        with self.lock:
            rows = catalog.of(joined).shown(known.name)
            local = known.declared(registry)
            state = (joined.identity, joined.declarations, len(local))
            if state == self._seen:
                return
            wanted = {row.name: row for row in rows if local.isdisjoint(row.sample_names)}
            for name, stand_in in list(self._stand_ins.items()):
                if wanted.get(name) != stand_in.row:
                    self._drop(registry, name)
            self.left_out = 0
            for name, row in wanted.items():
                if name not in self._stand_ins:
                    self._add(registry, _stand_in(self, joined, row))
            self._seen = state

    def step_aside(self, names: Iterable[str]) -> None:
        """This process declares these names itself now."""
        taken = set(names)
        self._drop_if(lambda row: not taken.isdisjoint(row.sample_names))

    def withdraw(self) -> None:
        """Takes all stand-ins away until the next refresh."""
        self._drop_if(lambda row: True)

    def _drop_if(self, is_to_go: Callable[[catalog.Row], bool]) -> None:
        registry = self._registry()
        with self.lock:
            for name, stand_in in list(self._stand_ins.items()):
                if registry is not None and is_to_go(stand_in.row):
                    self._drop(registry, name)
                    self._seen = None  # if the declaration fails, it is shown again

    def lose(self, stand_in: StandIn) -> None:
        """Somebody took it out of the registry; the next refresh puts another there."""
        with self.lock:
            if self._stand_ins.get(stand_in.row.name) is stand_in:
                del self._stand_ins[stand_in.row.name]
                self._seen = None

    # By prometheus_client's own methods: a program's subclass may have others, for its collectors.

    def _add(self, registry: prometheus_client.CollectorRegistry, stand_in: StandIn) -> None:
        try:
            originals.CollectorRegistry.register(registry, stand_in)
        except ValueError:  # a collector that isn't ours has the name: never two of one name
            self.left_out += 1
        else:
            self._stand_ins[stand_in.row.name] = stand_in

    def _drop(self, registry: prometheus_client.CollectorRegistry, name: str) -> None:
        stand_in = self._stand_ins.pop(name, None)
        if stand_in is None:  # what a signal handler or __del__ called was faster
            return
        with contextlib.suppress(KeyError):  # somebody emptied the registry
            originals.CollectorRegistry.unregister(registry, stand_in)
