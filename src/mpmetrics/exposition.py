"""Rendering a registry: our families in C without the GIL, all others by prometheus_client."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import GC_COLLECTOR, PROCESS_COLLECTOR, REGISTRY, Metric
from prometheus_client.registry import Collector

from . import catalog, created, originals, reader, registry as registries, store, theirs
from ._native import StoreError, truncated_pages
from .merging import AddedUp
from .negotiation import Encoding, Format
from .samples import FamilyMetric

_EOF = b"# EOF\n"


def generate_latest(registry: Collector = REGISTRY, escaping: str = "underscores") -> bytes:
    """
    One scrape of `registry` in the text format 0.0.4, of all processes.

    Exact and consistent as docs/guarantees.md says, whatever process calls it.
    """
    return render(registry, Encoding(Format.TEXT, escaping))


def generate_openmetrics(
    registry: Collector = REGISTRY, escaping: str = "underscores", version: str = "1.0.0"
) -> bytes:
    """
    One scrape of `registry` in OpenMetrics 1.0, of all processes.

    `version` is what prometheus_client's function takes; 1.0.0 is what there is.
    """
    return render(registry, Encoding(Format.OPENMETRICS, escaping))


def render(registry: Collector, encoding: Encoding, names: Collection[str] | None = None) -> bytes:
    """
    One scrape of `registry` in this encoding; with `names` only samples of these names.

    Raises StoreError if a store was truncated meanwhile, where that isn't SIGBUS.
    """
    lost = truncated_pages()
    if isinstance(registry, originals.CollectorRegistry):
        registries.foreign_of(registry)  # which it shows then
    # Who reads a store from outside joins none: joining could begin the named one afresh.
    joined = None if isinstance(registry, reader.StoreView) else store.current(make=False)
    if joined is not None:
        joined.settle()
    source = registry if names is None else registry.restricted_registry(names)  # type: ignore[attr-defined]
    parts = [_render(run, encoding) for run in _runs(_metrics(source, joined), encoding)]
    if encoding.format is Format.OPENMETRICS:
        parts.append(_EOF)
    if truncated_pages() != lost:
        raise StoreError("the store was truncated while it was read")
    return b"".join(parts)


def _metrics(source: Collector, joined: store.Store | None) -> Iterator[Metric]:
    """What the registry collects, but for what is only one process's truth."""
    several = joined is not None and joined.leases > 1
    metrics = list(source.collect())
    # A registry may have a MultiProcessCollector beside metrics that are in its sums.
    shown = {row.id for metric in metrics if isinstance(metric, AddedUp) for row in metric.rows}
    for metric in metrics:
        if isinstance(metric, FamilyMetric):
            if metric.row.id in shown:
                continue
            shown.add(metric.row.id)
        elif several and metric.name in _of_one_process():
            continue
        yield metric


@functools.cache
def _of_one_process() -> frozenset[str]:
    """Families that tell of the scraping process alone: among several they would be noise."""
    collectors: list[Collector] = [PROCESS_COLLECTOR, GC_COLLECTOR]
    return frozenset(metric.name for each in collectors for metric in each.collect())


def _runs(metrics: Iterable[Metric], encoding: Encoding) -> Iterator[list[Metric]]:
    """The metrics in their order, neighbours that are rendered the same way together."""
    run: list[Metric] = []
    for metric in metrics:
        if run and _store_of(run[0], encoding) is not _store_of(metric, encoding):
            yield run
            run = []
        run.append(metric)
    if run:
        yield run


def _store_of(metric: Metric, encoding: Encoding) -> store.Store | None:
    """The store that can render the metric in C, None if prometheus_client must."""
    if not isinstance(metric, FamilyMetric) or encoding.escaping not in _PLAIN_ESCAPINGS:
        return None
    return metric.store if metric.row.flags & catalog.PLAIN and metric.is_untouched else None


# They leave names of the legacy character set as they are.
_PLAIN_ESCAPINGS = ("underscores", "allow-utf-8")


def _render(run: list[Metric], encoding: Encoding) -> bytes:
    native = _store_of(run[0], encoding)
    if native is not None:
        ours = [metric for metric in run if isinstance(metric, FamilyMetric)]
        shard = ours[0].shard
        return native.render(
            [metric.row.id for metric in ours],
            encoding.format is Format.OPENMETRICS,
            created.is_enabled() and not shard,
            shard,
        )
    return _original_encoder(encoding)(_Run(run)).removesuffix(_EOF)


_CAN_ESCAPE = "escaping" in inspect.signature(originals.generate_latest).parameters  # since 0.23


def _original_encoder(encoding: Encoding) -> Callable[[Collector], bytes]:
    """prometheus_client's encoder; before 0.23 it had no escaping to choose."""
    open_ = encoding.format is Format.OPENMETRICS
    encoder = originals.generate_openmetrics if open_ else originals.generate_latest
    if encoding.escaping == "underscores" or not _CAN_ESCAPE:
        return encoder
    return functools.partial(encoder, escaping=encoding.escaping)


class _Run:
    """Some metrics as a registry."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics


if not TYPE_CHECKING:
    __getattr__ = theirs.names_of("exposition")
