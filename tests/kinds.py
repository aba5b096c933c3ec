"""One labelled metric of each kind, updates of all of them, and the page that these must give.

Numbers are whole, so that sums are exact in any order.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

STATES = ("starting", "running", "stopped")
BOUNDS = (("2.0", 2), ("5.0", 5), ("+Inf", float("inf")))


class Kinds:
    """The metrics; each process that makes them declares them."""

    def __init__(self, **options: Any) -> None:
        from mpmetrics import Counter, Enum, Gauge, Histogram, Summary

        labels = ["l"]
        self.jobs = Counter("jobs", "A counter.", labels, **options)
        self.size = Summary("size", "A summary.", labels, **options)
        self.seconds = Histogram("seconds", "A histogram.", labels, buckets=(2, 5), **options)
        self.level = Gauge("level", "For all.", labels, **options)
        self.parts = Gauge("parts", "Added up.", labels, multiprocess_mode="sum", **options)
        self.newest = Gauge("newest", "Newest.", labels, multiprocess_mode="mostrecent", **options)
        self.state = Enum("state", "A state.", labels, states=STATES, **options)

    @property
    def all(self) -> tuple[Any, ...]:
        return tuple(vars(self).values())

    def touch(self, label: str, value: int) -> None:
        """One update of each."""
        self.jobs.labels(label).inc(value)
        self.size.labels(label).observe(value)
        self.seconds.labels(label).observe(value)
        self.level.labels(label).inc(value)
        self.parts.labels(label).inc(value)
        self.newest.labels(label).set(value)
        self.state.labels(label).state(STATES[value % 3])


def samples(label: str, values: list[int]) -> dict[str, float]:
    """What a page shows of one label set after these updates, the newest last."""
    l = f'{{l="{label}"}}'  # noqa: E741
    total, times = float(sum(values)), float(len(values))
    shown = {f"{name}{l}": total for name in ("jobs_total", "size_sum", "level", "parts")}
    shown |= {f"{name}{l}": times for name in ("size_count", "seconds_count")}
    shown |= {f"seconds_sum{l}": total, f"newest{l}": float(values[-1])}
    for text, bound in BOUNDS:
        shown[f'seconds_bucket{{l="{label}",le="{text}"}}'] = float(
            sum(value <= bound for value in values)
        )
    for i, state in enumerate(STATES):
        shown[f'state{{l="{label}",state="{state}"}}'] = float(values[-1] % 3 == i)
    return shown


def expected(updates: Iterable[tuple[str, int]]) -> dict[str, float]:
    """The page after these updates, by whichever processes, one after the other."""
    by_label: dict[str, list[int]] = {}
    for label, value in updates:
        by_label.setdefault(label, []).append(value)
    return {k: v for label, values in by_label.items() for k, v in samples(label, values).items()}


NAMES = ("jobs_", "size_", "seconds_", "level{", "parts{", "newest{", "state{")


def page(*more: str) -> dict[str, float]:
    """A scrape by this process: the samples of these metrics, and of what begins with `more`."""
    from mpmetrics import generate_latest

    values = {}
    for line in generate_latest().decode().splitlines():
        name, _, value = line.rpartition(" ")
        if name.startswith((*NAMES, *more)) and "_created" not in name:
            values[name] = float(value)
    return values


def differences(truth: dict[str, float], found: dict[str, float]) -> dict[str, Any]:
    """What isn't as it should be, by sample: [expected, found]."""
    names = sorted(truth.keys() | found.keys())
    return {n: [truth.get(n), found.get(n)] for n in names if truth.get(n) != found.get(n)}
