"""
Metrics for programs of several processes: prometheus_client's interface, values in shared memory.

General layout:
  _native    the C core and the hot methods (native/core.h is its map)
  metrics, samples, decorators    the metric classes' half in Python
  store, storefile, processes     finding, joining, life and end of a store
  registry, catalog               registries that all processes know; what others declared
  exposition, negotiation, endpoints    a scrape, from the Accept header to the bytes
"""

import sys

from prometheus_client import (
    CONTENT_TYPE_LATEST as CONTENT_TYPE_LATEST,
)
from prometheus_client import (
    GC_COLLECTOR as GC_COLLECTOR,
)
from prometheus_client import (
    PLATFORM_COLLECTOR as PLATFORM_COLLECTOR,
)
from prometheus_client import (
    PROCESS_COLLECTOR as PROCESS_COLLECTOR,
)
from prometheus_client import (
    REGISTRY as REGISTRY,
)
from prometheus_client import (
    GCCollector as GCCollector,
)
from prometheus_client import (
    Metric as Metric,
)
from prometheus_client import (
    PlatformCollector as PlatformCollector,
)
from prometheus_client import (
    ProcessCollector as ProcessCollector,
)
from prometheus_client import (
    delete_from_gateway as delete_from_gateway,
)
from prometheus_client import (
    instance_ip_grouping_key as instance_ip_grouping_key,
)
from prometheus_client import (
    push_to_gateway as push_to_gateway,
)
from prometheus_client import (
    pushadd_to_gateway as pushadd_to_gateway,
)
from prometheus_client import (
    write_to_textfile as write_to_textfile,
)

from .created import (
    disable_created_metrics as disable_created_metrics,
)
from .created import (
    enable_created_metrics as enable_created_metrics,
)
from .negotiation import (
    CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE_PLAIN_0_0_4,
)
from .negotiation import (
    CONTENT_TYPE_PLAIN_1_0_0 as CONTENT_TYPE_PLAIN_1_0_0,
)

if sys.platform == "linux":
    from . import metrics as metrics  # first: it makes the classes of the extension
    from ._native import (
        Counter as Counter,
    )
    from ._native import (
        Enum as Enum,
    )
    from ._native import (
        Gauge as Gauge,
    )
    from ._native import (
        Histogram as Histogram,
    )
    from ._native import (
        Info as Info,
    )
    from ._native import (
        StoreError as StoreError,
    )
    from ._native import (
        StoreLayoutError as StoreLayoutError,
    )
    from ._native import (
        Summary as Summary,
    )
    from .endpoints import (
        MetricsHandler as MetricsHandler,
    )
    from .endpoints import (
        make_asgi_app as make_asgi_app,
    )
    from .endpoints import (
        make_wsgi_app as make_wsgi_app,
    )
    from .endpoints import (
        start_http_server as start_http_server,
    )
    from .endpoints import (
        start_wsgi_server as start_wsgi_server,
    )
    from .exposition import generate_latest as generate_latest
    from .named import Store as Store
    from .named import StoreStatistics as StoreStatistics
    from .registry import CollectorRegistry as CollectorRegistry
    from .registry import foreign_of
    from .selfmetrics import StoreCollector as StoreCollector

    # So that prometheus_client's own endpoints show what other processes declared, also in a
    # process that declares nothing itself.
    foreign_of(REGISTRY)
else:
    from .elsewhere import (
        CollectorRegistry as CollectorRegistry,
    )
    from .elsewhere import (
        Counter as Counter,
    )
    from .elsewhere import (
        Enum as Enum,
    )
    from .elsewhere import (
        Gauge as Gauge,
    )
    from .elsewhere import (
        Histogram as Histogram,
    )
    from .elsewhere import (
        Info as Info,
    )
    from .elsewhere import (
        MetricsHandler as MetricsHandler,
    )
    from .elsewhere import (
        StoreCollector as StoreCollector,
    )
    from .elsewhere import (
        StoreError as StoreError,
    )
    from .elsewhere import (
        Summary as Summary,
    )
    from .elsewhere import (
        generate_latest as generate_latest,
    )
    from .elsewhere import (
        make_asgi_app as make_asgi_app,
    )
    from .elsewhere import (
        make_wsgi_app as make_wsgi_app,
    )
    from .elsewhere import (
        start_http_server as start_http_server,
    )
    from .elsewhere import (
        start_wsgi_server as start_wsgi_server,
    )
