"""What a process makes of its variables, and what it says of them; for test_settings.py."""

from __future__ import annotations

import logging
from typing import Any

import mpmetrics
from mpmetrics import store


class _Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _listen() -> list[str]:
    log = _Log()
    logging.getLogger("mpmetrics").addHandler(log)
    return log.lines


def max_series() -> tuple[Any, list[str]]:
    """How many series a family may have."""
    lines = _listen()
    return store.current().statistics()["max_series"], lines


def switches() -> list[str]:
    """What two declarations say, each of which asks."""
    lines = _listen()
    for name in ("a", "b"):
        mpmetrics.Counter(name, "h").inc()
    store.current()
    return lines
