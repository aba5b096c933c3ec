"""The cost of making a label set: the first call of `labels()` with new values.

The garbage collector is on here, as in the application: what is made is kept, so it has work.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import child
from .contenders import ALL, Library
from .crew import Crew
from .settings import Settings
from .table import Row

SECTION = "series"
KINDS = ("Counter", "Histogram")
_SAMPLE = {"Counter": b"bench_series_total{", "Histogram": b"bench_series_count{"}


def measure(library: Library, request: Mapping[str, Any], store: Path) -> dict[str, int]:
    """ns from the first label set until just before each of `marks`, by that mark."""
    kind, marks, beside = request["kind"], request["marks"], request["beside"]
    registry = library.registry()
    metric = library.metric(kind, "bench_series", ("side", "number"), registry)
    numbers = [str(i) for i in range(marks[-1])]

    def other(_: int) -> None:
        _make(metric, "other", numbers, marks)

    with Crew(int(beside), other) as crew:
        crew.go()
        result = _make(metric, "own", numbers, marks)
        crew.done()
        found = library.scrape(registry).count(b"\n" + _SAMPLE[kind])
    made = len(numbers) * (2 if beside and library.is_shared else 1)
    if found != made:
        raise AssertionError(f"{made} label sets made, {found} scraped")
    return {str(mark): ns for mark, ns in result.items()}


def _make(metric: Any, side: str, numbers: Sequence[str], marks: Sequence[int]) -> dict[int, int]:
    """Make the label sets, and look at the clock only between the marks."""
    result = {}
    begin = time.perf_counter_ns()
    at = 0
    for mark in marks:
        for number in numbers[at:mark]:
            metric.labels(side, number)
        at = mark
        result[mark] = time.perf_counter_ns() - begin
    return result


def rows(settings: Settings) -> list[Row]:
    """For each kind: three windows, the total, and the total beside a second process."""
    return [row for kind in KINDS for row in _rows(kind, settings)]


def _rows(kind: str, settings: Settings) -> list[Row]:
    total = settings.label_sets
    windows = _windows(total)
    marks = sorted({0, total, *(mark for window in windows.values() for mark in window)})
    alone = _runs(kind, marks, False, settings.slow_runs)
    beside = _runs(kind, marks, True, settings.slow_runs)
    return [
        *(_row(f"{kind}: the {at:,}th", "us", alone, *window) for at, window in windows.items()),
        _row(f"{kind}: {total:,} in all", "ms", alone, 0, total),
        _row(f"{kind}: {total:,} while another process makes others", "ms", beside, 0, total),
    ]


def _windows(total: int) -> dict[int, tuple[int, int]]:
    """Label sets whose costs are averaged for the 10th, one in the middle and the last."""
    middle = 1_000 if total >= 10_000 else 100
    return {at: (at - half, at + half) for at, half in ((10, 5), (middle, 50), (total, 50))}


def _runs(kind: str, marks: Sequence[int], beside: bool, runs: int) -> list[list[dict[str, int]]]:
    """Every contender in turn, `runs` times."""
    request = {"kind": kind, "marks": marks, "beside": beside}
    return [[child.run(contender, SECTION, request) for contender in ALL] for _ in range(runs)]


def _row(name: str, unit: str, runs: list[list[dict[str, int]]], begin: int, end: int) -> Row:
    """The least time of any run between two marks: in ms in all, in us for each label set."""
    best = [min(run[i][str(end)] - run[i][str(begin)] for run in runs) for i in range(len(ALL))]
    scale = 1e6 if unit == "ms" else 1e3 * (end - begin)
    return Row(SECTION, name, unit, tuple(ns / scale for ns in best))
