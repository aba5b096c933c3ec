"""Registries: prometheus_client's, with a name that says which families of a store they show.

Every process's scrape of a registry shows every family that any process declared in it. What this
process did not declare itself is shown by stand-ins: ordinary collectors, one a family, which step
aside as soon as the process declares such a name itself.
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import prometheus_client
from prometheus_client import REGISTRY, Metric
from prometheus_client.samples import Sample

from . import _native, catalog, multiprocdir, references, store, theirs
from .samples import FamilyMetric

if TYPE_CHECKING:
    from types import FrameType

    from prometheus_client.registry import RestrictedRegistry

_PACKAGE = __name__.partition(".")[0]


class Describing(Protocol):
    """A collector that says which names it takes."""

    def describe(self) -> Iterable[Metric]: ...
    def collect(self) -> Iterable[Metric]: ...


# Taken now: `patch` puts ours in its place, and older registries are of theirs.
TheirRegistry = prometheus_client.CollectorRegistry


class _RegistryType(type(TheirRegistry)):  # type: ignore[misc]
    """To isinstance() and issubclass() prometheus_client's registries, such as REGISTRY, are ours:
    a program under `patch` asks for the class that stands in the place of theirs."""

    def __instancecheck__(cls, instance: object) -> bool:
        asked = TheirRegistry if cls is CollectorRegistry else cls
        return type.__instancecheck__(asked, instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        asked = TheirRegistry if cls is CollectorRegistry else cls
        return type.__subclasscheck__(asked, subclass)


class CollectorRegistry(prometheus_client.CollectorRegistry, metaclass=_RegistryType):
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
            _identities[self] = _identity("named:" + name)
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


def _register(theirs: Callable[[Any], None], foreign: Foreign | None, collector: object) -> None:
    """Registers as prometheus_client does; if the name is only a stand-in's, that one goes first.

    Else a family of another process would make an innocent declaration here fail."""
    try:
        theirs(collector)
    except ValueError:
        if foreign is None or not foreign.withdraw():
            raise
        theirs(collector)


def _unregister(theirs: Callable[[Any], None], foreign: Foreign | None, collector: object) -> None:
    theirs(collector)
    if foreign is not None and isinstance(collector, _StandIn):
        foreign.lose(collector)


def _collect(theirs: Callable[[], Iterable[Metric]], foreign: Foreign | None) -> Iterator[Metric]:
    """Collects as prometheus_client does, after a look at what other processes have declared."""
    if foreign is not None:
        foreign.refresh()
    yield from theirs()


def _restricted(
    theirs: Callable[[Iterable[str]], RestrictedRegistry],
    foreign: Foreign | None,
    names: Iterable[str],
) -> RestrictedRegistry:
    """The same for some names: stand-ins carry them."""
    if foreign is not None:
        foreign.refresh()
    return theirs(names)


class Identity:
    """How a store knows a registry, and what this process has declared in it."""

    def __init__(self, name: str, private: bool) -> None:
        self.name = name
        self.private = private
        self._declared: weakref.WeakKeyDictionary[object, set[str]] = weakref.WeakKeyDictionary()

    def declared(self, registry: object) -> set[str]:
        """Every sample name that this process has ever declared in this object."""
        return self._declared.get(registry, set())

    def note(self, registry: object, names: Iterable[str]) -> bool:
        """Remembers that this process declares these names in this object.

        True if it had done so before, and so must have let them go, and no other object of this
        identity has them."""
        taken = set(names)
        mine = self._declared.setdefault(registry, set())
        again = taken <= mine and not any(
            taken & theirs for other, theirs in self._declared.items() if other is not registry
        )
        mine |= taken
        return again

    def withdraw(self, registry: object, names: Iterable[str]) -> None:
        """This process doesn't declare them in this object after all."""
        self._declared[registry] -= set(names)


_identities: weakref.WeakKeyDictionary[object, Identity] = weakref.WeakKeyDictionary()
_by_name: weakref.WeakValueDictionary[str, Identity] = weakref.WeakValueDictionary()
_identities[REGISTRY] = Identity("", private=False)
_unnamed: Counter[str] = Counter()  # registries without a name, by module


def _identity(name: str) -> Identity:
    """The one identity of that name; objects of one name are one registry to other processes."""
    identity = _by_name.get(name)
    if identity is None:
        identity = _by_name[name] = Identity(name, private=False)
    return identity


def identity_of(registry: object | None, first: str = "") -> Identity:
    """
    The registry's identity; an unnamed one gets its own at its first declaration.

    None: of a metric without a registry, for that one alone. `first` says what is declared.
    """
    if registry is None:
        return _of_caller(sys._getframe(1), first)
    identity = _identities.get(registry)
    if identity is None:
        frame = sys._getframe(1)
        module = _module_being_imported(frame)
        if module is None:
            identity = _of_caller(frame, first)
        else:
            identity = _identity(f"module:{module}:{_unnamed[module]}")
            _unnamed[module] += 1
        _identities[registry] = identity
    return identity


def _of_caller(frame: FrameType | None, first: str) -> Identity:
    """One that no other registry, of any process, ever has.

    In a program of prometheus_client's multi-process mode, which adds up all registries and keeps
    what the dead counted, one that all processes have which first declare the same at this place:
    dramatiq makes a registry in a function of each worker."""
    frame = _outside(frame)
    if multiprocdir.is_mode() and frame is not None:
        module = _name_of(frame.f_globals.get("__name__", ""))
        return _identity(f"function:{module}.{frame.f_code.co_qualname}:{first}")
    return Identity("private:" + secrets.token_hex(8), private=True)


