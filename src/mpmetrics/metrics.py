"""The metric classes' half in Python: declaration, collection, removal, decoration.

The classes that users see, Counter to Enum, derive from these in C (native/module_metric.c): what
is called on every request, `inc`, `observe`, `labels` and their like, is there.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from prometheus_client import REGISTRY, CollectorRegistry, Metric
from prometheus_client.samples import Sample

from . import (
    _native,
    catalog,
    exemplars,
    functions,
    gaugemodes,
    names,
    references,
    registry as registries,
    store,
    strict,
    theirs,
)
from .decorators import ExceptionCounter, InprogressTracker, around
from .deriving import MetricType as MetricType, MetricWrapperBase as MetricWrapperBase
from .identity import Identity, identity_of
from .samples import FamilyMetric, read
from .values import Bucket, Children, Settable, Value

if TYPE_CHECKING:
    from ._native import Family

F = TypeVar("F", bound=Callable[..., Any])
INF = float("inf")


class MetricBase:
    """What all metric classes have in common. Instances have no dictionary of their own."""

    __slots__ = ()

    _type: ClassVar[str]
    _reserved_labelnames: ClassVar[tuple[str, ...]] = ()

    if TYPE_CHECKING:  # in C
        _family: Family
        _children: dict[tuple[str, ...], Self] | None
        _labelvalues_or_none: tuple[str, ...] | None
        _parent: Self | None

        def labels(self, *labelvalues: object, **labelkwargs: object) -> Self: ...
        def _bind(self, family: Family, /) -> None: ...
        def _start(self, again: bool = False, /) -> None: ...
        def _remove(self, labelvalues: tuple[str | None, ...], /) -> None: ...

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: Iterable[str] = (),
        namespace: str = "",
        subsystem: str = "",
        unit: str = "",
        registry: CollectorRegistry | None = REGISTRY,
        _labelvalues: Sequence[str] | None = None,
    ) -> None:
        self._declare(
            name, documentation, labelnames, namespace, subsystem, unit, registry, _labelvalues
        )

    def _declare(
        self,
        name: str,
        documentation: str,
        labelnames: Iterable[str],
        namespace: str,
        subsystem: str,
        unit: str,
        registry: CollectorRegistry | None,
        labelvalues: Sequence[str] | None,
        *,
        kind: int | None = None,
        mode: int = 0,
        bounds: tuple[float, ...] = (),
        states: tuple[str, ...] = (),
    ) -> None:
        """Checks everything, then registers, and only then tells other processes."""
        if labelvalues:  # in prometheus_client's signature, for its own use
            raise TypeError("label values are for labels(), which makes the children")
        if not isinstance(documentation, str):
            raise TypeError(f"The documentation must be a str, not {documentation!r}")
        full = names.full_name(self._type, name, namespace, subsystem, unit)
        labels = names.label_names(labelnames, self._reserved_labelnames)
        Metric(full, documentation, self._type)  # prometheus_client's own check of the name
        identity = identity_of(registry, f"{self._type} {full} {labels} {bounds}")
        flags = catalog.PRIVATE if identity.private else 0
        if names.are_plain(self._type, full, labels):
            flags |= catalog.PLAIN
        self._bind(
            _native.Family(
                store.current(),
                kind or _KINDS[self._type],
                mode,
                flags,
                identity.name,
                full,
                documentation,
                unit or "",
                labels,
                bounds,
                states,
            )
        )
        taken = names.sample_names(self._type, full)
        if registry is not None:
            registries.register(registry, self, taken)
        self._start(registry is not None and identity.note(registry, taken))
        try:
            strict.check(self._family)
        except ValueError:
            self._undo(registry, identity, taken)
            raise
        references.note(self)
        if identity.private:
            weakref.finalize(self, self._family.release).atexit = False

    def _undo(
        self,
        registry: CollectorRegistry | None,
        identity: Identity,
        taken: tuple[str, ...],
    ) -> None:
        if registry is not None:
            registry.unregister(self)
            identity.withdraw(registry, taken)
        self._family.release()

    # ---- what registries ask ---------------------------------------------------------------------

    def describe(self) -> list[Metric]:
        """The family without samples, as a registry asks for it."""
        family = self._family
        return [Metric(family.name, family.documentation, self._type, family.unit)]

    def collect(self) -> list[Metric]:
        """
        The family with all its series of all processes.

        Another process may have declared another shape since: then that one, which is what every
        scrape shows. Samples are made when they are looked at. A child gives its own series alone,
        without its labels, as prometheus_client's does.
        """
        family = self._family
        family.store.settle()
        row = self._row()
        if row is not None and not self._labelvalues:
            return [FamilyMetric(family.store, row)]
        metrics = self.describe()
        if row is not None:
            metrics[0].samples = list(read(family.store, row, self._labelvalues))
        return metrics

    def _row(self) -> catalog.Row | None:
        """What is shown in its family's place.

        Until the family could be declared (the lock's owner was stopped, there was no room), what
        other processes have declared under its name."""
        family, known = self._family, catalog.of(self._family.store)
        if family.id[1] != 0:
            return known.winner(family.id)
        return known.holder(family.registry, names.sample_names(self._type, family.name))

    def __reduce__(self) -> tuple[Any, ...]:
        return references.reduce(self)

    def __str__(self) -> str:
        return f"{self._type}:{self._name}"

    def __repr__(self) -> str:
        metric = type(self)
        return f"{metric.__module__}.{metric.__name__}({self._name})"

    # ---- removal ---------------------------------------------------------------------------------

    def remove(self, *labelvalues: object) -> None:
        """
        Remove the series with these label values, in every process; nothing if there is none.

        A child that somebody kept goes on counting for nobody. Raises ValueError for another number
        of values than declared.
        """
        labelnames = self._labelled()
        if len(labelvalues) != len(labelnames):
            raise ValueError(
                f"Incorrect label count (expected {len(labelnames)}, got {labelvalues})"
            )
        self._remove(tuple(str(value) for value in labelvalues))

    def remove_by_labels(self, labels: dict[str, str]) -> None:
        """
        Remove every series, of every process, that has these values of these labels.

        Raises TypeError if `labels` is no dict, ValueError for a label that wasn't declared.
        """
        labelnames = self._labelled()
        if not isinstance(labels, dict):
            raise TypeError("labels must be a dict of {label_name: label_value}")
        if not labels:
            return
        unknown = [name for name in labels if name not in labelnames]
        if unknown:
            raise ValueError(f"Unknown label names: {unknown}; expected {labelnames}")
        self._remove(tuple(str(labels[name]) if name in labels else None for name in labelnames))

    def clear(self) -> None:
        """Remove every series, in every process; nothing if the metric has no labels."""
        if self._children is not None:
            self._remove((None,) * len(self._labelnames))

    def _labelled(self) -> tuple[str, ...]:
        if self._children is None:
            raise ValueError(f"No label names were set when constructing {self}")
        return self._labelnames

    def _all_labelvalues(self) -> set[tuple[str, ...]]:
        """Those in the store, made by any process, and those that this one alone has yet."""
        family = self._family
        stored = {row[0] for row in family.store.read(*family.id)}
        return stored | set(self._children or ())

    # ---- what libraries and tests read -----------------------------------------------------------

    @property
    def _name(self) -> str:
        return self._family.name

    @property
    def _documentation(self) -> str:
        return self._family.documentation

    @property
    def _unit(self) -> str:
        return self._family.unit

    @property
    def _labelnames(self) -> tuple[str, ...]:
        return self._family.labelnames

    @property
    def _labelvalues(self) -> tuple[str, ...]:
        return self._labelvalues_or_none or ()

    @property
    def _metrics(self) -> dict[tuple[str, ...], Self]:
        """The children of all label sets that any process made, as a snapshot."""
        children = ((values, self.labels(*values)) for values in self._all_labelvalues())
        return Children(children, self.remove)

    def _samples_now(self) -> list[Sample]:
        self._raise_if_not_observable()
        return self.collect()[0].samples

    def _raise_if_not_observable(self) -> None:
        if self._children is not None:
            raise ValueError(f"{self._type} metric is missing label values")


class CounterBase(MetricBase):
    """
    A value that only goes up, shared by every process that uses the same store.

    `inc` is one store to memory that only this process writes, and takes no lock: a worker killed
    in the middle can neither block the others nor leave half an increment. Reading is not a
    snapshot across counters.
    """

    __slots__ = ()
    _type = "counter"

    if TYPE_CHECKING:

        def inc(self, amount: float = 1, exemplar: Mapping[str, str] | None = None) -> None: ...
        def reset(self) -> None: ...

    @property
    def _value(self) -> Value:
        return Settable(self._samples_now, "_total", self._start_at, self.inc)

    def _start_at(self, value: float) -> None:
        self.reset()
        self.inc(value)

    def count_exceptions(
        self, exception: type[BaseException] | tuple[type[BaseException], ...] = Exception
    ) -> ExceptionCounter:
        """Count the exceptions of these types that leave a block or a function.

        A context manager and a decorator, for every kind of function."""
        self._raise_if_not_observable()
        return ExceptionCounter(self, exception)


class GaugeBase(MetricBase):
    """
    A value that goes up and down.

    Without `multiprocess_mode` there is one value for all processes, and the last writer wins: each
    write is one atomic operation. With one of prometheus_client's modes each process has a value of
    its own, and a scrape shows them folded, or one by one with their `pid`.
    """

    __slots__ = ()
    _type = "gauge"
    _MULTIPROC_MODES = gaugemodes.MODES
    _MOST_RECENT_MODES = frozenset(("mostrecent", "livemostrecent"))

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: Iterable[str] = (),
        namespace: str = "",
        subsystem: str = "",
        unit: str = "",
        registry: CollectorRegistry | None = REGISTRY,
        _labelvalues: Sequence[str] | None = None,
        multiprocess_mode: str | None = None,
    ) -> None:
        if multiprocess_mode is not None and multiprocess_mode not in self._MULTIPROC_MODES:
            raise ValueError(
                f"Invalid multiprocess mode: {multiprocess_mode} "
                f"(expected one of {', '.join(sorted(self._MULTIPROC_MODES))})"
            )
        labelnames = tuple(labelnames)
        full = names.full_name(self._type, name, namespace, subsystem, unit)
        mode = gaugemodes.number(gaugemodes.choose(full, multiprocess_mode, labelnames))
        self._declare(
            name,
            documentation,
            labelnames,
            namespace,
            subsystem,
            unit,
            registry,
            _labelvalues,
            kind=catalog.Kind.GAUGE_MODE if mode else catalog.Kind.GAUGE,
            mode=mode,
        )

    if TYPE_CHECKING:

        def inc(self, amount: float = 1) -> None: ...
        def dec(self, amount: float = 1) -> None: ...
        def set(self, value: float) -> None: ...
        def _follow(self) -> None: ...
        def _write_followed(self, value: float, /) -> None: ...

    @property
    def _value(self) -> Value:
        return Settable(self._samples_now, "", self.set, self.inc)

    def set_function(self, f: Callable[[], float]) -> None:
        """
        Let the gauge show what `f` returns; in this process all its other methods do nothing then.

        `f` is called now, in this process's scrapes, and by a thread every few seconds
        (`functions.INTERVAL`), so that other processes' scrapes show its last value. It is called
        in this process only, not in its forks.
        """
        self._raise_if_not_observable()
        functions.follow(self, f)

    def collect(self) -> list[Metric]:
        """As `MetricBase.collect`, after asking the functions that its gauges follow."""
        functions.refresh(self._family)
        return super().collect()

    def track_inprogress(self) -> InprogressTracker:
        """
        Count up while a block or a function runs, and down again.

        A process that is killed inside leaves its count behind; for what must not outlive its
        process declare the gauge with `multiprocess_mode="livesum"`.
        """
        self._raise_if_not_observable()
        return InprogressTracker(self)


class SummaryBase(MetricBase):
    """
    The number and the sum of what was observed.

    In any scrape both are of one instant of each writer.
    """

    __slots__ = ()
    _type = "summary"
    _reserved_labelnames = ("quantile",)

    @property
    def _count(self) -> Value:
        return Value(self._samples_now, "_count")

    @property
    def _sum(self) -> Value:
        return Value(self._samples_now, "_sum")


class HistogramBase(MetricBase):
    """
    How many observations fell into each bucket, and their sum.

    In any scrape buckets, count and sum are of one instant of each writer.
    """

    __slots__ = ()
    _type = "histogram"
    _reserved_labelnames = ("le",)
    DEFAULT_BUCKETS = (
        0.005,
        0.01,
        0.025,
        0.05,
        0.075,
        0.1,
        0.25,
        0.5,
        0.75,
        1.0,
        2.5,
        5.0,
        7.5,
        10.0,
        INF,
    )

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: Iterable[str] = (),
        namespace: str = "",
        subsystem: str = "",
        unit: str = "",
        registry: CollectorRegistry | None = REGISTRY,
        _labelvalues: Sequence[str] | None = None,
        buckets: Sequence[float | str] = DEFAULT_BUCKETS,
    ) -> None:
        self._declare(
            name,
            documentation,
            labelnames,
            namespace,
            subsystem,
            unit,
            registry,
            _labelvalues,
            bounds=_upper_bounds(buckets),
        )

    @property
    def _upper_bounds(self) -> list[float]:
        return list(self._family.bounds)

    @property
    def _sum(self) -> Value:
        return Value(self._samples_now, "_sum")

    @property
    def _buckets(self) -> list[Value]:
        return [Bucket(self._samples_now, "_bucket", i) for i in range(len(self._family.bounds))]


def _upper_bounds(buckets: Sequence[float | str]) -> tuple[float, ...]:
    """The bounds as floats, with +Inf. Raises ValueError if they aren't sorted, or too few."""
    bounds = [float(bound) for bound in buckets]
    if any(bound != bound for bound in bounds):
        raise ValueError("Buckets must be numbers, not NaN")
    if bounds != sorted(bounds):
        raise ValueError("Buckets not in sorted order")
    if len(set(bounds)) != len(bounds):
        raise ValueError("Buckets must differ from each other")
    if bounds and bounds[-1] != INF:
        bounds.append(INF)
    if len(bounds) < 2:
        raise ValueError("Must have at least two buckets")
    return tuple(bounds)


class InfoBase(MetricBase):
    """Names and values that describe the application, shown as labels of a sample of value 1.

    What any process said last is what every scrape shows, in one piece."""

    __slots__ = ()
    _type = "info"

    if TYPE_CHECKING:

        def _set_info(self, pairs: tuple[str, ...], /) -> None: ...

    def info(self, val: Mapping[str, str]) -> None:
        """
        Say what is shown from now on.

        The price is the store's lock and a block of memory. Raises ValueError if a name is a label
        of the metric already, or a value None.
        """
        self._raise_if_not_observable()
        if not val.keys().isdisjoint(self._labelnames):
            raise ValueError(
                f"Overlapping labels for Info metric, metric: {self._labelnames} child: {val}"
            )
        if any(value is None for value in val.values()):
            raise ValueError("Label value cannot be None")
        self._set_info(tuple(str(text) for pair in val.items() for text in pair))

    @property
    def _value(self) -> dict[str, str]:
        said = [sample.labels for sample in self._samples_now()]
        return {k: v for k, v in said[-1].items() if k not in self._labelnames} if said else {}


class EnumBase(MetricBase):
    """Which of some states is true; the first one until somebody says otherwise."""

    __slots__ = ()
    _type = "stateset"

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: Iterable[str] = (),
        namespace: str = "",
        subsystem: str = "",
        unit: str = "",
        registry: CollectorRegistry | None = REGISTRY,
        _labelvalues: Sequence[str] | None = None,
        states: Sequence[str] | None = None,
    ) -> None:
        labels, states = tuple(labelnames), tuple(states or ())
        full = names.full_name(self._type, name, namespace, subsystem, unit)
        for taken in (name, full):  # the states' label is called as the whole metric is
            if taken in labels:
                raise ValueError(f"Overlapping labels for Enum metric: {taken}")
        if not states:
            raise ValueError(f"No states provided for Enum metric: {name}")
        if not all(isinstance(state, str) for state in states):
            raise ValueError(f"States must be str: {list(states)}")
        if len(set(states)) != len(states):
            raise ValueError(f"States must differ from each other: {list(states)}")
        self._declare(
            name,
            documentation,
            labels,
            namespace,
            subsystem,
            unit,
            registry,
            _labelvalues,
            states=states,
        )

    @property
    def _states(self) -> tuple[str, ...]:
        return self._family.states

    @property
    def _value(self) -> int:
        values = [sample.value for sample in self._samples_now()]
        return values.index(1.0) if values else 0


