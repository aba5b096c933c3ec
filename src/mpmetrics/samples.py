"""A family of the store as prometheus_client's Metric, its samples made when somebody looks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar, Sample

from . import catalog, created, exemplars, theirs
from ._native import float_text

if TYPE_CHECKING:
    from ._native import Store


class FamilyMetric(Metric):
    """A Metric that knows its family: our own endpoints render it without making a sample.

    Everybody else reads `samples`, which costs some microseconds a sample once. `shard`: the name
    of a label that says which shard a sample is of; then each is shown by itself."""

    def __init__(self, store: Store, row: catalog.Row, shard: str = "") -> None:
        super().__init__(row.name, row.documentation, row.type, row.unit)
        self.store = store
        self.row = row
        self.shard = shard
        self._made: list[Sample] | None = None

    @property
    def samples(self) -> list[Sample]:
        if self._made is None:
            self._made = list(
                read_shards(self.store, self.row, self.shard)
                if self.shard
                else read(self.store, self.row)
            )
        return self._made

    @samples.setter
    def samples(self, samples: list[Sample]) -> None:
        self._made = samples

    @property
    def is_untouched(self) -> bool:
        """Has nobody looked at the samples, nor changed what stands above them?"""
        row = self.row
        return self._made is None and (row.name, row.documentation, row.type, row.unit) == (
            self.name,
            self.documentation,
            self.type,
            self.unit,
        )

    def __deepcopy__(self, memo: object) -> Metric:
        return _plain(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.name, self.documentation, self.type, self.unit, self.samples)


def _rebuild(name: str, help_: str, type_: str, unit: str, samples: list[Sample]) -> Metric:
    metric = Metric(name, help_, type_, unit)
    metric.samples = list(samples)
    return metric


def _plain(metric: Metric) -> Metric:
    return _rebuild(metric.name, metric.documentation, metric.type, metric.unit, metric.samples)


class Restricted:
    """A collector's families with only the samples of these names, as a registry gives them."""

    def __init__(self, collector: Collector, names: frozenset[str]) -> None:
        self._collector = collector
        self._names = names

    def collect(self) -> Iterator[Metric]:
        """Those families that have such a sample."""
        for metric in self._collector.collect():
            samples = [sample for sample in metric.samples if sample.name in self._names]
            if samples:
                yield _rebuild(metric.name, metric.documentation, metric.type, "", samples)


class Series(NamedTuple):
    """One label set of a family, over all shards or in one: a row of `Store.read`."""

    labelvalues: tuple[str, ...]
    pairs: tuple[str, ...]  # Info's names and values by turns
    created: float
    value: Any  # a sum, or None of a gauge that nobody has set
    other: Any  # a summary's count, an enum's state, when a mostrecent gauge was set
    buckets: Any  # how many observations each has, itself
    parts: Any  # (pid, value) of each process, where a gauge's mode shows them one by one
    exemplars: list[tuple[int, bytes, float, float]]  # bucket, labels, value, time


def series_of(store: Store, row: catalog.Row, shard: int = 0) -> Iterator[Series]:
    """The series of a family, the oldest first; with `shard` what that one has of them."""
    return map(Series._make, store.read(*row.id, shard))


def read(store: Store, row: catalog.Row, only: tuple[str, ...] | None = None) -> Iterator[Sample]:
    """
    Every sample of a family, as prometheus_client's own classes would give them.

    With `only` those of the series with these label values, without its labels.
    """
    with_created = created.is_enabled()
    for series in series_of(store, row):
        if only is not None and series.labelvalues != only:
            continue
        labels = (
            {} if only is not None else dict(zip(row.labelnames, series.labelvalues, strict=True))
        )
        yield from _MAKERS[catalog.Kind(row.kind)](row, labels, series)
        if with_created and row.kind in _WITH_CREATED:
            yield Sample(row.name + "_created", labels, series.created)


def read_shards(store: Store, row: catalog.Row, label: str) -> Iterator[Sample]:
    """What each shard counted of a family, with this label; no exemplars, no _created."""
    for index, *_ in store.shards():
        for series in series_of(store, row, index):
            labels = dict(zip(row.labelnames, series.labelvalues, strict=True))
            for sample in _MAKERS[catalog.Kind(row.kind)](row, labels, series):
                yield sample._replace(labels={label: str(index), **sample.labels})


_WITH_CREATED = (catalog.Kind.COUNTER, catalog.Kind.SUMMARY, catalog.Kind.HISTOGRAM)


def _exemplars(series: Series) -> dict[int, Exemplar]:
    """The newest exemplar of each bucket that has one; a counter is its own bucket 0."""
    return {
        part: exemplars.decode(text, value, time) for part, text, value, time in series.exemplars
    }


def _counter(row: catalog.Row, labels: dict[str, str], series: Series) -> Iterator[Sample]:
    yield Sample(row.name + "_total", labels, series.value, None, _exemplars(series).get(0))


def _gauge(row: catalog.Row, labels: dict[str, str], series: Series) -> Iterator[Sample]:
    for pid, value in series.parts or ():
        yield Sample(row.name, {**labels, "pid": str(pid)}, value)
    if series.parts is None and series.value is not None:
        yield Sample(row.name, labels, series.value)


def _summary(row: catalog.Row, labels: dict[str, str], series: Series) -> Iterator[Sample]:
    yield Sample(row.name + "_count", labels, float(series.other))
    yield Sample(row.name + "_sum", labels, series.value)


def _histogram(row: catalog.Row, labels: dict[str, str], series: Series) -> Iterator[Sample]:
    total = 0.0
    exemplar = _exemplars(series)
    for i, (bound, count) in enumerate(zip(row.bounds, series.buckets, strict=True)):
        total += count
        le = {**labels, "le": float_text(bound)}
        yield Sample(row.name + "_bucket", le, total, None, exemplar.get(i))
    yield Sample(row.name + "_count", labels, total)
    if row.bounds[0] >= 0:
        yield Sample(row.name + "_sum", labels, series.value)


def _info(row: catalog.Row, labels: dict[str, str], series: Series) -> Iterator[Sample]:
    pairs = series.pairs
    info = dict(zip(pairs[::2], pairs[1::2], strict=True))
    yield Sample(row.name + "_info", {**labels, **info}, 1.0)


def _enum(row: catalog.Row, labels: dict[str, str], series: Series) -> Iterator[Sample]:
    for index, state in enumerate(row.states):
        yield Sample(row.name, {**labels, row.name: state}, 1.0 if index == series.other else 0.0)


_MAKERS = {
    catalog.Kind.COUNTER: _counter,
    catalog.Kind.GAUGE: _gauge,
    catalog.Kind.GAUGE_MODE: _gauge,
    catalog.Kind.SUMMARY: _summary,
    catalog.Kind.HISTOGRAM: _histogram,
    catalog.Kind.INFO: _info,
    catalog.Kind.ENUM: _enum,
}

if not TYPE_CHECKING:
    __getattr__ = theirs.names_of("samples")
