"""What a process makes of its variables, and what it says of them; for test_settings.py."""

from __future__ import annotations

from typing import Any

import mpmetrics
from mpmetrics import store

from .logged import Lines


def max_series() -> tuple[Any, list[str]]:
    """How many series a family may have."""
    lines = Lines().said
    return store.current().statistics()["max_series"], lines


def switches() -> list[str]:
    """What two declarations say, each of which asks."""
    lines = Lines().said
    for name in ("a", "b"):
        mpmetrics.Counter(name, "h").inc()
    store.current()
    return lines
