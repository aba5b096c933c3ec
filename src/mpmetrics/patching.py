"""Putting our classes in the place of prometheus_client's, for programs that import only that."""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any

from . import _native, created, endpoints, exposition, metrics, multiprocdir, multiprocess, registry

log = logging.getLogger("mpmetrics")

_PACKAGE = "prometheus_client"
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

# What takes the place of what, where prometheus_client defines it. Each name is a public one.
_REPLACED: dict[str, dict[str, object]] = {
    "metrics": {
        **_CLASSES,
        "MetricWrapperBase": metrics.MetricWrapperBase,
        "disable_created_metrics": created.disable_created_metrics,
        "enable_created_metrics": created.enable_created_metrics,
    },
    "registry": {"CollectorRegistry": registry.CollectorRegistry},
    "exposition": {**_ENDPOINTS, "generate_latest": exposition.generate_latest},
    "openmetrics.exposition": {"generate_latest": exposition.generate_openmetrics},
    "multiprocess": {
        "MultiProcessCollector": multiprocess.MultiProcessCollector,
        "mark_process_dead": multiprocess.mark_process_dead,
    },
}
# What does harm where it stays: it counts for one process, or reads and removes files. Their
# registries and endpoints show our metrics as well.
_HARMFUL = {*_CLASSES, "MetricWrapperBase", *_REPLACED["multiprocess"]}


class Patch:
    """What `patch` did; `undo`, or the end of a `with` block, takes it back."""

    def __init__(self) -> None:
        self._ours: dict[int, object] = {}  # by the id of theirs
        self._theirs: dict[int, object] = {}  # by the id of ours
        self._harmful: set[int] = set()  # ids of theirs
        self._classes: set[type] = set()  # theirs

    def undo(self) -> None:
        """Puts prometheus_client's own names back; metrics that were made stay ours."""
        if self._theirs:
            _replace_all(self._theirs)
            self._theirs.clear()
            multiprocdir.is_patched = False

    def __enter__(self) -> Patch:
        return self

    def __exit__(self, *error: object) -> None:
        self.undo()

    def _apply(self) -> None:
        """Replaces all names, or none and raises."""
        # All of them first: one that is imported later would bind what is patched half.
        modules = {name: importlib.import_module(f"{_PACKAGE}.{name}") for name in _REPLACED}
        importlib.import_module(f"{_PACKAGE}.core")
        for name, replacements in _REPLACED.items():
            for attribute, ours in replacements.items():
                theirs = getattr(modules[name], attribute)
                self._ours[id(theirs)] = ours
                self._theirs[id(ours)] = theirs
                if attribute in _HARMFUL:
                    self._harmful.add(id(theirs))
                if attribute in _CLASSES:
                    self._classes.add(theirs)
        try:
            _replace_all(self._ours)
        except BaseException:
            self.undo()
            raise
        multiprocdir.is_patched = True

    def _late_modules(self) -> set[str]:
        """Modules that took by name, before, what does harm there."""
        return {
            name
            for name, module in list(sys.modules.items())
            if name.partition(".")[0] not in (_PACKAGE, __package__)
            and any(id(value) in self._harmful for value in _attributes(module).values())
        }

    def _late_metrics(self) -> set[str]:
        """Metrics that were made of prometheus_client's classes, before."""
        classes = set(_with_subclasses(self._classes))
        return {
            name
            for thing in gc.get_referrers(*classes)
            if type(thing) in classes
            for name in _names(thing)
            if not name.startswith("mpmetrics_")  # our own probe
        }


def _names(metric: Any) -> list[str]:
    """Those of a metric; none of one whose `__init__` has raised, or is still running."""
    with contextlib.suppress(Exception):
        return [family.name for family in metric.describe()]
    return []


def _with_subclasses(classes: Iterable[type]) -> Iterator[type]:
    for cls in classes:
        yield cls
        yield from _with_subclasses(cls.__subclasses__())


def _attributes(module: ModuleType) -> dict[str, object]:
    """A copy: another thread may be importing. Empty if there are none: anything may stand in
    sys.modules."""
    try:
        # Not the module's own way to give it, which runs one that is yet to be loaded.
        return dict(object.__getattribute__(module, "__dict__"))
    except (AttributeError, TypeError):
        return {}


def _replace_all(replacements: Mapping[int, object]) -> None:
    """In each module of prometheus_client, wherever one bound what another one defines."""
    for module in _their_modules():
        for attribute, value in _attributes(module).items():
            if id(value) in replacements:
                setattr(module, attribute, replacements[id(value)])


def _their_modules() -> Iterator[ModuleType]:
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == _PACKAGE:
            yield module


_applied: Patch | None = None


def patch() -> Patch:
    """
    Puts our classes, `generate_latest` and endpoints in the place of prometheus_client's.

    Call it before anything else imports names from prometheus_client; modules that did so already
    keep theirs, as do metrics that were made, and one line in the log names both. While it is in
    force a second call does nothing, and there is nothing to undo in what it returns.
    """
    global _applied
    if _applied is not None and _applied._theirs:
        return Patch()
    done = Patch()
    done._apply()
    _applied = done
    late = [
        (done._late_modules(), "modules, which keep prometheus_client's own names"),
        (done._late_metrics(), "metrics, each of which counts for one process only"),
    ]
    found = [f"the {what}: {', '.join(sorted(names))}" for names, what in late if names]
    if found:
        log.warning("patch() came too late for %s", "; and for ".join(found))
    return done
