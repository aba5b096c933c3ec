"""What the processes of test_gauge_modes.py do, in an interpreter of their own."""

from __future__ import annotations

import os
from typing import Any

import prometheus_client

import mpmetrics
from mpmetrics import store

from .basics import KEPT, Actor, both, call, have, page
from .logged import Lines

MODES = {0: "none"}
for _number, _fold in enumerate(("all", "min", "max", "sum", "mostrecent"), 1):
    MODES |= {_number: _fold, _number + 16: f"live{_fold}"}


def have_all(modes: list[str]) -> None:
    for mode in modes:
        have("Gauge", mode, [f"g_{mode}", "h"], {"multiprocess_mode": mode})


def set_all(modes: list[str], value: float) -> None:
    for mode in modes:
        KEPT[mode].set(value)


def _shown(who: dict[int, str]) -> dict[str, float]:
    """Values by mode, with the name of the process where the sample has its pid."""
    shown = {}
    for name, value in both().items():
        mode, _, rest = name.removeprefix("g_").partition('{pid="')
        if name.startswith("g_"):
            shown[f"{mode} {who[int(rest[:-2])]}" if rest else mode] = value
    return shown


def _add_all(modes: list[str]) -> None:
    for mode in modes:
        if "mostrecent" in mode:
            KEPT[mode].set(7)
        else:
            KEPT[mode].inc()


def forked(modes: list[str]) -> list[dict[str, float]]:
    have_all(modes)
    have("Counter", "c", ["c", "h"])
    set_all(modes, 5)
    who = {os.getpid(): "parent"}
    before = _shown(who)
    with Actor("fork") as child:
        who[child.process.pid] = "child"
        child.do(call, "c", [], "inc")
        forked = _shown(who)
        child.do(_add_all, modes)
        return [before, forked, _shown(who)]


def death(method: str, how: str, modes: list[str]) -> dict[str, float]:
    have_all(modes)
    set_all(modes, 2)
    with Actor(method) as child:
        child.do(have_all, modes)
        child.do(set_all, modes, 7)
        who = {os.getpid(): "parent", child.process.pid: "child"}
        assert _shown(who)["livesum"] == 9.0
        (child.kill if how == "kill" else child.end)()
        return _shown(who)


def takeover(method: str, modes: list[str]) -> list[dict[str, float]]:
    have("Counter", "c", ["c", "h"])
    call("c", [], "inc")  # this process has a shard of its own
    with Actor(method) as first:
        first.do(have_all, modes)
        first.do(set_all, modes, 4)
        first.kill()
    shards = store.current().statistics()["processes"]
    with Actor(method) as second:
        who = {second.process.pid: "child"}
        second.do(have, "Counter", "c", ["c", "h"])
        second.do(call, "c", [], "inc")
        assert store.current().statistics()["free_shards"] == 0, shards
        taken_over = _shown(who)
        second.do(have_all, modes)
        second.do(set_all, modes, 3)
        return [taken_over, _shown(who)]


def one_by_one(method: str, count: int) -> dict[str, float]:
    modes = ["sum", "max", "min"]
    have("Counter", "c", ["c", "h"])
    call("c", [], "inc")
    for i in range(1, count + 1):
        with Actor(method) as actor:
            actor.do(have_all, modes)
            actor.do(set_all, modes, i)
            actor.kill()
    assert store.current().statistics()["free_shards"] == 1
    return _shown({})


def last_writer(method: str) -> list[float]:
    have("Gauge", "g", ["g", "h"])
    with Actor(method) as one, Actor(method) as other:
        for actor in (one, other):
            actor.do(have, "Gauge", "g", ["g", "h"])
        seen = []
        for who, how, amount in (
            (one, "set", 1),
            (other, "set", 2),
            (one, "inc", 2.5),
            (other, "dec", 0.5),
        ):
            who.do(call, "g", [], how, amount)
            values = {both()["g"], one.do(both)["g"], other.do(both)["g"]}
            seen.append(values.pop())
            assert not values
    return seen


def modeless_death(method: str) -> list[float]:
    have("Gauge", "g", ["g", "h"])
    with Actor(method) as one:
        one.do(have, "Gauge", "g", ["g", "h"])
        one.do(call, "g", [], "set", 8)
        one.kill()
    seen = [both()["g"]]
    with Actor(method) as other:
        other.do(have, "Gauge", "g", ["g", "h"])
        other.do(call, "g", [], "inc", 1)
        return [*seen, both()["g"]]


