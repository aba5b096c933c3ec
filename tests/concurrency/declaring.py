"""What the processes of test_families.py do: declare, count and look.

Every function that returns something of use to a test runs in an interpreter of its own; those at
the top run in its children."""

from __future__ import annotations

import gc
import time
from contextlib import ExitStack
from typing import Any

import prometheus_client
from prometheus_client.parser import text_string_to_metric_families

import mpmetrics
from mpmetrics import Counter, StoreCollector, store

from .actors import Actor

KEPT: dict[str, Any] = {}


# ---- in an actor, or anywhere --------------------------------------------------------------------


def declare(kind: str, key: str, *args: Any, **options: Any) -> None:
    """Declares a metric and keeps it under that key."""
    KEPT[key] = getattr(mpmetrics, kind)(*args, **options)


def declare_with(kind: str, key: str, args: list[Any], options: dict[str, Any]) -> None:
    declare(kind, key, *args, **options)


def let_go(key: str) -> None:
    mpmetrics.REGISTRY.unregister(KEPT.pop(key))
    gc.collect()


def inc(key: str, *labels: str) -> None:
    (KEPT[key].labels(*labels) if labels else KEPT[key]).inc()


def observe(key: str, value: float) -> None:
    KEPT[key].observe(value)


def remove(key: str, *labels: str) -> None:
    KEPT[key].remove(*labels)


def make_labels(key: str, first: int, last: int) -> None:
    for i in range(first, last):
        KEPT[key].labels(f"n{i}").inc()


def _own(name: str) -> bool:
    return not name.startswith(("process_", "python_", "mpmetrics_"))


def text(which: str = "ours", names: list[str] | None = None) -> str:
    """A scrape by our renderer, by prometheus_client's, or through the WSGI app."""
    if which == "wsgi":
        query = "&".join(f"name[]={name}" for name in names or [])
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics", "QUERY_STRING": query}
        body = mpmetrics.make_wsgi_app()(environ, lambda *_: None)
        return b"".join(body).decode()
    generate = (mpmetrics if which == "ours" else prometheus_client).generate_latest
    registry: Any = mpmetrics.REGISTRY
    return generate(registry.restricted_registry(names) if names else registry).decode()


def page(which: str = "ours", names: list[str] | None = None) -> dict[str, float]:
    """The same as values by sample, none twice and no family twice."""
    whole = text(which, names)
    types = [line for line in whole.splitlines() if line.startswith("# TYPE")]
    assert len(types) == len(set(types)), types
    list(text_string_to_metric_families(whole))
    values: dict[str, float] = {}
    for line in whole.splitlines():
        name, _, value = line.rpartition(" ")
        if line and not line.startswith("#") and "_created" not in name and _own(name):
            assert name not in values, f"{name} is shown twice"
            values[name] = float(value)
    return values


def both() -> dict[str, float]:
    """The page; ours and theirs are the same."""
    ours, theirs = page("ours"), page("theirs")
    assert ours == theirs, (ours, theirs)
    return ours


def helps(name: str, which: str = "ours") -> list[str]:
    start = f"# HELP {name} "
    lines = text(which).splitlines()
    return [line.removeprefix(start) for line in lines if line.startswith(start)]


def hidden() -> float:
    """mpmetrics_hidden_families, as a scrape shows it."""
    registry = prometheus_client.CollectorRegistry()
    StoreCollector(registry)
    for line in mpmetrics.generate_latest(registry).decode().splitlines():
        if line.startswith("mpmetrics_hidden_families "):
            return float(line.split()[1])
    raise AssertionError("no such metric")


def left_out() -> int:
    from mpmetrics import registry

    return registry.foreign_of(mpmetrics.REGISTRY).left_out


def foreign_collector() -> None:
    """One of prometheus_client's own counters, of the name that another process's family has."""
    prometheus_client.Counter("x", "Not ours.").inc(100)


# ---- the plays -----------------------------------------------------------------------------------


def labels_of_all(method: str) -> list[dict[str, float]]:
    """Each of three processes makes a label set; what each sees."""
    declare("Counter", "x", "x", "h", ["who"])
    with ExitStack() as stack:
        actors = [stack.enter_context(Actor(method)) for _ in range(2)]
        for i, actor in enumerate(actors):
            if method != "fork":  # those have the parent's
                actor.do(declare, "Counter", "x", "x", "h", ["who"])
            actor.do(inc, "x", f"child {i}")
            actor.do(inc, "x", "everybody")
        inc("x", "parent")
        inc("x", "everybody")
        seen = [actor.do(both) for actor in actors] + [both()]
    seen.append(both())
    return seen


