"""What `import mpmetrics` gives where there is no native core: prometheus_client's own classes.

So a program for Linux runs on a laptop, as one process.
"""

from __future__ import annotations

import importlib
import logging
import sys
from typing import Any

from prometheus_client import (
    REGISTRY as REGISTRY,
    CollectorRegistry as _TheirRegistry,
    Counter as Counter,
    Enum as Enum,
    Gauge as Gauge,
    Histogram as Histogram,
    Info as Info,
    MetricsHandler as MetricsHandler,
    Summary as Summary,
    generate_latest as generate_latest,
    make_asgi_app as make_asgi_app,
    make_wsgi_app as make_wsgi_app,
    start_http_server as start_http_server,
    start_wsgi_server as start_wsgi_server,
)


class StoreError(OSError):
    """Never raised here: there are no stores."""


class CollectorRegistry(_TheirRegistry):
    """prometheus_client's registry; the name is for other processes, and there are none."""

    def __init__(self, *args: object, name: str | None = None, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]


class StoreCollector:
    """Collects nothing: there is no store."""

    def __init__(self, registry: _TheirRegistry | None = REGISTRY) -> None:
        pass

    def collect(self) -> list[object]:
        """Nothing."""
        return []


class Patch:
    """Nothing was done, and there is nothing to undo."""

    def undo(self) -> None:
        """Nothing."""

    def __enter__(self) -> Patch:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def patch() -> Patch:
    """Does nothing: the classes are prometheus_client's anyway."""
    return Patch()


_MODULES = (
    "exposition",
    "metrics",
    "multiprocess",
    "openmetrics",
    "openmetrics.exposition",
    "openmetrics.parser",
    "registry",
    "samples",
)


def take_modules(package: Any) -> None:
    """Lets `mpmetrics.exposition` and its like be prometheus_client's own modules."""
    for name in _MODULES:
        module = importlib.import_module(f"prometheus_client.{name}")
        sys.modules[f"{package.__name__}.{name}"] = module
        if "." not in name:
            setattr(package, name, module)


logging.getLogger("mpmetrics").warning(
    "shared memory needs Linux: here mpmetrics is prometheus_client, each process by itself"
)
