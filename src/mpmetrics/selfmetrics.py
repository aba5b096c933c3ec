"""StoreCollector: what the library says of itself."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import REGISTRY, CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from . import catalog, registry as registries, store, storefile


class StoreCollector:
    """
    A collector of the store's own numbers, for `registry`.

    Each scrape of it tests whether each process of the store is alive: about a microsecond each.
    Shows nothing while this process has no store.
    """

    def __init__(self, registry: CollectorRegistry | None = REGISTRY) -> None:
        self._registry = registry
        if registry is not None:
            registry.register(self)

    def describe(self) -> list[Metric]:
        """The families without samples."""
        return [Metric(name, help_, type_) for name, help_, type_ in _FAMILIES]

    def collect(self) -> Iterator[Metric]:
        joined = store.current(make=False)
        if joined is None:
            return
        numbers = joined.statistics()
        shards = GaugeMetricFamily(
            "mpmetrics_shards", "Shards, by whether a living process owns them.", labels=["state"]
        )
        shards.add_metric(["owned"], float(numbers["processes"]))
        shards.add_metric(["free"], float(numbers["free_shards"]))
        values = {
            "mpmetrics_store_bytes": numbers["file_bytes"],
            "mpmetrics_store_used_bytes": numbers["used_bytes"],
            "mpmetrics_store_has_name": storefile.has_name(joined),
            "mpmetrics_series": numbers["series"],
            "mpmetrics_processes": numbers["processes"],
            "mpmetrics_hidden_families": len(catalog.of(joined).hidden()),
            "mpmetrics_left_out_families": self._left_out(),
            "mpmetrics_private_metrics": numbers["private"],
            "mpmetrics_dropped_series": numbers["dropped"],
            "mpmetrics_unsettled_reads": numbers["unsettled"],
            "mpmetrics_repairs": numbers["repairs"],
            "mpmetrics_lost_metrics": numbers["lost"],
        }
        yield shards
        for name, help_, type_ in _FAMILIES[1:]:
            family = CounterMetricFamily if type_ == "counter" else GaugeMetricFamily
            yield family(name, help_, value=float(values[name]))

    def _left_out(self) -> int:
        if self._registry is None:
            return 0
        return registries.foreign_of(self._registry).left_out


_FAMILIES = (
    ("mpmetrics_shards", "Shards, by whether a living process owns them.", "gauge"),
    ("mpmetrics_store_bytes", "Bytes that the store's file has.", "gauge"),
    ("mpmetrics_store_used_bytes", "Bytes of it in use.", "gauge"),
    (
        "mpmetrics_store_has_name",
        "1 if new processes can find the store: 0 if its file was deleted or replaced, or never "
        "had a name.",
        "gauge",
    ),
    ("mpmetrics_series", "Series in the store, of all registries.", "gauge"),
    ("mpmetrics_processes", "Living processes that write in the store.", "gauge"),
    ("mpmetrics_hidden_families", "Families that a newer shape of their name hides.", "gauge"),
    (
        "mpmetrics_left_out_families",
        "Families of other processes whose name a local collector of another kind has.",
        "gauge",
    ),
    (
        "mpmetrics_private_metrics",
        "Metrics that the scraped process counts in its own memory until they can be shared.",
        "gauge",
    ),
    (
        "mpmetrics_dropped_series",
        "Times that there was no room for a metric or a label set: in its family, so that the "
        "overflow series counts it, or in the store, so that its process does until there is.",
        "counter",
    ),
    (
        "mpmetrics_unsettled_reads",
        "Reads whose sum may be of a neighbouring instant.",
        "counter",
    ),
    (
        "mpmetrics_repairs",
        "Times that the work of a process killed inside the lock was mended.",
        "counter",
    ),
    (
        "mpmetrics_lost_metrics",
        "Metrics that went away while they counted in their process's own memory.",
        "counter",
    ),
)
