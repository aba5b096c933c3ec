"""prometheus_client.core, with our classes."""

from typing import TYPE_CHECKING

from prometheus_client.core import (
    BucketSpan as BucketSpan,
    CounterMetricFamily as CounterMetricFamily,
    Exemplar as Exemplar,
    GaugeHistogramMetricFamily as GaugeHistogramMetricFamily,
    GaugeMetricFamily as GaugeMetricFamily,
    HistogramMetricFamily as HistogramMetricFamily,
    InfoMetricFamily as InfoMetricFamily,
    NativeHistogram as NativeHistogram,
    Sample as Sample,
    StateSetMetricFamily as StateSetMetricFamily,
    SummaryMetricFamily as SummaryMetricFamily,
    Timestamp as Timestamp,
    UnknownMetricFamily as UnknownMetricFamily,
    UntypedMetricFamily as UntypedMetricFamily,
)

from . import (
    REGISTRY as REGISTRY,
    CollectorRegistry as CollectorRegistry,
    Counter as Counter,
    Enum as Enum,
    Gauge as Gauge,
    Histogram as Histogram,
    Info as Info,
    Metric as Metric,
    Summary as Summary,
    theirs,
)

if not TYPE_CHECKING:  # what only some versions have
    __getattr__ = theirs.names_of("core")
