"""Whether scrapes show the `_created` series: prometheus_client's own switch, read at each scrape.

The switch is a private variable there, so it is asked the public way: does a counter of its own
show one? That costs some microseconds a scrape. Where such a counter would be a file, since
PROMETHEUS_MULTIPROC_DIR was set when prometheus_client was imported, what counts is the last call
of the two functions here.
"""

from __future__ import annotations

import functools
import os

from prometheus_client import values

from . import originals

__all__ = ["disable_created_metrics", "enable_created_metrics", "is_enabled"]

_said: bool | None = None  # by the program, last


def disable_created_metrics() -> None:
    """Show no `_created` series from the next scrape on, of this process."""
    global _said
    _said = False
    originals.disable_created_metrics()


def enable_created_metrics() -> None:
    """Show the `_created` series of counters, histograms and summaries again."""
    global _said
    _said = True
    originals.enable_created_metrics()


@functools.cache
def _probe() -> originals.Counter:
    return originals.Counter("mpmetrics_probe", "Is _created shown?", registry=None)


def is_enabled() -> bool:
    """Are `_created` series to be shown?"""
    # Not the environment: it chose at the import, and may be another one now.
    if values.ValueClass is not values.MutexValue:
        # A probe would be a file in the user's folder, or an error where that is gone.
        if _said is not None:
            return _said
        disabled = os.environ.get("PROMETHEUS_DISABLE_CREATED_SERIES", "False")
        return disabled.lower() not in ("true", "1", "t")
    return any(
        sample.name.endswith("_created")
        for metric in _probe().collect()
        for sample in metric.samples
    )
