"""Putting our classes in the place of prometheus_client's, for programs that import only that."""

from __future__ import annotations

import importlib
import logging
import sys
from types import ModuleType
from typing import Any

from . import _native, endpoints, exposition, metrics, multiprocess, registry

log = logging.getLogger("mpmetrics")

_CLASSES: dict[str, object] = {
    name: getattr(_native, name)
    for name in ("Counter", "Gauge", "Summary", "Histogram", "Info", "Enum")
}
_ENDPOINTS: dict[str, object] = {
    name: getattr(endpoints, name)
    for name in (
        "MetricsHandler",
        "make_asgi_app",
        "make_wsgi_app",
        "start_http_server",
        "start_wsgi_server",
    )
}

# What takes the place of what, by module. Each name is a public one.
_REPLACED: dict[str, dict[str, object]] = {
    "prometheus_client": {
        **_CLASSES,
        **_ENDPOINTS,
        "CollectorRegistry": registry.CollectorRegistry,
        "generate_latest": exposition.generate_latest,
    },
    "prometheus_client.core": {
        **_CLASSES,
        "CollectorRegistry": registry.CollectorRegistry,
    },
    "prometheus_client.metrics": {**_CLASSES, "MetricWrapperBase": metrics.MetricBase},
    "prometheus_client.registry": {"CollectorRegistry": registry.CollectorRegistry},
    "prometheus_client.exposition": {
        **_ENDPOINTS,
        "generate_latest": exposition.generate_latest,
    },
    "prometheus_client.asgi": {"make_asgi_app": endpoints.make_asgi_app},
    "prometheus_client.openmetrics.exposition": {
        "generate_latest": exposition.generate_openmetrics,
    },
    "prometheus_client.multiprocess": {
        "MultiProcessCollector": multiprocess.MultiProcessCollector,
        "mark_process_dead": multiprocess.mark_process_dead,
    },
}


class Patch:
    """What `patch` did; `undo`, or the end of a `with` block, takes it back."""

    def __init__(self) -> None:
        self._before: list[tuple[ModuleType, str, object]] = []

    def undo(self) -> None:
        """Puts prometheus_client's own names back; metrics that were made stay ours."""
        while self._before:
            module, name, value = self._before.pop()
            setattr(module, name, value)

    def __enter__(self) -> Patch:
        return self

    def __exit__(self, *error: object) -> None:
        self.undo()

    def _apply(self) -> None:
        # All of them first: one that is imported later would bind what is patched half.
        modules = {name: importlib.import_module(name) for name in _REPLACED}
        for name, replacements in _REPLACED.items():
            for attribute, value in replacements.items():
                module = modules[name]
                if hasattr(module, attribute):
                    self._before.append((module, attribute, getattr(module, attribute)))
                    setattr(module, attribute, value)

    def _came_too_late_for(self) -> list[str]:
        """Modules that took prometheus_client's classes by name before they were replaced."""
        theirs = {id(value) for _, name, value in self._before if name in _CLASSES}
        late = []
        for name, module in list(sys.modules.items()):
            if name.split(".")[0] in ("prometheus_client", "mpmetrics") or module is None:
                continue
            attributes: dict[str, Any] = getattr(module, "__dict__", {})
            if any(id(value) in theirs for value in list(attributes.values())):
                late.append(name)
        return late


_applied: Patch | None = None


def patch() -> Patch:
    """
    Puts our classes, `generate_latest` and endpoints in the place of prometheus_client's.

    Call it before anything else imports names from prometheus_client; modules that did so already
    keep theirs, and one line in the log names them. A second call does nothing.
    """
    global _applied
    if _applied is None or not _applied._before:
        _applied = Patch()
        _applied._apply()
        late = _applied._came_too_late_for()
        if late:
            log.warning(
                "patch() came too late for %s: they keep prometheus_client's own classes",
                ", ".join(sorted(late)),
            )
    return _applied
