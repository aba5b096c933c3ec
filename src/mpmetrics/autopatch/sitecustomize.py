"""What `mpmetrics run` puts in front of PYTHONPATH: patches prometheus_client once it is imported.

Nothing is imported before the program imports prometheus_client. The sitecustomize that would have
been found without this one runs as well. Every Python below the run reads this file, so it is
written for all of Python 3, annotations as text. One that has no mpmetrics says so and goes on.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from types import ModuleType

_HERE = os.path.dirname(os.path.abspath(__file__))
_WATCHED = "prometheus_client"


class _PatchingLoader(importlib.abc.Loader):
    """prometheus_client's own loader, and then ours."""

    def __init__(self, loader: importlib.abc.Loader, finder: "_Finder") -> None:
        self._loader = loader
        self._finder = finder

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> "ModuleType | None":
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._finder.leave()
        try:
            # While mpmetrics itself is what imports prometheus_client, it patches at its own end.
            import mpmetrics  # noqa: F401
        except Exception as error:  # metrics are no reason for an application not to start
            import logging

            logging.getLogger("mpmetrics").warning(
                "%s counts with prometheus_client's own classes: %s", sys.executable, error
            )

    def __getattr__(self, name: str) -> object:
        """For those who look at the module without importing it."""
        return getattr(self._loader, name)


class _Finder(importlib.abc.MetaPathFinder):
    """Stays until prometheus_client is imported: many only look whether it is there."""

    mpmetrics_watches = _WATCHED

    def find_spec(
        self, name: str, path: "Sequence[str] | None", target: "ModuleType | None" = None
    ) -> "importlib.machinery.ModuleSpec | None":
        if name != _WATCHED:
            return None
        for finder in list(sys.meta_path):
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _PatchingLoader(spec.loader, self)
                return spec
        return None

    def leave(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)


def _watch() -> None:
    """Once: a run inside a run of another environment's has two of these folders."""
    if not any(hasattr(finder, "mpmetrics_watches") for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _run_the_next() -> None:
    """Runs the sitecustomize that this one hides.

    That may be another tool's which does the same, so only the folders behind this one are looked
    at: else the two would run each other for ever."""
    places = [os.path.abspath(entry or ".") for entry in sys.path]
    behind = max((i + 1 for i, place in enumerate(places) if place == _HERE), default=0)
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", sys.path[behind:])
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


_watch()
_run_the_next()
