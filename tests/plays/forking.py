"""Updates whose own arguments fork the process while they are converted; for test_forking.py."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import mpmetrics
from mpmetrics import store

from .basics import page

_forks: list[int] = []


def _fork() -> None:
    """Once; both processes go on with the update that they are in."""
    if not _forks:
        _forks.append(os.fork())


class Amount:
    """A number."""

    def __float__(self) -> float:
        _fork()
        return 1.0


class Exemplar(dict[str, str]):
    """Labels."""

    def items(self) -> Any:
        _fork()
        return super().items()


class Text(str):
    """A state, or a label's value."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        _fork()
        return super().__eq__(other)

    def __str__(self) -> str:
        _fork()
        return super().__str__()


COUNTER = mpmetrics.Counter("c", "h")
SUMMARY = mpmetrics.Summary("s", "h")
HISTOGRAM = mpmetrics.Histogram("h", "h", buckets=[1, 2])
GAUGE = mpmetrics.Gauge("g", "h", multiprocess_mode="sum")
LABELLED = mpmetrics.Counter("l", "h", ["who"])
STATE = mpmetrics.Enum("e", "h", states=["a", "b"])

UPDATES: dict[str, tuple[Callable[[], object], str]] = {
    "counter": (lambda: COUNTER.inc(Amount()), "c_total"),
    "counter, exemplar": (lambda: COUNTER.inc(1, Exemplar(a="b")), "c_total"),
    "summary": (lambda: SUMMARY.observe(Amount()), "s_count"),
    "histogram": (lambda: HISTOGRAM.observe(Amount()), "h_count"),
    "histogram, exemplar": (lambda: HISTOGRAM.observe(1, Exemplar(a="b")), "h_count"),
    "gauge": (lambda: GAUGE.set(Amount()), "g"),
    "labels": (lambda: LABELLED.labels(Text("x")).inc(), 'l_total{who="x"}'),
    "state": (lambda: STATE.state(Text("b")), 'e{e="b"}'),
}


def counted(name: str) -> dict[str, Any]:
    """What both processes count in, and what is shown at the end."""
    update, sample = UPDATES[name]
    for metric in (COUNTER, SUMMARY, HISTOGRAM):  # the parent's cells are in use
        (metric.inc if metric is COUNTER else metric.observe)(1)
    GAUGE.set(1)
    LABELLED.labels("x").inc()
    STATE.state("a")
    before = page()[sample]
    update()
    if _forks == [0]:
        joined = store.current()
        os._exit(joined.statistics()["processes"])
    _, status = os.waitpid(_forks[0], 0)
    return {"processes": os.waitstatus_to_exitcode(status), "more": page()[sample] - before}
