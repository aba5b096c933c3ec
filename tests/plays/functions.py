"""What the processes of test_functions.py do, in an interpreter of their own."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import prometheus_client

import mpmetrics
from mpmetrics import functions

from .basics import KEPT, Actor, both, have, page
from .logged import Lines

PATIENCE = 20.0
VALUES = {"g": 1.0}
CALLS: list[int] = []  # the pid of each call


def hurry() -> None:
    functions.INTERVAL = 0.02


def follow(key: str = "g", *labels: str) -> None:
    (KEPT[key].labels(*labels) if labels else KEPT[key]).set_function(_value)


def _value() -> float:
    CALLS.append(os.getpid())
    return VALUES["g"]


def say(value: float) -> None:
    VALUES["g"] = value


def _wait(ask: Callable[[], Any]) -> Any:
    """The first true answer, or the last one."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := ask()) and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    return answer


def own_scrape() -> list[float]:
    """The function is asked at each scrape, by ours, theirs and collect()."""
    functions.INTERVAL = 3600.0
    have("Gauge", "g", ["g", "h"])
    follow()
    seen = []
    for value, scrape in (
        (2.0, lambda: page("ours")["g"]),
        (3.0, lambda: page("theirs")["g"]),
        (4.0, lambda: page("wsgi", ["g"])["g"]),
        (5.0, lambda: KEPT["g"].collect()[0].samples[0].value),
        (6.0, lambda: mpmetrics.REGISTRY.get_sample_value("g")),
    ):
        say(value)
        seen.append(scrape())
    return seen


def other_process(method: str, mode: str | None) -> dict[str, Any]:
    """This process scrapes what a child's function says."""
    name = "g"
    options = {"multiprocess_mode": mode}
    have("Gauge", "g", [name, "h"], options)
    with Actor(method) as actor:
        actor.do(hurry)
        actor.do(have, "Gauge", "g", [name, "h"], options)
        actor.do(follow)
        first = sorted(both().values())
        actor.do(say, 42.0)
        # Not both(): the value changes between two scrapes.
        later = _wait(lambda: 42.0 in page().values())
        mine_called = CALLS
        actor.kill()
        return {"first": first, "later": later, "called here": mine_called, "after": both()}


def others_do_nothing() -> dict[str, Any]:
    have("Gauge", "g", ["g", "h"])
    gauge = KEPT["g"]
    gauge.set(100)
    follow()
    gauge.set(7)
    gauge.inc()
    gauge.dec(3)
    gauge.set_to_current_time()
    with gauge.track_inprogress():
        inside = page()["g"]
    with gauge.time():
        pass
    return {"inside": inside, "after": page()["g"], "twice": _again(gauge)}


def _again(gauge: Any) -> float:
    gauge.set_function(lambda: 9)
    return page()["g"]


def raising() -> dict[str, Any]:
    log = Lines()
    hurry()
    calls = {"a": 0, "b": 0}
    broken = {"a": True, "b": True}

    def function(key: str) -> Callable[[], float]:
        def value() -> float:
            calls[key] += 1
            if broken[key]:
                raise ZeroDivisionError(key)
            return 8.0

        return value

    have("Gauge", "a", ["a", "h"])
    have("Gauge", "b", ["b", "h"])
    KEPT["a"].set_function(function("a"))  # as prometheus_client: no error here
    KEPT["b"].set_function(function("b"))
    _wait(lambda: min(calls.values()) > 5)
    errors = []
    for scrape in (
        lambda: mpmetrics.generate_latest(mpmetrics.REGISTRY),
        lambda: prometheus_client.generate_latest(mpmetrics.REGISTRY),
        lambda: KEPT["a"].collect(),
    ):
        try:
            scrape()
        except Exception as error:
            errors.append(type(error).__name__)
        else:
            errors.append("")
    told = list(log.said)
    broken["a"] = broken["b"] = False
    worked = _wait(lambda: page() == {"a": 8.0, "b": 8.0})
    before = dict(calls)
    _wait(lambda: calls["a"] > before["a"] + 2)
    broken["a"] = True
    _wait(lambda: len(log.said) > len(told))
    return {"errors": errors, "told": told, "worked": worked, "again": log.said[len(told) :]}


def not_a_number() -> dict[str, Any]:
    have("Gauge", "g", ["g", "h"])
    KEPT["g"].set_function(lambda: "much")  # type: ignore[arg-type, return-value]
    try:
        mpmetrics.generate_latest(mpmetrics.REGISTRY)
    except Exception as error:
        return {"error": type(error).__name__}
    return {}


def forked() -> dict[str, Any]:
    """A child scrapes, also when the thread should have run; then it follows one of its own."""
    hurry()
    have("Gauge", "g", ["g", "h"], {})
    have("Gauge", "own", ["own", "h"], {})
    follow()
    say(2.0)
    _wait(lambda: page() == {"g": 2.0, "own": 0.0})
    with Actor("fork") as child:
        seen = child.do(_child_scrapes)
        child_pid = child.process.pid
        own = child.do(_child_follows)
        still = page()
    return {
        "seen": seen,
        "called in the child": child_pid in seen["pids"],
        "own": own,
        "still": still,
    }


def _child_scrapes() -> dict[str, Any]:
    CALLS.clear()
    say(99.0)  # in the child alone
    pages = [page(), page("theirs")]
    threads = [t.name for t in threading.enumerate() if t.name.startswith("mpmetrics")]
    return {"pids": list(CALLS), "pages": pages, "threads": threads}


def _child_follows() -> list[float]:
    KEPT["own"].set_function(lambda: 5)
    return [page()["own"], float(os.getpid() in CALLS)]


def labelled() -> dict[str, Any]:
    hurry()
    have("Gauge", "g", ["g", "h", ["who"]])
    parent = KEPT["g"]
    try:
        parent.set_function(lambda: 1)
    except ValueError:
        refused = True
    else:
        refused = False
    numbers = {"a": 1.0, "b": 2.0}
    for who in numbers:
        parent.labels(who).set_function(lambda who=who: numbers[who])  # type: ignore[misc]
    parent.labels("c").set(3)
    numbers["b"] = 4.0
    seen = page()
    parent.remove("a")
    gone = page()
    parent.labels("a").set(10)
    return {"refused": refused, "seen": seen, "gone": gone, "anew": page()}


def forgotten() -> int:
    """Private gauges that follow a function and go away are followed no more."""
    for i in range(50):
        registry = mpmetrics.CollectorRegistry()
        gauge = mpmetrics.Gauge("g", "h", registry=registry)
        gauge.set_function(lambda i=i: i)  # type: ignore[misc]
    del registry, gauge
    gc.collect()
    return len(functions._followers.functions)


def cyclic() -> int:
    """The same where the function holds its own gauge."""
    for _ in range(50):
        registry = mpmetrics.CollectorRegistry()
        gauge = mpmetrics.Gauge("g", "h", registry=registry)
        gauge.set_function(lambda gauge=gauge: len(gauge._name))  # type: ignore[misc]
    del registry, gauge
    gc.collect()
    return len(functions._followers.functions)
