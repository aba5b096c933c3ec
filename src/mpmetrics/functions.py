"""Gauges that follow a function: `Gauge.set_function`.

The function is called in the process that set it and in no other: before each scrape of its own,
and every INTERVAL seconds by a thread, so that the scrapes of other processes show its last value.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._native import Family
    from .metrics import GaugeBase

INTERVAL = 5.0  # seconds

log = logging.getLogger("mpmetrics")


class _Followers:
    """The gauges of this process that follow a function, by their family."""

    def __init__(self) -> None:
        self.functions: weakref.WeakKeyDictionary[GaugeBase, Callable[[], float]]
        self.functions = weakref.WeakKeyDictionary()
        self.failing: weakref.WeakSet[GaugeBase] = weakref.WeakSet()  # told already
        self.thread: threading.Thread | None = None
        self.lock = threading.RLock()  # a fork makes a new one: `_forget`

    def all(self) -> list[tuple[GaugeBase, Callable[[], float]]]:
        """Those of this moment."""
        with self.lock:
            return list(self.functions.items())

    def add(self, gauge: GaugeBase, function: Callable[[], float]) -> None:
        with self.lock:
            self.functions[gauge] = function
        if self.thread is None:
            self.thread = threading.Thread(
                target=_keep_fresh, args=(self,), name="mpmetrics-functions", daemon=True
            )
            self.thread.start()


_followers = _Followers()


def follow(gauge: GaugeBase, function: Callable[[], float]) -> None:
    """
    Lets the gauge show what the function says, from its first call on, which is now.

    If that fails, it is logged: the application goes on, and the next scrape asks again.
    """
    gauge._follow()
    _try(_followers, gauge, function)  # prometheus_client doesn't ask before the first scrape
    _followers.add(gauge, function)


def refresh(family: Family) -> None:
    """Asks the functions of this family's gauges; what they raise, the scrape raises."""
    for gauge, function in _followers.all():
        if gauge._family is family:
            gauge._write_followed(float(function()))


def refresh_all() -> None:
    """The same of all gauges of this process, for a scrape of everything."""
    for gauge, function in _followers.all():
        gauge._write_followed(float(function()))


def _try(followers: _Followers, gauge: GaugeBase, function: Callable[[], float]) -> None:
    """Asks the function; its failure is told once, until it works again."""
    try:
        gauge._write_followed(float(function()))
    except Exception:
        if gauge not in followers.failing:
            log.exception("the function that %s follows failed", gauge)
        followers.failing.add(gauge)
    else:
        followers.failing.discard(gauge)


def _keep_fresh(followers: _Followers) -> None:
    while True:
        threading.Event().wait(INTERVAL)
        for gauge, function in followers.all():
            _try(followers, gauge, function)


def _forget() -> None:
    """A child's copy of the gauge follows nothing: the function is its parent's."""
    global _followers
    _followers = _Followers()


os.register_at_fork(after_in_child=_forget)
