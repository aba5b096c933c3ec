"""A family of the store as prometheus_client's Metric, its samples made when somebody looks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar, Sample

from . import catalog, created, exemplars, theirs
from ._native import float_text

if TYPE_CHECKING:
    from ._native import Store, _SeriesRow


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


def read(store: Store, row: catalog.Row, only: tuple[str, ...] | None = None) -> Iterator[Sample]:
    """
    Every sample of a family, as prometheus_client's own classes would give them.

    With `only` those of the series with these label values, without its labels.
    """
    with_created = created.is_enabled()
    for series in store.read(*row.id):
        if only is not None and series[0] != only:
            continue
        labels = {} if only is not None else dict(zip(row.labelnames, series[0], strict=True))
        yield from _MAKERS[catalog.Kind(row.kind)](row, labels, series)
        if with_created and row.kind in _WITH_CREATED:
            yield Sample(row.name + "_created", labels, series[2])


def read_shards(store: Store, row: catalog.Row, label: str) -> Iterator[Sample]:
    """What each shard counted of a family, with this label; no exemplars, no _created."""
    for index, *_ in store.shards():
        for series in store.read(*row.id, index):
            labels = dict(zip(row.labelnames, series[0], strict=True))
            for sample in _MAKERS[catalog.Kind(row.kind)](row, labels, series):
                yield sample._replace(labels={label: str(index), **sample.labels})


_WITH_CREATED = (catalog.Kind.COUNTER, catalog.Kind.SUMMARY, catalog.Kind.HISTOGRAM)


def _exemplars(series: _SeriesRow) -> dict[int, Exemplar]:
    """The newest exemplar of each bucket that has one; a counter is its own bucket 0."""
    return {part: exemplars.decode(text, value, time) for part, text, value, time in series[7]}


def _counter(row: catalog.Row, labels: dict[str, str], series: _SeriesRow) -> Iterator[Sample]:
    yield Sample(row.name + "_total", labels, series[3], None, _exemplars(series).get(0))


def _gauge(row: catalog.Row, labels: dict[str, str], series: _SeriesRow) -> Iterator[Sample]:
    for pid, value in series[6] or ():
        yield Sample(row.name, {**labels, "pid": str(pid)}, value)
    if series[6] is None and series[3] is not None:
        yield Sample(row.name, labels, series[3])


def _summary(row: catalog.Row, labels: dict[str, str], series: _SeriesRow) -> Iterator[Sample]:
    yield Sample(row.name + "_count", labels, float(series[4]))
    yield Sample(row.name + "_sum", labels, series[3])


def _histogram(row: catalog.Row, labels: dict[str, str], series: _SeriesRow) -> Iterator[Sample]:
    total = 0.0
    exemplar = _exemplars(series)
    for i, (bound, count) in enumerate(zip(row.bounds, series[5], strict=True)):
        total += count
        le = {**labels, "le": float_text(bound)}
        yield Sample(row.name + "_bucket", le, total, None, exemplar.get(i))
    yield Sample(row.name + "_count", labels, total)
    if row.bounds[0] >= 0:
        yield Sample(row.name + "_sum", labels, series[3])


def _info(row: catalog.Row, labels: dict[str, str], series: _SeriesRow) -> Iterator[Sample]:
    pairs = series[1]
    info = dict(zip(pairs[::2], pairs[1::2], strict=True))
    yield Sample(row.name + "_info", {**labels, **info}, 1.0)


def _enum(row: catalog.Row, labels: dict[str, str], series: _SeriesRow) -> Iterator[Sample]:
    for index, state in enumerate(row.states):
        yield Sample(row.name, {**labels, row.name: state}, 1.0 if index == series[4] else 0.0)


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
