"""Metrics in pickles: a metric pickles as its name, and is found by it.

Who unpickles one gets the metric that its process has, if it has it, whether it was forked,
declares the same in a module of its own, or unpickled it before. Otherwise the metric is declared
there: in the store that the pickle names, and without taking the name in a registry of the process,
so that a module imported later can still declare it. Either way both count in one series.
"""

from __future__ import annotations

import logging
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from . import _native, catalog, store as stores, storefile

if TYPE_CHECKING:
    from .metrics import MetricBase

log = logging.getLogger("mpmetrics")


class StoreName(NamedTuple):
    """How a pickle names a store."""

    identity: str
    path: str | None


class FamilyName(NamedTuple):
    """How a pickle names a family: all that declaring it takes but the store."""

    shape: tuple[int, int, int]  # kind, mode, flags
    registry: str
    name: str
    documentation: str
    unit: str
    labelnames: tuple[str, ...]
    bounds: tuple[float, ...]
    states: tuple[str, ...]


_Key = tuple[Any, ...]

_metrics: weakref.WeakValueDictionary[_Key, MetricBase] = weakref.WeakValueDictionary()
_kept: list[MetricBase] = []  # declared by unpickling: as if a module of this process had them
_others: dict[str, _native.Store] = {}  # joined because a pickle named them, by identity


def _name_of(metric: MetricBase) -> FamilyName:
    family = metric._family
    return FamilyName(
        family.shape,
        family.registry,
        family.name,
        family.documentation,
        family.unit,
        family.labelnames,
        family.bounds,
        family.states,
    )


def _key(store: _native.Store, name: FamilyName) -> _Key:
    """Documentation and unit may differ between processes; it is one family all the same."""
    return store.identity, name._replace(documentation="", unit="")


def note(metric: MetricBase) -> None:
    """From now on this is the metric that pickles of its name give in this process."""
    _metrics[_key(metric._family.store, _name_of(metric))] = metric


def reduce(metric: MetricBase) -> tuple[Any, ...]:
    """What a metric's `__reduce__` returns."""
    store = metric._family.store
    where = StoreName(store.identity, store.path)
    cls = getattr(metric, "_pickled_class", type(metric))  # a stand-in's own class has no name
    return find, (cls, where, _name_of(metric), metric._labelvalues)


def find(
    cls: type[MetricBase], where: StoreName, name: FamilyName, labelvalues: tuple[str, ...]
) -> MetricBase:
    """The metric, or with label values its child, of that name in this process."""
    store = _store(where)
    metric = _metrics.get(_key(store, name))
    if metric is None:
        metric = bound(cls, store, name)
        metric._start()
        note(metric)
        if name.shape[2] & catalog.PRIVATE:
            weakref.finalize(metric, metric._family.release).atexit = False
        else:
            _kept.append(metric)
    if not labelvalues:
        return metric
    child = metric.labels(*labelvalues)
    # Whoever has the child alone has no other hold on it.  (A slot in C, which mypy can't see.)
    child._parent = metric  # type: ignore[misc]
    return child


M = TypeVar("M", bound="MetricBase")


def bound(cls: type[M], store: _native.Store, name: FamilyName) -> M:
    """A metric of that name in no registry of this process, declared once it is started or used."""
    kind, mode, flags = name.shape
    metric = cls.__new__(cls)
    metric._bind(
        _native.Family(
            store,
            kind,
            mode,
            flags,
            name.registry,
            name.name,
            name.documentation,
            name.unit,
            name.labelnames,
            name.bounds,
            name.states,
        )
    )
    return metric


def _store(where: StoreName) -> _native.Store:
    """The store that the pickle names; if it can't be had, this process's own, and a line.

    No exception: in a worker of a Pool that would end the worker, and its task would never end."""
    current = stores.current(make=False)
    if current is not None and current.identity == where.identity:
        return current
    known = _others.get(where.identity)
    if known is None and where.path is not None:
        try:
            known = storefile.join_existing(where.path)
        except OSError as error:
            log.debug("the store of an unpickled metric: %s", error)
        if known is not None and known.identity == where.identity:
            _others[where.identity] = known
        else:
            known = None
    if known is None:
        log.error(
            "an unpickled metric counts in this process's own store, since that of the process "
            "that pickled it can't be had: %s",
            where.path or "a store without a name",
        )
    return known or stores.current()