def _outside(frame: FrameType | None) -> FrameType | None:
    """The frame that called into this package."""
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] == _PACKAGE:
        frame = frame.f_back
    return frame


def _name_of(module: str) -> str:
    # spawn and forkserver import the parent's __main__ under this name.
    return "__main__" if module == "__mp_main__" else module


def _module_being_imported(frame: FrameType | None) -> str | None:
    """The module whose top level is running, below the frames of this package.

    Top level, or a function called from it: then the import system is what called the module.
    The top level of a script has no such caller, and everything runs below it; so there only
    code that stands at the top level itself counts."""
    first = frame = _outside(frame)
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            caller = frame.f_back
            imported = caller is not None and caller.f_code.co_filename.startswith(
                "<frozen importlib"
            )
            if imported or frame is first:
                return _name_of(frame.f_globals.get("__name__", ""))
        frame = frame.f_back
    return None


# ---- stand-ins -----------------------------------------------------------------------------------


class _StandIn:
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
        ours.__name__, (_StandIn, ours), {"__module__": ours.__module__, "_pickled_class": ours}
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


def _stand_in(owner: Foreign, joined: _native.Store, row: catalog.Row) -> _StandIn:
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
    stand_in: _StandIn = references.bound(_class_of(catalog.Kind(row.kind)), joined, name)
    stand_in._owner, stand_in.row = owner, row
    return stand_in


class Foreign:
    """The families of a registry that were not declared in this object of it."""

    def __init__(self, registry: prometheus_client.CollectorRegistry) -> None:
        self._registry = weakref.ref(registry)
        self._stand_ins: dict[str, _StandIn] = {}
        self._seen: object = None
        self.left_out = 0  # families whose name a local collector of another kind has
        self.unlock()

    def unlock(self) -> None:
        """In a forked child nobody is at work here, whatever thread was in the parent."""
        # One scrape waits until another has made the stand-ins: else it would miss them, once.
        # Each registry has its own, since prometheus_client calls collectors inside its own lock.
        self._lock = threading.RLock()

    def show(self, stand_in: _StandIn) -> Iterator[Metric]:
        """The stand-in's family, if it is still there."""
        joined = store.current(make=False)
        row = None if joined is None else catalog.of(joined).winner(stand_in.row.id)
        if joined is not None and row is not None:
            yield FamilyMetric(joined, row)

    def refresh(self) -> None:
        """Makes the stand-ins those of the families that are there now."""
        joined = store.current(make=False)
        registry = self._registry()
        identity = _identities.get(registry) if registry is not None else None
        if joined is None or registry is None or identity is None:
            return  # an unnamed registry is nobody before its first declaration
        with self._lock:
            rows = catalog.of(joined).shown(identity.name)
            local = identity.declared(registry)
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
        registry = self._registry()
        taken = set(names)
        with self._lock:
            for name, stand_in in list(self._stand_ins.items()):
                if registry is not None and not taken.isdisjoint(stand_in.row.sample_names):
                    self._drop(registry, name)
                    self._seen = None  # if the declaration fails, it is shown again

    def withdraw(self) -> bool:
        """Takes all stand-ins away until the next refresh; false if there were none."""
        registry = self._registry()
        with self._lock:
            names = list(self._stand_ins)
            for name in names:
                if registry is not None:
                    self._drop(registry, name)
            self._seen = None
        return bool(names)

    def lose(self, stand_in: _StandIn) -> None:
        """Somebody took it out of the registry; the next refresh puts another there."""
        with self._lock:
            if self._stand_ins.get(stand_in.row.name) is stand_in:
                del self._stand_ins[stand_in.row.name]
                self._seen = None

    # By prometheus_client's own methods: a program's subclass may have others, for its collectors.

    def _add(self, registry: prometheus_client.CollectorRegistry, stand_in: _StandIn) -> None:
        try:
            TheirRegistry.register(registry, stand_in)
        except ValueError:  # a collector that isn't ours has the name: never two of one name
            self.left_out += 1
        else:
            self._stand_ins[stand_in.row.name] = stand_in

    def _drop(self, registry: prometheus_client.CollectorRegistry, name: str) -> None:
        stand_in = self._stand_ins.pop(name, None)
        if stand_in is None:  # what a signal handler or __del__ called was faster
            return
        with contextlib.suppress(KeyError):  # somebody emptied the registry
            TheirRegistry.unregister(registry, stand_in)


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
            whole: Any = registry
            whole.register = functools.partial(_register, registry.register, foreign)
            whole.unregister = functools.partial(_unregister, registry.unregister, foreign)
            whole.collect = functools.partial(_collect, registry.collect, foreign)
            whole.restricted_registry = functools.partial(
                _restricted, registry.restricted_registry, foreign
            )
    return foreign


def register(
    registry: prometheus_client.CollectorRegistry, metric: Describing, names: Iterable[str]
) -> None:
    """Adds a metric of this process; stand-ins of its names step aside.

    Raises ValueError ("Duplicated timeseries in CollectorRegistry: ...") if the names are taken."""
    taken = tuple(names)
    if isinstance(registry, TheirRegistry):
        foreign_of(registry).step_aside(taken)
    registry.register(metric)


if not TYPE_CHECKING:
    __getattr__ = theirs.names_of("registry")
