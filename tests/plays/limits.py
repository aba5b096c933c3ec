"""What the processes of test_limits.py do, in an interpreter of their own."""

from __future__ import annotations

import tracemalloc
from typing import Any

import prometheus_client

import mpmetrics
from mpmetrics import StoreCollector

from .basics import KEPT, Actor, both, call, have, page, statistics

KINDS: dict[str, tuple[dict[str, Any], str, str]] = {
    "Counter": ({}, "inc", "m_total"),
    "Gauge": ({}, "inc", "m"),
    "Summary": ({}, "observe", "m_sum"),
    "Histogram": ({"buckets": [1]}, "observe", "m_count"),
}


def _dropped() -> float:
    registry = prometheus_client.CollectorRegistry()
    StoreCollector(registry)
    value = registry.get_sample_value("mpmetrics_dropped_series_total")
    assert value is not None
    return value


def write(kind: str, first: int, last: int) -> None:
    for i in range(first, last):
        call("m", [f"n{i}"], KINDS[kind][1], 1)


def full(method: str, kind: str) -> dict[str, Any]:
    """Two processes write label sets beyond the limit of 10, some of them the same."""
    options, _, sample = KINDS[kind]
    have(kind, "m", ["m", "h", ["who"]], options)
    with Actor(method) as actor:
        actor.do(have, kind, "m", ["m", "h", ["who"]], options)
        write(kind, 0, 6)
        actor.do(write, kind, 4, 14)
        write(kind, 0, 20)
        pages = [both(), actor.do(both)]
        assert pages[0] == pages[1], pages
        values = {name: v for name, v in pages[0].items() if name.startswith(sample + "{")}
        return {
            "shown": len(values),
            "overflow": values[f'{sample}{{who="__overflow__"}}'],
            "total": sum(values.values()),
            "dropped": _dropped(),
        }


def kept_overflow(method: str) -> dict[str, float]:
    """A child of the overflow series that is kept counts on; so does one asked for by its name."""
    have("Counter", "m", ["m", "h", ["a", "b"]])
    for i in range(12):
        call("m", [str(i), "x"], "inc")
    kept = KEPT["m"].labels("12", "x")
    named = KEPT["m"].labels("__overflow__", "__overflow__")
    for child in (kept, named, kept, KEPT["m"].labels("13", "x"), named, kept):
        child.inc()
    with Actor(method) as actor:
        actor.do(have, "Counter", "m", ["m", "h", ["a", "b"]])
        actor.do(call, "m", ["14", "x"], "inc", 10)
        return both()


def room_again(how: str) -> list[dict[str, float]]:
    """A full family gets room; later it is full again."""
    have("Counter", "m", ["m", "h", ["who"]])
    seen = []
    for _ in range(2):
        write("Counter", 0, 12)
        seen.append(both())
        if how == "clear":
            KEPT["m"].clear()
        else:
            KEPT["m"].remove("__overflow__")
            KEPT["m"].remove("n0")
            call("m", ["late"], "inc")
            KEPT["m"].remove("late")
        seen.append(both())
    return seen


def removed_by_another(method: str) -> list[dict[str, float]]:
    have("Counter", "m", ["m", "h", ["who"]])
    with Actor(method) as actor:
        actor.do(have, "Counter", "m", ["m", "h", ["who"]])
        write("Counter", 0, 12)
        actor.do(call, "m", [], "clear")
        actor.do(write, "Counter", 0, 10)
        write("Counter", 20, 22)
        return [both(), actor.do(both)]


def memory(few: int, many: int) -> dict[str, Any]:
    """What overflowing label sets take, in Python and in the store."""
    have("Counter", "m", ["m", "h", ["who"]])
    for i in range(few):
        call("m", [f"n{i}"], "inc")
    store_before = statistics()["used_bytes"]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for i in range(few, many):
        call("m", [f"n{i}"], "inc")
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return {
        "python": after - before,
        "store": statistics()["used_bytes"] - store_before,
        "children": len(KEPT["m"]._children),
        "total": sum(page().values()),
    }


def unlimited(count: int) -> dict[str, Any]:
    have("Counter", "m", ["m", "h", ["who"]])
    for i in range(count):
        call("m", [f"n{i}"], "inc")
    shown = page()
    return {"shown": len(shown), "total": sum(shown.values()), "dropped": _dropped()}


def without_labels() -> dict[str, float]:
    for i in range(20):
        mpmetrics.Counter(f"m{i}", "h").inc()
    return {"shown": float(len(page())), "dropped": _dropped()}


def of_the_store() -> dict[str, Any]:
    have("Counter", "m", ["m", "h", ["who"]])
    return {"max_series": statistics()["max_series"]}
