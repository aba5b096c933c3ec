"""What `import mpmetrics` gives where there is no native core: prometheus_client's own classes.

So a program for Linux runs on a laptop, as one process.
"""

from __future__ import annotations

import errno
import functools
import importlib
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import prometheus_client
from prometheus_client import (
    REGISTRY as REGISTRY,
    Counter as Counter,
    Enum as Enum,
    Gauge as Gauge,
    Histogram as Histogram,
    Info as Info,
    MetricsHandler as MetricsHandler,
    Summary as Summary,
    generate_latest as generate_latest,
)

from . import originals
from .statistics import StoreStatistics as StoreStatistics

log = logging.getLogger("mpmetrics")


class StoreError(OSError):
    """Never raised here: there are no stores."""


class StoreLayoutError(StoreError):
    """Never raised here."""


class Store:
    """Nothing is there; the path is for other platforms."""

    def __init__(self, path: str | os.PathLike[str], persist: bool = False) -> None:
        self.path = os.fspath(path)

    def statistics(self) -> StoreStatistics:
        """All zero."""
        return StoreStatistics()


class CollectorRegistry(originals.CollectorRegistry):
    """prometheus_client's registry; the name is for other processes, and there are none."""

    def __init__(self, *args: object, name: str | None = None, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]


class StoreCollector:
    """Collects nothing: there is no store."""

    def __init__(self, registry: originals.CollectorRegistry | None = REGISTRY) -> None:
        pass

    def collect(self) -> list[object]:
        """Nothing."""
        return []


def _on_every_path(make: Callable[..., Any]) -> Callable[..., Any]:
    """prometheus_client's apps answer every path, and so the one that is given, too."""

    @functools.wraps(make)
    def made(*args: Any, path: str | None = None, **kwargs: Any) -> Any:
        return make(*args, **kwargs)

    return made


make_asgi_app = _on_every_path(prometheus_client.make_asgi_app)
make_wsgi_app = _on_every_path(prometheus_client.make_wsgi_app)


def start_http_server(
    *args: Any, path: str | None = None, shared: bool = False, **kwargs: Any
) -> tuple[Any, threading.Thread]:
    """prometheus_client's, which answers every path.

    With `shared` whoever comes first serves, and shows what it counts itself; nobody takes over.
    The server is None for the others, and the thread is none that runs."""
    try:
        return prometheus_client.start_http_server(*args, **kwargs)
    except OSError as error:
        if not shared or error.errno != errno.EADDRINUSE:
            raise
        log.info("the port is taken: this process doesn't serve")
    return None, threading.Thread()


start_wsgi_server = start_http_server


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


log.warning(
    "shared memory needs Linux: here mpmetrics is prometheus_client, each process by itself"
)
