"""
Metrics for programs of several processes: prometheus_client's interface, values in shared memory.

General layout:
  _native    the C core and the hot methods (native/core.h is its map)
  metrics    the metric classes' half in Python
  store      finding, joining, life and end of a store
  registry   registries that all processes know, and what others declared in them
  exposition, negotiation, endpoints    a scrape, from the Accept header to the bytes
"""

from prometheus_client import (
    CONTENT_TYPE_LATEST as CONTENT_TYPE_LATEST,
    REGISTRY as REGISTRY,
    Metric as Metric,
)

from . import metrics as metrics  # first: it makes the classes of the extension
from ._native import (
    Counter as Counter,
    Enum as Enum,
    Gauge as Gauge,
    Histogram as Histogram,
    Info as Info,
    StoreError as StoreError,
    Summary as Summary,
)
from .created import (
    disable_created_metrics as disable_created_metrics,
    enable_created_metrics as enable_created_metrics,
)
from .endpoints import (
    MetricsHandler as MetricsHandler,
    make_asgi_app as make_asgi_app,
    make_wsgi_app as make_wsgi_app,
    start_http_server as start_http_server,
    start_wsgi_server as start_wsgi_server,
)
from .exposition import generate_latest as generate_latest
from .registry import CollectorRegistry as CollectorRegistry
from .selfmetrics import StoreCollector as StoreCollector
