"""Families of one name in several registries, as one: what prometheus_client's multi-process mode
shows, which knows no registries.

Each registry's family is exact by itself. Here their samples are put together, as a scrape by
MultiProcessCollector asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from prometheus_client import Metric
from prometheus_client.samples import Exemplar, Sample

from . import catalog, gaugemodes
from ._native import float_text
from .samples import read, series_of

if TYPE_CHECKING:
    from ._native import Store

_Labels = frozenset[tuple[str, str]]
_Key = tuple[str, _Labels]  # of a sample
_Fold = Callable[[Sample, Sample], Sample]


class AddedUp(Metric):
    """A Metric made of several families."""

    def __init__(self, rows: Sequence[catalog.Row], samples: Iterable[Sample]) -> None:
        first = rows[0]
        super().__init__(first.name, first.documentation, first.type, first.unit)
        self.rows = rows
        self.samples = list(samples)


def groups(rows: Iterable[catalog.Row]) -> list[list[catalog.Row]]:
    """
    The families that are one to a scrape, the oldest first.

    Where a name is of one type here and of another there, or two names have a sample in common,
    the older family is shown: both would be no valid page.
    """
    found: dict[tuple[str, str], list[catalog.Row]] = {}
    taken: set[str] = set()
    for row in sorted(rows, key=lambda row: row.birth):
        group = found.get((row.name, row.type))
        if group is not None:
            group.append(row)
        elif taken.isdisjoint(row.sample_names):
            found[row.name, row.type] = [row]
            taken.update(row.sample_names)
    return list(found.values())


def added_up(store: Store, rows: Sequence[catalog.Row]) -> AddedUp:
    """The family that these make together."""
    if rows[0].type == "histogram":
        return AddedUp(rows, _histograms(store, rows))
    fold = _folds(rows[0])
    totals: dict[_Key, Sample] = {}
    for row in rows:
        for sample in _timed(store, row):
            key = _key(sample)
            before = totals.get(key)
            totals[key] = sample if before is None else fold(before, sample)
    return AddedUp(rows, (sample._replace(timestamp=None) for sample in totals.values()))


def _key(sample: Sample) -> _Key:
    return sample.name, frozenset(sample.labels.items())


# ---- what two samples make -----------------------------------------------------------------------


def _sum(one: Sample, other: Sample) -> Sample:
    if one.name.endswith("_created"):
        return _min(one, other)
    newest = max((one.exemplar, other.exemplar), key=_when)
    return one._replace(value=one.value + other.value, exemplar=newest)


def _when(exemplar: Exemplar | None) -> float:
    return float((exemplar and exemplar.timestamp) or 0.0)


def _min(one: Sample, other: Sample) -> Sample:
    return other if other.value < one.value else one


def _max(one: Sample, other: Sample) -> Sample:
    return other if other.value > one.value else one


def _newest(one: Sample, other: Sample) -> Sample:
    return other if float(other.timestamp or 0.0) > float(one.timestamp or 0.0) else one


def _last(one: Sample, other: Sample) -> Sample:
    return other


_GAUGES: dict[str, _Fold] = {"sum": _sum, "min": _min, "max": _max, "mostrecent": _newest}


def _folds(row: catalog.Row) -> _Fold:
    """How samples of one label set of this family, and those alike, become one.

    Of what has one value for all processes the younger family's is shown: nobody knows when it was
    set. With mode all there is one a process, as in prometheus_client."""
    if row.type in ("counter", "summary"):
        return _sum
    return _GAUGES.get(gaugemodes.fold_of(row.mode), _last)


def _timed(store: Store, row: catalog.Row) -> Iterator[Sample]:
    """Samples, those of a mostrecent gauge with the time when it was set."""
    samples = read(store, row)
    if gaugemodes.fold_of(row.mode) != "mostrecent":
        yield from samples
        return
    for series in series_of(store, row):
        labels = dict(zip(row.labelnames, series.labelvalues, strict=True))
        if series.value is not None:
            yield Sample(row.name, labels, series.value, series.other)


# ---- histograms ----------------------------------------------------------------------------------


def _histograms(store: Store, rows: Sequence[catalog.Row]) -> Iterator[Sample]:
    """Bucket by bucket, as prometheus_client adds up: over the bounds that any of them has."""
    buckets: dict[_Labels, dict[float, Sample]] = {}  # each without those of lower bounds
    others: dict[_Key, Sample] = {}
    for row in rows:
        last: dict[_Labels, float] = {}  # what the bucket before had, those below it included
        for sample in read(store, row):
            if not sample.name.endswith("_bucket"):
                key = _key(sample)
                others[key] = _sum(others[key], sample) if key in others else sample
                continue
            labels = dict(sample.labels)
            bound = float(labels.pop("le"))
            labelset = frozenset(labels.items())
            bucket = sample._replace(labels=labels, value=sample.value - last.get(labelset, 0.0))
            last[labelset] = sample.value
            known = buckets.setdefault(labelset, {})
            known[bound] = _sum(known[bound], bucket) if bound in known else bucket
    for series in buckets.values():
        total = 0.0
        for bound, bucket in sorted(series.items()):
            total += bucket.value
            labels = {**bucket.labels, "le": float_text(bound)}
            yield bucket._replace(labels=labels, value=total)
    yield from others.values()
