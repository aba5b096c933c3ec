"""Registries: prometheus_client's, with a name that says which families of a store they show.

Every process's scrape of a registry shows every family that any process declared in it: what this
one did not declare itself is shown by stand-ins (standins.py).
"""

from __future__ import annotations

import functools
import os
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import prometheus_client
from prometheus_client import Metric

from . import identity, names, originals, theirs
from .standins import Foreign, StandIn

if TYPE_CHECKING:
    from prometheus_client.registry import RestrictedRegistry


class Describing(Protocol):
    """A collector that says which names it takes."""

    def describe(self) -> Iterable[Metric]: ...
    def collect(self) -> Iterable[Metric]: ...


class _RegistryType(type(originals.CollectorRegistry)):  # type: ignore[misc]
    """To isinstance() and issubclass() prometheus_client's registries, such as REGISTRY, are ours:
    a program under `patch` asks for the class that stands in the place of theirs."""

    def __instancecheck__(cls, instance: object) -> bool:
        asked = originals.CollectorRegistry if cls is CollectorRegistry else cls
        return type.__instancecheck__(asked, instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        asked = originals.CollectorRegistry if cls is CollectorRegistry else cls
        return type.__subclasscheck__(asked, subclass)


class CollectorRegistry(originals.CollectorRegistry, metaclass=_RegistryType):
    """
    prometheus_client's registry, with a name that other processes know it by.

    Without a name: if its first metric is declared while a module is imported, it is that module's
    n-th such registry in every process that imports the module; otherwise it is private to this
    process and its forks, and its families go with their last declarer.
    """

    def __init__(self, *args: Any, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if name is not None:
            if not name:
                raise ValueError("a registry's name must not be empty")
            identity.give_name(self, name)
            foreign_of(self)  # now: prometheus_client's functions, which can't ask, may come first

    def register(self, collector: Any) -> None:
        """
        Add a collector; a family of another process that has one of its names is left out then.

        Raises ValueError if another collector of this process has one of its names.
        """
        _register(super().register, _foreign.get(self), collector)

    def unregister(self, collector: Any) -> None:
        """
        Remove a collector; what only another process declared comes back at the next scrape.

        Raises KeyError if it isn't in the registry.
        """
        _unregister(super().unregister, _foreign.get(self), collector)

    def collect(self) -> Iterator[Metric]:
        """Everything in the registry, of every process."""
        return _collect(super().collect, _foreign.get(self))

    def restricted_registry(self, names: Iterable[str]) -> RestrictedRegistry:
        """What shows only samples of these names, of every process."""
        return _restricted(super().restricted_registry, _foreign.get(self), names)


def _register(plainly: Callable[[Any], None], foreign: Foreign | None, collector: object) -> None:
    """Registers as prometheus_client does; if a name is only a stand-in's, that one goes first.

    Else a family of another process would make an innocent declaration here fail."""
    try:
        plainly(collector)
        return
    except ValueError:
        if foreign is None:
            raise
    with foreign.lock:  # a scrape that begins now waits, and sees the stand-in or the collector
        _make_way(foreign, collector)
        plainly(collector)  # also if there was none to go: another thread may have taken it away


def _make_way(foreign: Foreign, collector: Any) -> None:
    """Takes the stand-ins away whose names the collector has."""
    try:
        describe = collector.describe
    except AttributeError:  # what collect() gives isn't known before: all of them
        foreign.withdraw()
        return
    foreign.step_aside(
        name for metric in describe() for name in names.sample_names(metric.type, metric.name)
    )


def _unregister(plainly: Callable[[Any], None], foreign: Foreign | None, collector: object) -> None:
    plainly(collector)
    if foreign is not None and isinstance(collector, StandIn):
        foreign.lose(collector)


def _collect(plainly: Callable[[], Iterable[Metric]], foreign: Foreign | None) -> Iterator[Metric]:
    """Collects as prometheus_client does, after a look at what other processes have declared."""
    if foreign is not None:
        foreign.refresh()
    yield from plainly()


def _restricted(
    plainly: Callable[[Iterable[str]], RestrictedRegistry],
    foreign: Foreign | None,
    wanted: Iterable[str],
) -> RestrictedRegistry:
    """The same for some names: stand-ins carry them."""
    if foreign is not None:
        foreign.refresh()
    return plainly(wanted)


# What our class overrides; a registry of prometheus_client's class gets them as well.
_METHODS: dict[str, Callable[..., Any]] = {
    "register": _register,
    "unregister": _unregister,
    "collect": _collect,
    "restricted_registry": _restricted,
}

_foreign: weakref.WeakKeyDictionary[object, Foreign] = weakref.WeakKeyDictionary()


def _unlock_all() -> None:
    for foreign in list(_foreign.values()):
        foreign.unlock()


os.register_at_fork(after_in_child=_unlock_all)


def foreign_of(registry: prometheus_client.CollectorRegistry) -> Foreign:
    """The registry's stand-ins; from the first call on, everybody's scrape shows them."""
    foreign = _foreign.get(registry)
    if foreign is None:
        foreign = _foreign[registry] = Foreign(registry)
        if CollectorRegistry not in type(registry).__mro__:  # isinstance() says yes to theirs
            # On the object itself: REGISTRY can't be made one of another class.
            for name, ours in _METHODS.items():
                plainly = getattr(registry, name)
                setattr(registry, name, functools.partial(ours, plainly, foreign))
    return foreign


def register(
    registry: prometheus_client.CollectorRegistry, metric: Describing, taken: Iterable[str]
) -> None:
    """Adds a metric of this process; stand-ins of its names step aside.

    Raises ValueError ("Duplicated timeseries in CollectorRegistry: ...") if the names are taken."""
    if isinstance(registry, originals.CollectorRegistry):
        foreign_of(registry).step_aside(taken)
    registry.register(metric)


if not TYPE_CHECKING:
    __getattr__ = theirs.names_of("registry")
