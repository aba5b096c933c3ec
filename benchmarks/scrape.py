"""The cost of one scrape: of many living processes, and of one process with many series."""

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import child
from .contenders import ALL, SINGLE, Contender, Library
from .crew import Crew
from .settings import Settings
from .table import Row

SECTION = "scrape"

_OBSERVED = 0.3
_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, float("inf"))

Tally = dict[str, tuple[int, float]]
"""Of each sample name: how many lines it has and what they add up to."""


class OutputsDiffer(Exception):
    """A library scraped something else than what was counted, so its time means nothing."""


def measure(library: Library, request: Mapping[str, Any], store: Path) -> dict[str, Any]:
    """ns of each scrape, the tally of the last one, and what the store took."""
    registry = library.registry()
    kind, name, series = request["kind"], request["name"], request["series"]
    metric = library.metric(kind, name, ("route",), registry)
    routes = [f"/route/{i}" for i in range(series)]

    def work(_: int) -> None:
        for route in routes:
            if kind == "Counter":
                metric.labels(route).inc()
            else:
                metric.labels(route).observe(_OBSERVED)

    if request["processes"] == 1:
        work(0)
        return _scrapes(library, registry, request["scrapes"], store)
    with Crew(request["processes"], work) as crew:
        crew.go()
        crew.done()
        return _scrapes(library, registry, request["scrapes"], store)


def _scrapes(library: Library, registry: Any, count: int, store: Path) -> dict[str, Any]:
    times = []
    text = b""
    for _ in range(count):
        begin = time.perf_counter_ns()
        text = library.scrape(registry)
        times.append(time.perf_counter_ns() - begin)
    return {
        "ns": times,
        "tally": tally(text.decode()),
        "lines": text.count(b"\n"),
        "store": allocated(store),
    }


def allocated(store: Path) -> int:
    """Bytes that the files of a store really take: sparse files are longer than that."""
    return sum(path.stat().st_blocks * 512 for path in store.rglob("*") if path.is_file())


def tally(text: str) -> Tally:
    """Count and add up the samples, but for `_created`: multi-process mode has none."""
    result: Tally = {}
    for line in text.splitlines():
        name = line.partition(" ")[0].partition("{")[0]
        if line.startswith("#") or name.endswith("_created"):
            continue
        lines, total = result.get(name, (0, 0.0))
        result[name] = lines + 1, total + float(line.rpartition(" ")[2])
    return result


def rows(settings: Settings) -> list[Row]:
    """Many processes with histograms, then one with counters; every contender in turn."""
    crowd = {
        "kind": "Histogram",
        "name": "bench_seconds",
        "processes": settings.processes,
        "series": settings.histograms,
        "scrapes": settings.scrapes,
    }
    alone = {
        "kind": "Counter",
        "name": "bench",
        "processes": 1,
        "series": settings.counters,
        "scrapes": settings.scrapes,
    }
    return [
        *_rows(
            f"{settings.processes} processes x {settings.histograms:,} histograms",
            crowd,
            [contender for contender in ALL if contender is not SINGLE],
            settings.slow_runs,
        ),
        *_rows(f"1 process x {settings.counters:,} counters", alone, ALL, settings.slow_runs),
    ]


def _rows(
    name: str, request: Mapping[str, Any], contenders: Sequence[Contender], runs: int
) -> list[Row]:
    found: dict[Contender, list[dict[str, Any]]] = {contender: [] for contender in contenders}
    for _ in range(runs):
        for contender in contenders:
            found[contender].append(child.run(contender, SECTION, request))
    for contender, results in found.items():
        for result in results:
            _check(contender, result["tally"], _expected(request))
    times = {c: [ns / 1e6 for run in results for ns in run["ns"]] for c, results in found.items()}
    lines = {c: results[-1]["lines"] for c, results in found.items()}
    store = {c: results[-1]["store"] / 1e6 for c, results in found.items() if c is not SINGLE}
    return [
        _row(f"{name}, least", "ms", {c: min(t) for c, t in times.items()}),
        _row(f"{name}, median", "ms", {c: statistics.median(t) for c, t in times.items()}),
        _row(f"{name}, text", "lines", lines, compare=False),
        _row(f"{name}, files", "MB", store),
    ]


def _row(name: str, unit: str, values: Mapping[Contender, float], *, compare: bool = True) -> Row:
    # A store that isn't in the folder (0 bytes) was not measured.
    return Row(SECTION, name, unit, tuple(values.get(c) or None for c in ALL), compare=compare)


def _expected(request: Mapping[str, Any]) -> Tally:
    name, series = request["name"], request["series"]
    if request["kind"] == "Counter":
        return {f"{name}_total": (series, float(series))}
    observed = float(request["processes"] * series)
    above = sum(bound >= _OBSERVED for bound in _BOUNDS)
    return {
        f"{name}_bucket": (series * len(_BOUNDS), observed * above),
        f"{name}_count": (series, observed),
        f"{name}_sum": (series, observed * _OBSERVED),
    }


def _check(contender: Contender, found: Mapping[str, Sequence[float]], expected: Tally) -> None:
    # Sums of floats depend on the order they are added in, hence the six decimals.
    rounded = {name: (int(lines), round(total, 6)) for name, (lines, total) in found.items()}
    wanted = {name: (lines, round(total, 6)) for name, (lines, total) in expected.items()}
    if rounded != wanted:
        raise OutputsDiffer(f"{contender.title}: {wanted} was counted, {rounded} scraped")
