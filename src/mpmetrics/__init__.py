"""
Metrics for programs of several processes: prometheus_client's interface, values in shared memory.

General layout:
  _native    the C core and the hot methods (native/core.h is its map)
  metrics, samples, decorators    the metric classes' half in Python
  store, storefile, processes     finding, joining, life and end of a store
  registry, identity              registries that all processes know
  catalog, standins               what others declared
  exposition, negotiation, endpoints    a scrape, from the Accept header to the bytes
  patching, deriving, multiprocess, merging    programs written for prometheus_client
  originals                             its own objects, whatever was patched
  theirs, core, asgi, parser, ...       its modules' names, for changing only the import
  sharedport, listening           one of several processes serves
"""

import os
import sys

from prometheus_client import (
    CONTENT_TYPE_LATEST as CONTENT_TYPE_LATEST,
    GC_COLLECTOR as GC_COLLECTOR,
    PLATFORM_COLLECTOR as PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR as PROCESS_COLLECTOR,
    REGISTRY as REGISTRY,
    GCCollector as GCCollector,
    Metric as Metric,
    PlatformCollector as PlatformCollector,
    ProcessCollector as ProcessCollector,
    delete_from_gateway as delete_from_gateway,
    instance_ip_grouping_key as instance_ip_grouping_key,
    push_to_gateway as push_to_gateway,
    pushadd_to_gateway as pushadd_to_gateway,
    write_to_textfile as write_to_textfile,
)

from . import originals as originals  # first: before anything can be patched

# isort: split
from .created import (
    disable_created_metrics as disable_created_metrics,
    enable_created_metrics as enable_created_metrics,
)
from .negotiation import (
    CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE_PLAIN_0_0_4,
    CONTENT_TYPE_PLAIN_1_0_0 as CONTENT_TYPE_PLAIN_1_0_0,
)

if sys.platform == "linux":
    from . import (
        listening as listening,  # obeys MPMETRICS_LISTEN
        metrics as metrics,  # it makes the classes of the extension
    )
    from ._native import (
        Counter as Counter,
        Enum as Enum,
        Gauge as Gauge,
        Histogram as Histogram,
        Info as Info,
        StoreError as StoreError,
        StoreLayoutError as StoreLayoutError,
        Summary as Summary,
    )
    from .endpoints import (
        MetricsHandler as MetricsHandler,
        make_asgi_app as make_asgi_app,
        make_wsgi_app as make_wsgi_app,
        start_http_server as start_http_server,
        start_wsgi_server as start_wsgi_server,
    )
    from .exposition import generate_latest as generate_latest
    from .named import Store as Store
    from .patching import Patch as Patch, patch as patch
    from .registry import CollectorRegistry as CollectorRegistry, foreign_of as _foreign_of
    from .selfmetrics import StoreCollector as StoreCollector
    from .statistics import StoreStatistics as StoreStatistics

    # So that prometheus_client's own endpoints show what other processes declared, also in a
    # process that declares nothing itself.
    _foreign_of(REGISTRY)

    if os.environ.get("MPMETRICS_PATCH") == "1":  # `mpmetrics run` asks for it
        patch()
else:
    from .elsewhere import (
        CollectorRegistry as CollectorRegistry,
        Counter as Counter,
        Enum as Enum,
        Gauge as Gauge,
        Histogram as Histogram,
        Info as Info,
        MetricsHandler as MetricsHandler,
        Patch as Patch,
        Store as Store,
        StoreCollector as StoreCollector,
        StoreError as StoreError,
        StoreLayoutError as StoreLayoutError,
        StoreStatistics as StoreStatistics,
        Summary as Summary,
        generate_latest as generate_latest,
        make_asgi_app as make_asgi_app,
        make_wsgi_app as make_wsgi_app,
        patch as patch,
        start_http_server as start_http_server,
        start_wsgi_server as start_wsgi_server,
        take_modules as _take_modules,
    )

    _take_modules(sys.modules[__name__])

# prometheus_client's, and ours: on every platform.
__all__ = [
    "CONTENT_TYPE_LATEST",
    "CONTENT_TYPE_PLAIN_0_0_4",
    "CONTENT_TYPE_PLAIN_1_0_0",
    "GC_COLLECTOR",
    "PLATFORM_COLLECTOR",
    "PROCESS_COLLECTOR",
    "REGISTRY",
    "CollectorRegistry",
    "Counter",
    "Enum",
    "GCCollector",
    "Gauge",
    "Histogram",
    "Info",
    "Metric",
    "MetricsHandler",
    "Patch",
    "PlatformCollector",
    "ProcessCollector",
    "Store",
    "StoreCollector",
    "StoreError",
    "StoreLayoutError",
    "StoreStatistics",
    "Summary",
    "delete_from_gateway",
    "disable_created_metrics",
    "enable_created_metrics",
    "generate_latest",
    "instance_ip_grouping_key",
    "make_asgi_app",
    "make_wsgi_app",
    "patch",
    "push_to_gateway",
    "pushadd_to_gateway",
    "start_http_server",
    "start_wsgi_server",
    "write_to_textfile",
]