class TimerBase:
    """Times a block or a function and tells its metric the seconds.

    As a decorator it works on every kind of function, each call timed by itself from its first step
    to its end."""

    __slots__ = ()

    if TYPE_CHECKING:

        def fresh(self) -> Self: ...
        def __enter__(self) -> Self: ...
        def __exit__(self, typ: object, value: object, traceback: object, /) -> None: ...

    def __call__(self, function: F) -> F:
        return around(self.fresh, function)


_KINDS = {
    "counter": catalog.Kind.COUNTER,
    "gauge": catalog.Kind.GAUGE,
    "summary": catalog.Kind.SUMMARY,
    "histogram": catalog.Kind.HISTOGRAM,
    "info": catalog.Kind.INFO,
    "stateset": catalog.Kind.ENUM,
}

# What the extension encodes the labels of exemplars with.
encode_exemplar = exemplars.encode

# The classes that users see are made in C over these.
_native.derive(sys.modules[__name__])
for _base in (CounterBase, GaugeBase, SummaryBase, HistogramBase, InfoBase, EnumBase):
    # help() looks at bases by itself; who reads `__doc__` doesn't.
    getattr(_native, _base.__name__.removesuffix("Base")).__doc__ = _base.__doc__

if not TYPE_CHECKING:
    __getattr__ = theirs.names_of("metrics")