def removed_by_another(method: str) -> list[Any]:
    """A label set removed by one process is gone in all, and comes back as new."""
    declare("Counter", "x", "x", "h", ["who"])
    with Actor(method) as actor:
        if method != "fork":
            actor.do(declare, "Counter", "x", "x", "h", ["who"])
        inc("x", "a")
        actor.do(inc, "x", "a")
        before = both()
        actor.do(remove, "x", "a")
        gone = [both(), actor.do(both)]
        inc("x", "a")
        return [before, *gone, both(), actor.do(both)]


def many_labels(method: str, count: int) -> dict[str, Any]:
    """Two processes make `count` label sets each, half of them the same; seconds of the parts."""
    declare("Counter", "x", "x", "h", ["who"])
    with Actor(method) as actor:
        if method != "fork":
            actor.do(declare, "Counter", "x", "x", "h", ["who"])
        actor.do(make_labels, "x", count // 2, count + count // 2)
        times = []
        for first in range(0, count, count // 10):
            began = time.perf_counter()
            make_labels("x", first, first + count // 10)
            times.append(time.perf_counter() - began)
        mine, theirs = both(), actor.do(both)
    expected = {
        f'x_total{{who="n{i}"}}': 2.0 if count // 2 <= i < count else 1.0
        for i in range(count + count // 2)
    }
    return {"right": [mine == expected, theirs == expected], "times": times}


def joined_declarations(method: str) -> list[dict[str, float]]:
    """Two processes declare the same six families; each counts in them."""
    declare("Gauge", "first", "first", "So that there is a store.")
    with Actor(method) as one, Actor(method) as other:
        for actor in (one, other):
            actor.do(declare, "Counter", "c", "c", "h")
            actor.do(declare, "Summary", "s", "s", "h")
            actor.do(declare_with, "Histogram", "h", ["h", "h"], {"buckets": [1, 2]})
            actor.do(declare_with, "Gauge", "g", ["g", "h"], {"multiprocess_mode": "sum"})
            actor.do(inc, "c")
            actor.do(inc, "g")
            actor.do(observe, "s", 0.5)
            actor.do(observe, "h", 0.5)
        return [one.do(both), other.do(both), both()]


def other_shapes(method: str) -> dict[str, Any]:
    """A newer shape hides the older, which counts on unseen, and goes with its last declarer."""
    seen: dict[str, Any] = {}
    declare("Gauge", "first", "first", "So that there is a store.")
    with Actor(method) as new:
        with Actor(method) as old:
            old.do(declare_with, "Histogram", "h", ["h", "old help"], {"buckets": [1, 2]})
            old.do(observe, "h", 0.5)
            seen["alone"] = [both(), hidden()]
            new.do(declare_with, "Histogram", "h", ["h", "new help"], {"buckets": [5]})
            new.do(observe, "h", 3)
            old.do(observe, "h", 0.5)
            seen["both"] = [old.do(both), new.do(both), both()]
            seen["help"] = [old.do(helps, "h"), new.do(helps, "h"), helps("h")]
            seen["hidden"] = [old.do(hidden), new.do(hidden), hidden()]
            series = store.current().statistics()["series"]
        seen["after"] = [new.do(both), both()]
        seen["hidden after"] = [new.do(hidden), hidden()]
        seen["series gone"] = series - store.current().statistics()["series"]
    seen["at the end"] = both()
    return seen


def other_help(method: str) -> list[list[str]]:
    """One shape, two help texts: the newest is shown by everybody."""
    declare("Counter", "x", "x", "old help")
    with Actor(method) as actor:
        if method == "fork":
            actor.do(let_go, "x")
        actor.do(declare, "Counter", "x", "x", "new help")
        return [helps("x_total"), actor.do(helps, "x_total"), helps("x_total", "theirs")]


def clashing_types(method: str) -> dict[str, Any]:
    """Counter x, gauge x_total: two shapes of one, though their names differ."""
    declare("Gauge", "first", "first", "So that there is a store.")
    with Actor(method) as one, Actor(method) as other:
        one.do(declare, "Counter", "x", "x", "h")
        one.do(inc, "x")
        other.do(declare, "Gauge", "x", "x_total", "h")
        other.do(inc, "x")
        other.do(inc, "x")
        return {"seen": [one.do(both), other.do(both), both()], "hidden": hidden()}


def filtered(method: str) -> dict[str, Any]:
    """Families of another process through `name[]`, by all that filter."""
    declare("Counter", "mine", "mine", "h")
    with Actor(method) as actor:
        actor.do(declare, "Counter", "theirs", "theirs", "h", ["l"])
        actor.do(inc, "theirs", "v")
        app = [page("wsgi", ["theirs_total"]), page("wsgi", ["mine_total", "theirs_total"])]
        app.append(page("wsgi", ["nothing"]))
        # Since: a filter by prometheus_client itself finds what a scrape has seen once.
        plain = [page("theirs", ["theirs_total"]), page("ours", ["theirs_total"])]
        full = both()
        actor.do(declare, "Counter", "late", "late", "h")
        actor.do(inc, "late")
        late = [page("wsgi", ["late_total"]), both()]
    return {"app": app, "plain": plain, "full": full, "late": late}


def steps_aside(method: str) -> dict[str, Any]:
    """Shown for another process first, then declared here; and a collector that isn't ours."""
    declare("Gauge", "first", "first", "So that there is a store.")
    with Actor(method) as actor:
        actor.do(declare, "Counter", "x", "x", "h")
        actor.do(inc, "x")
        before = both()
        declare("Counter", "x", "x", "h")
        inc("x")
        joined = [both(), actor.do(both)]
        let_go("x")
        gone = [both(), actor.do(both)]
        declare("Counter", "x", "x", "h")
        inc("x")
        again = [both(), actor.do(both)]
    return {"before": before, "joined": joined, "gone": gone, "again": again}


def name_is_taken(method: str) -> dict[str, Any]:
    """A collector that isn't ours has the name of another process's family."""
    declare("Gauge", "first", "first", "So that there is a store.")
    prometheus_client.Counter("x", "Not ours.").inc(100)
    with Actor(method) as actor:
        if method == "fork":
            actor.do(_drop_theirs)
        actor.do(declare, "Counter", "x", "x", "h")
        actor.do(inc, "x")
        return {"mine": both(), "theirs": actor.do(both), "left_out": left_out()}


def _drop_theirs() -> None:
    registry = mpmetrics.REGISTRY
    for metric in list(registry._collector_to_names):
        if getattr(metric, "_name", None) == "x":
            registry.unregister(metric)


def their_name_later(method: str) -> dict[str, Any]:
    """The same, when the scrape has shown the other process's already."""
    declare("Gauge", "first", "first", "So that there is a store.")
    with Actor(method) as actor:
        actor.do(declare, "Counter", "x", "x", "h")
        actor.do(inc, "x")
        both()
        try:
            foreign_collector()
        except ValueError as error:
            return {"error": str(error), "page": both()}
        return {"error": None, "page": both()}


def their_name_later_in_ours(method: str) -> list[Any]:
    """The same in a registry of our class, which still refuses what this process itself has."""
    declare_named("z")
    with Actor(method) as actor:
        actor.do(declare_named, "x")
        actor.do(declare_named, "y")
        actor.do(inc, "x")
        seen: list[Any] = [named_page()]
        theirs = prometheus_client.Counter("x", "Not ours.", registry=NAMED)
        theirs.inc(100)
        seen.append(named_page())
        try:
            prometheus_client.Counter("x", "Not ours.", registry=NAMED)
        except ValueError as error:
            seen.append("Duplicated timeseries in CollectorRegistry" in str(error))
        seen.append(named_page())
        NAMED.unregister(theirs)
        actor.do(declare_named, "w")  # the catalog is read anew after a declaration
        seen.append(named_page())
    return seen


def of_the_dead(method: str) -> dict[str, float]:
    """A family whose only declarer has ended is still shown: its numbers count."""
    declare("Gauge", "first", "first", "So that there is a store.")
    with Actor(method) as actor:
        actor.do(declare, "Counter", "x", "x", "h")
        actor.do(inc, "x")
    return both()


def registries(method: str) -> list[dict[str, float]]:
    """A named registry is one in all processes; the default one does not show it."""
    declare_named("x")
    with Actor(method) as actor:
        if method != "fork":
            actor.do(declare_named, "x")
        actor.do(inc, "x")
        inc("x")
        return [named_page(), actor.do(named_page), both()]


NAMED = mpmetrics.CollectorRegistry(name="admin")


def declare_named(key: str) -> None:
    KEPT[key] = Counter(key, "h", registry=NAMED)


def named_page() -> dict[str, float]:
    values = {}
    for line in mpmetrics.generate_latest(NAMED).decode().splitlines():
        name, _, value = line.rpartition(" ")
        if line and not line.startswith("#") and "_created" not in name:
            values[name] = float(value)
    return values
