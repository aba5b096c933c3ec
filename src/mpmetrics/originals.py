"""prometheus_client's own objects, for our use: `patch` puts ours in their place there.

The package imports this module before all others. Whoever needs one of these takes it from here, as
`originals.Counter`: what prometheus_client's modules have under the name may be ours by then.
"""

from collections.abc import Callable

import prometheus_client
from prometheus_client import (
    CollectorRegistry as CollectorRegistry,
    Counter as Counter,
    Enum as Enum,
    Gauge as Gauge,
    Histogram as Histogram,
    Info as Info,
    Summary as Summary,
    generate_latest as generate_latest,
    start_http_server as start_http_server,
)
from prometheus_client.metrics import MetricWrapperBase as MetricWrapperBase
from prometheus_client.multiprocess import MultiProcessCollector as MultiProcessCollector
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

# These have no types there.
disable_created_metrics: Callable[[], None] = prometheus_client.disable_created_metrics
enable_created_metrics: Callable[[], None] = prometheus_client.enable_created_metrics
mark_process_dead: Callable[[int, str], None] = prometheus_client.multiprocess.mark_process_dead

__all__ = [  # what `patch` replaces and we need
    "CollectorRegistry",
    "Counter",
    "Enum",
    "Gauge",
    "Histogram",
    "Info",
    "MetricWrapperBase",
    "MultiProcessCollector",
    "Summary",
    "disable_created_metrics",
    "enable_created_metrics",
    "generate_latest",
    "generate_openmetrics",
    "mark_process_dead",
    "start_http_server",
]
