"""The cost of one update, in ns, net of the loop around it.

As `timeit`: the statement stands in a loop inside a function, its object is a local variable, the
garbage collector is off, and the smallest of all timings counts. The loop is timed with `pass`.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from timeit import Timer
from typing import Any

from . import child
from .contenders import ALL, Library
from .settings import Settings
from .table import Row

SECTION = "update"


@dataclass(frozen=True)
class Update:
    """A statement on `metric`, and the sample that must show that it did its work."""

    name: str
    kind: str
    labels: tuple[str, ...]
    statement: str
    sample: str  # suffix of the sample that counts the updates
    child: tuple[str, ...] = ()  # label values of the child that `metric` is, when it is kept


_PAIR = ("method", "code")

UPDATES = (
    Update("counter.inc()", "Counter", (), "metric.inc()", "_total"),
    Update("child.inc(), child kept", "Counter", _PAIR, "metric.inc()", "_total", ("a", "b")),
    Update(
        "counter.labels('a', 'b').inc()",
        "Counter",
        _PAIR,
        "metric.labels('a', 'b').inc()",
        "_total",
    ),
    Update(
        "counter.labels(method='a', code='b').inc()",
        "Counter",
        _PAIR,
        "metric.labels(method='a', code='b').inc()",
        "_total",
    ),
    Update("gauge.set(1.5)", "Gauge", (), "metric.set(1.5)", ""),
    Update("summary.observe(.3)", "Summary", (), "metric.observe(.3)", "_count"),
    Update("histogram.observe(.3)", "Histogram", (), "metric.observe(.3)", "_count"),
    Update("with histogram.time(): pass", "Histogram", (), "with metric.time(): pass", "_count"),
)

# Methods of C types that take no argument (METH_NOARGS) and have nothing to do.  The cheapest is
# the yardstick: it is the least that any call of a method written in C can cost.
EMPTY: Mapping[str, Callable[[], Any]] = {
    "float.conjugate()": lambda: 1.5,  # gives back itself
    "lock.locked()": threading.Lock,  # reads one flag
    "list.clear(), empty": list,  # finds nothing to clear
    "bytes.isalnum(), empty": bytes,  # finds nothing to look at
}


def measure(library: Library, request: Mapping[str, Any], store: Path) -> dict[str, float]:
    """Gross ns for `pass`, for each empty method and for each update."""
    loops, repeats = request["loops"], request["repeats"]
    result = {"pass": _best("pass", None, loops, repeats)}
    for name, make in EMPTY.items():
        method = name.partition("(")[0].partition(".")[2]
        result[name] = _best(f"metric.{method}()", make(), loops, repeats)
    for number, update in enumerate(UPDATES):
        registry = library.registry()
        name = f"bench_{number}"
        metric = library.metric(update.kind, name, update.labels, registry)
        if update.child:
            metric = metric.labels(*update.child)
        result[update.name] = _best(update.statement, metric, loops, repeats)
        _check(update, name, registry, float(loops * repeats))
    return result


def _best(statement: str, metric: Any, loops: int, repeats: int) -> float:
    timer = Timer(statement, "metric = target", globals={"target": metric})
    return min(timer.repeat(repeats, loops)) / loops * 1e9


def _check(update: Update, name: str, registry: Any, made: float) -> None:
    """A library that counts nothing must not win."""
    expected = 1.5 if update.kind == "Gauge" else made
    labels = dict(zip(update.labels, ("a", "b"), strict=False))
    found = registry.get_sample_value(name + update.sample, labels)
    if found != expected:
        raise AssertionError(f"{update.name}: {expected} expected, {found} found")


def rows(settings: Settings) -> list[Row]:
    """Every contender in turn, `runs` times; the smallest figure of each."""
    request = {"loops": settings.loops, "repeats": settings.repeats}
    runs = [
        [child.run(contender, SECTION, request) for contender in ALL] for _ in range(settings.runs)
    ]
    best = [
        {name: min(run[i][name] for run in runs) for name in runs[0][i]} for i in range(len(ALL))
    ]
    net = [{name: gross - b["pass"] for name, gross in b.items()} for b in best]
    # The yardstick has no contender: its least figure in any of the processes stands for all.
    empty = {name: min(n[name] for n in net) for name in EMPTY}
    cheapest = min(empty, key=lambda name: empty[name])
    return [
        *(
            Row(
                SECTION,
                f"an empty method: {name}" + (" <- the yardstick" * (name == cheapest)),
                "ns",
                tuple(n[name] for n in net),
                compare=False,
            )
            for name in EMPTY
        ),
        *(
            Row(SECTION, update.name, "ns", tuple(n[update.name] for n in net), empty[cheapest])
            for update in UPDATES
        ),
    ]
