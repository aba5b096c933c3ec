"""What the processes of test_removal.py do, in an interpreter of their own."""

from __future__ import annotations

import os
import signal
from typing import Any

from tests.crash.watching import wait_stopped

import mpmetrics

from .basics import KEPT, Actor, both, call, have, page, statistics

KINDS: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "Counter": ({}, ["inc", 2]),
    "Gauge": ({}, ["set", 2]),
    "Gauge sum": ({"multiprocess_mode": "sum"}, ["set", 2]),
    "Gauge livemax": ({"multiprocess_mode": "livemax"}, ["set", 2]),
    "Summary": ({}, ["observe", 2]),
    "Histogram": ({"buckets": [1]}, ["observe", 2]),
    "Info": ({}, ["info", {"version": "2"}]),
    "Enum": ({"states": ["a", "b"]}, ["state", "b"]),
}
CHILD: dict[str, Any] = {}  # kept children


def keep(key: str, *labels: str) -> None:
    CHILD[key] = KEPT[key].labels(*labels)


def update_kept(key: str, name: str, *args: Any) -> None:
    getattr(CHILD[key], name)(*args)


def remove(key: str, how: str, *args: Any) -> None:
    getattr(KEPT[key], how)(*args)


def _everywhere(actors: list[Actor]) -> dict[str, float]:
    """What all processes see, which is the same."""
    pages = [both(), *(actor.do(both) for actor in actors)]
    assert pages == [pages[0]] * len(pages), pages
    return pages[0]


def kinds(method: str, kind: str) -> list[dict[str, float]]:
    """Made and kept by three processes, removed by one, written by the others, made anew."""
    options, (name, *args) = KINDS[kind]
    kind = kind.split()[0]
    have(kind, "m", ["m", "h", ["who"]], options)
    with Actor(method) as one, Actor(method) as other:
        everybody = [one, other]
        for actor in everybody:
            actor.do(have, kind, "m", ["m", "h", ["who"]], options)
            actor.do(keep, "m", "x")
            actor.do(update_kept, "m", name, *args)
        keep("m", "x")
        update_kept("m", name, *args)
        seen = [_everywhere(everybody)]
        one.do(remove, "m", "remove", "x")
        seen.append(_everywhere(everybody))
        for actor in everybody:
            actor.do(update_kept, "m", name, *args)
        update_kept("m", name, *args)
        seen.append(_everywhere(everybody))
        other.do(call, "m", ["x"], name, *args)
        update_kept("m", name, *args)
        seen.append(_everywhere(everybody))
        one.do(call, "m", ["x"], name, *args)
        call("m", ["x"], name, *args)
        return [*seen, _everywhere(everybody)]


def by_labels(method: str) -> list[list[str]]:
    """Which series are left after each way to remove some that other processes made."""
    have("Counter", "m", ["m", "h", ["a", "b"]])
    with Actor(method) as actor:
        actor.do(have, "Counter", "m", ["m", "h", ["a", "b"]])
        for a in "12":
            for b in "345":
                actor.do(call, "m", [a, b], "inc")
        call("m", ["1", "6"], "inc")
        seen = []
        for who, how, args in (
            (None, "remove_by_labels", [{"a": "1", "b": "3"}]),
            (None, "remove_by_labels", [{}]),
            (None, "remove_by_labels", [{"b": "nobody's"}]),
            (actor, "remove_by_labels", [{"a": "1"}]),
            (None, "remove", ["2", "3"]),
            (None, "remove", ["2", "3"]),
            (actor, "remove", [2, 4]),
            (None, "clear", []),
            (actor, "clear", []),
        ):
            (who.do if who else lambda function, *args: function(*args))(remove, "m", how, *args)
            seen.append(sorted(_everywhere([actor])))
        call("m", ["1", "3"], "inc")
        return [*seen, sorted(_everywhere([actor]))]


def wrong() -> dict[str, str]:
    have("Counter", "m", ["m", "h", ["a", "b"]])
    have("Counter", "plain", ["plain", "h"])
    errors = {}
    for name, key, how, args in (
        ("too few", "m", "remove", ["1"]),
        ("too many", "m", "remove", ["1", "2", "3"]),
        ("no labels", "plain", "remove", []),
        ("no dict", "m", "remove_by_labels", [["a"]]),
        ("unknown", "m", "remove_by_labels", [{"c": "1"}]),
        ("no labels, by labels", "plain", "remove_by_labels", [{"a": "1"}]),
        ("clear without labels", "plain", "clear", []),
    ):
        try:
            remove(key, how, *args)
        except Exception as error:
            errors[name] = type(error).__name__
        else:
            errors[name] = ""
    return errors


