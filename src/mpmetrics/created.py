"""Whether scrapes show the `_created` series: prometheus_client's own switch, read at each scrape.

The switch is a private variable there, so it is asked the public way: does a counter of its own
show one? That costs some microseconds a scrape.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

from prometheus_client import Counter

from . import multiprocdir

if TYPE_CHECKING:  # theirs have no types

    def disable_created_metrics() -> None: ...
    def enable_created_metrics() -> None: ...
else:
    from prometheus_client import disable_created_metrics, enable_created_metrics

__all__ = ["disable_created_metrics", "enable_created_metrics", "is_enabled"]


@functools.cache
def _probe() -> Counter:
    return Counter("mpmetrics_probe", "Is _created shown?", registry=None)


def is_enabled() -> bool:
    """Are `_created` series to be shown?"""
    if multiprocdir.is_set():
        # There a probe would be a file in the user's folder.
        disabled = os.environ.get("PROMETHEUS_DISABLE_CREATED_SERIES", "False")
        return disabled.lower() not in ("true", "1", "t")
    return any(
        sample.name.endswith("_created")
        for metric in _probe().collect()
        for sample in metric.samples
    )