def refused(mode: str, how: str) -> dict[str, Any]:
    gauge = mpmetrics.Gauge("g", "h", multiprocess_mode=mode)
    gauge.set(3)
    try:
        if how == "track_inprogress":
            with gauge.track_inprogress():
                pass
        else:
            getattr(gauge, how)()
    except Exception as error:
        return {"error": type(error).__name__, "value": next(iter(page().values()))}
    return {"error": None}


def _mode(name: str) -> str:
    rows = store.current().catalog()
    return MODES[next(row[4] for row in rows if row[7] == name)]


def modes(names: list[str]) -> dict[str, str]:
    for name in names:
        mpmetrics.Gauge(name, "h", multiprocess_mode="all")
    return {name: _mode(name) for name in names}


def full_name() -> dict[str, str]:
    mpmetrics.Gauge("wait", "h", namespace="app", subsystem="http", unit="seconds")
    return {"mode": _mode("app_http_wait_seconds")}


def modes_and_log(names: list[str]) -> dict[str, Any]:
    log = Lines()
    return {"modes": modes(names), "log": log.said}


def overridden() -> dict[str, float]:
    have("Gauge", "g", ["g", "h"], {"multiprocess_mode": "all"})
    call("g", [], "set", 1)
    with Actor("fork") as actor:
        actor.do(call, "g", [], "set", 2)
        return both()


def labelled_pid(method: str, modes: list[str]) -> dict[str, Any]:
    """Gauges with a label `pid`, of a parent and its child, and after the child's death."""
    log = Lines()

    def declare() -> None:
        for mode in modes:
            have("Gauge", mode, [mode, "h", ["pid"]], {"multiprocess_mode": mode})

    def shown() -> dict[str, float]:
        return {name.replace('{pid="', " ")[:-2]: value for name, value in both().items()}

    declare()
    with Actor(method) as child:
        for mode in modes:
            call(mode, ["parent"], "set", 1)
            call(mode, ["shared"], "inc")
        child.do(have, "Gauge", "all", ["all", "h", ["pid"]], {"multiprocess_mode": "all"})
        child.do(
            have, "Gauge", "liveall", ["liveall", "h", ["pid"]], {"multiprocess_mode": "liveall"}
        )
        for mode in modes:
            child.do(call, mode, ["child"], "set", 2)
            child.do(call, mode, ["shared"], "inc")
        alive = shown()
    return {
        "both": alive,
        "after": shown(),
        "log": [line.split("mode ")[1].split(" ")[0] for line in log.said],
    }


def overridden_label_pid() -> dict[str, Any]:
    log = Lines()
    have("Gauge", "g", ["g", "h", ["pid"]], {"multiprocess_mode": "max"})
    call("g", ["x"], "set", 1)
    return {"page": both(), "mode": _mode("g"), "lines": len(log.said)}


def unknown_mode() -> dict[str, Any]:
    mpmetrics.Gauge("none", "h", multiprocess_mode=None)
    modes = sorted(mpmetrics.Gauge._MULTIPROC_MODES)
    assert mpmetrics.Gauge._MULTIPROC_MODES == prometheus_client.Gauge._MULTIPROC_MODES
    try:
        mpmetrics.Gauge("g", "h", multiprocess_mode="some")
    except Exception as error:
        return {"error": type(error).__name__, "modes": modes}
    return {}


FIRST = {  # by kind: options, the call, the sample that shows it
    "Counter": ({}, ("inc",), "m_total"),
    "Gauge": ({}, ("set", 1), "m"),
    "Summary": ({}, ("observe", 1), "m_count"),
    "Histogram": ({}, ("observe", 1), "m_count"),
    "Enum": ({"states": ["a", "b"]}, ("state", "b"), 'm{m="b"}'),
}


def first_write(kind: str) -> dict[str, float]:
    options, (name, *args), sample = FIRST[kind]
    have(kind, "m", ["m", "h"], options)
    with Actor("fork") as child:
        child.do(call, "m", [], name, *args)
        return {"child": child.do(page)[sample], "parent": page()[sample]}
