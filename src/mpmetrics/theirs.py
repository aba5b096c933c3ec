"""The names of prometheus_client's modules in ours, for programs that change only the import.

`mpmetrics.exposition`, `registry`, `metrics` and `samples` are modules of our own. What else
prometheus_client has in its module of that name is found there, too: if the package has the name,
as ours. `core`, `asgi`, `parser`, `metrics_core` and `openmetrics` are there for that alone.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any


def names_of(module: str) -> Callable[[str], Any]:
    """The `__getattr__` of a module that has every public name of prometheus_client's.

    `from mpmetrics.core import *` finds there which they are, and nothing but them."""

    def lookup(name: str) -> Any:
        theirs = importlib.import_module(f"prometheus_client.{module}")
        if name == "__all__":
            public = [each for each in vars(theirs) if not each.startswith("_")]
            return getattr(theirs, "__all__", public)
        if name.startswith("_") or not hasattr(theirs, name):
            raise AttributeError(f"module 'mpmetrics.{module}' has no attribute {name!r}")
        ours = vars(sys.modules[__package__]).get(name)
        return ours if callable(ours) else getattr(theirs, name)

    return lookup