def reset(method: str) -> list[dict[str, float]]:
    have("Counter", "m", ["m", "h"])
    have("Counter", "l", ["l", "h", ["who"]])
    with Actor(method) as one, Actor(method) as other:
        everybody = [one, other]
        for actor in everybody:
            actor.do(have, "Counter", "m", ["m", "h"])
            actor.do(have, "Counter", "l", ["l", "h", ["who"]])
            actor.do(call, "m", [], "inc", 5)
            actor.do(call, "l", ["x"], "inc", 5)
        seen = [_everywhere(everybody)]
        one.do(call, "m", [], "reset")
        seen.append(_everywhere(everybody))
        other.do(call, "m", [], "inc", 2)
        one.do(call, "m", [], "inc", 1)
        seen.append(_everywhere(everybody))
        other.kill()
        one.do(call, "m", [], "reset")
        one.do(call, "l", ["x"], "reset")
        seen.append(_everywhere([one]))
        call("l", ["x"], "inc", 3)
        call("m", [], "inc", 3)
        seen.append(_everywhere([one]))
        remove("l", "remove", "x")
        one.do(call, "l", ["x"], "inc", 4)  # the words of the one that was reset
        return [*seen, _everywhere([one])]


def reset_while_counting(method: str, times: int) -> dict[str, float]:
    """What others count while one resets is kept: shown at the end, or gone with a reset."""
    have("Counter", "m", ["m", "h"])
    with Actor(method) as one, Actor(method) as other:
        for actor in (one, other):
            actor.do(have, "Counter", "m", ["m", "h"])
        one._connection.send((_inc_many, (times,)))
        lowest = 0.0
        for _ in range(times // 20):
            other.do(call, "m", [], "reset")
            lowest = min(lowest, page()["m_total"])
        well, _ = one._connection.recv()
        assert well
        other.do(call, "m", [], "reset")
        one.do(call, "m", [], "inc", 2)
        return {"lowest": lowest, "end": page()["m_total"]}


def _inc_many(times: int) -> None:
    for _ in range(times):
        KEPT["m"].inc()


# ---- the storm -----------------------------------------------------------------------------------


def touch(first: int, last: int) -> None:
    """Writes some label sets and keeps the children, as a worker does that then sleeps."""
    for key in ("c", "h", "g"):
        for i in range(first, last):
            child = KEPT[key].labels(f"n{i}")
            CHILD[f"{key}{i}"] = child
            (child.observe if key == "h" else child.inc)(1)


def touch_kept() -> None:
    for key, child in CHILD.items():
        (child.observe if key.startswith("h") else child.inc)(1000)


def _have_storm() -> None:
    have("Counter", "c", ["c", "h", ["who"]])
    have("Histogram", "h", ["h", "h", ["who"]], {"buckets": [1]})
    have("Gauge", "g", ["g", "h", ["who"]])


def _storm(first: int, last: int) -> None:
    """Makes label sets, counts in each, and removes them: each tenth by what others touched."""
    c, h, g = KEPT["c"], KEPT["h"], KEPT["g"]
    for i in range(first, last):
        name = f"n{i}"
        c.labels(name).inc()
        if i % 4 == 0:
            h.labels(name).observe(0.5)
            g.labels(name).set(i)
            h.remove(name)
            g.remove(name)
        c.remove(name)


def storm(method: str, few: int, many: int) -> dict[str, Any]:
    """Label sets made and removed while one worker that touched some sleeps and one is stopped."""
    _have_storm()
    with Actor(method) as sleeper, Actor(method) as stopped:
        for actor in (sleeper, stopped):
            actor.do(_have_storm)
            actor.do(touch, 0, few // 10)
        os.kill(stopped.process.pid, signal.SIGSTOP)
        try:
            wait_stopped(stopped.process.pid)
            for key in ("c", "h", "g"):
                KEPT[key].clear()
            pages = [page()]
            _storm(0, few)
            pages.append(page())
            sizes = [statistics()]
            _storm(few, many)
            sizes.append(statistics())
            pages.append(page())
            alive = few // 10
            for i in range(alive):  # the same names and words again
                KEPT["c"].labels(f"n{i}").inc()
                KEPT["g"].labels(f"n{i}").set(1)
                KEPT["h"].labels(f"n{i}").observe(0.5)
            made = page()
        finally:
            os.kill(stopped.process.pid, signal.SIGCONT)
        for actor in (sleeper, stopped):
            actor.do(touch_kept)  # children of series that are gone
        return {
            "pages": pages,
            "sizes": sizes,
            "made": _sums(made),
            "after": _sums(page()),
            "everywhere": [_sums(actor.do(page)) for actor in (sleeper, stopped)],
            "alive": alive,
        }


def _sums(shown: dict[str, float]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for name, value in shown.items():
        key = name.partition("{")[0]
        sums[key] = sums.get(key, 0) + value
    return sums


def left_over() -> list[str]:
    return sorted(mpmetrics.generate_latest(mpmetrics.REGISTRY).decode().splitlines())
