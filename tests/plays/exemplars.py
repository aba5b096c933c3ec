"""What the processes of test_exemplars.py do, in an interpreter of their own."""

from __future__ import annotations

import threading
from typing import Any

import prometheus_client
from prometheus_client.openmetrics.exposition import generate_latest as their_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

import mpmetrics
from mpmetrics import store

from .basics import KEPT, Actor, have, openmetrics, statistics

NOW = 0.0  # instead of each timestamp


def have_both() -> None:
    have("Counter", "c", ["c", "h"])
    have("Histogram", "h", ["h", "h"], {"buckets": [1, 2]})


def count(amount: float, exemplar: dict[str, str] | None) -> None:
    KEPT["c"].inc(amount, exemplar)


def observe(amount: float, exemplar: dict[str, str] | None) -> None:
    KEPT["h"].observe(amount, exemplar)


def shown(text: str | None = None) -> dict[str, Any]:
    """[labels, value] of the exemplar by sample; both renderers and collect() agree."""
    found = _parsed(openmetrics() if text is None else text)
    if text is None:
        theirs = _parsed(their_openmetrics(mpmetrics.REGISTRY).decode())
        assert found == theirs, (found, theirs)
        assert found == _collected(), (found, _collected())
    return found


def _key(name: str, labels: dict[str, str]) -> str:
    return name + "".join(f" {value}" for _, value in sorted(labels.items()))


def _parsed(text: str) -> dict[str, Any]:
    return {
        _key(sample.name, sample.labels): [dict(sample.exemplar.labels), sample.exemplar.value]
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.exemplar is not None
    }


def _collected() -> dict[str, Any]:
    return {
        _key(sample.name, sample.labels): [sample.exemplar.labels, sample.exemplar.value]
        for metric in mpmetrics.REGISTRY.collect()
        for sample in metric.samples
        if sample.exemplar is not None
    }


# ---- the plays -----------------------------------------------------------------------------------


def several(method: str) -> list[Any]:
    have_both()
    with Actor(method) as one, Actor(method) as other:
        for actor in (one, other):
            actor.do(have_both)
        seen = []
        for number, (who, amount) in enumerate([(one, 1), (other, 2), (one, 3), (None, 4)]):
            labels = {"trace_id": str(number)}
            if who is None:
                count(amount, labels)
                observe(amount, labels)
            else:
                who.do(count, amount, labels)
                who.do(observe, amount, labels)
            everybody = [shown(), one.do(shown), other.do(shown)]
            assert everybody == [everybody[0]] * 3, everybody
            seen.append(everybody[0])
        one.kill()
        assert shown() == seen[-1]
        other.do(count, 1, {"trace_id": "5"})
        return [*seen, shown()]


def killed(method: str) -> dict[str, Any]:
    """The newest is a killed process's; then another process has its shard."""
    have_both()
    count(1, {"trace_id": "old"})
    with Actor(method) as one:
        one.do(have_both)
        one.do(count, 1, {"trace_id": "of the dead"})
        one.do(observe, 1, {"trace_id": "of the dead"})
        one.kill()
    seen = [shown()]
    with Actor(method) as other:
        other.do(have_both)
        other.do(observe, 0.5, {})
        seen.append(shown())
        other.do(observe, 0.5, {"trace_id": "new"})
        seen.append(shown())
    return {"seen": seen, "free": store.current().statistics()["free_shards"]}


CALLS: list[tuple[str, float, Any]] = [
    ("c", 1, {"trace_id": "a"}),
    ("c", 2.5, None),
    ("h", 0.5, {"trace_id": "b", "span_id": "c"}),
    ("h", 1.5, {}),
    ("h", 1.75, {"zeta": "z", "alpha": "a"}),
    ("h", 1e300, {"trace_id": 'a "quoted" \\ back\nslash'}),
    ("c", 0.25, {"user": "Jürgen", "place": "日本", "smile": "😀"}),
    ("l", 3, {"x": "y" * 127}),
    ("l", 3, None),
    ("l", 1, {"x": ""}),
    ("h", 0.5, {"x": "é" * 127}),
    ("h", 1.5, {"x": "😀" * 127}),
    ("h", 0.25, {f"l{i}": "v" for i in range(32)}),
]


def _their_own(calls: list[tuple[str, float, Any]], module: Any) -> str:
    registry = prometheus_client.CollectorRegistry()
    metrics = {
        "c": module.Counter("c", "h", registry=registry),
        "h": module.Histogram("h", "h", registry=registry, buckets=[1, 2]),
        "l": module.Counter("l", "h", ["who"], registry=registry).labels("me"),
    }
    for key, amount, exemplar in calls:
        update = metrics[key].observe if key == "h" else metrics[key].inc
        update(amount, exemplar)
    text = openmetrics(registry) if module is mpmetrics else their_openmetrics(registry).decode()
    return "\n".join(_without_times(line) for line in text.splitlines() if "_created" not in line)


def _without_times(line: str) -> str:
    return line.rpartition(" ")[0] if " # " in line else line


def as_theirs() -> list[list[str]]:
    """After each call the page of either library."""
    pages = []
    for last in range(1, len(CALLS) + 1):
        pages.append(
            [_their_own(CALLS[:last], module) for module in (prometheus_client, mpmetrics)]
        )
    return pages


def limits() -> dict[str, Any]:
    have_both()
    outcome: dict[str, Any] = {}
    for name, labels in (
        ("129 code points", {"x": "y" * 128}),
        ("129 in two labels", {"x" * 64: "", "y": "z" * 64}),
        ("129 umlauts", {"x": "ü" * 128}),
        ("no such name", {"0": "y"}),
        ("a dash", {"a-b": "y"}),
        ("reserved", {"__x": "y"}),
        ("empty name", {"": "y"}),
        ("no str", {"x": 1}),
        ("name no str", {1: "x"}),
    ):
        for call in (count, observe):
            try:
                call(1, labels)  # type: ignore[arg-type]
            except Exception as error:
                outcome.setdefault(name, []).append(type(error).__name__)
            else:
                outcome.setdefault(name, []).append(None)
    values = {
        sample.name: sample.value
        for metric in mpmetrics.REGISTRY.collect()
        for sample in metric.samples
        if sample.name in ("c_total", "h_count", "h_sum")
    }
    return {"errors": outcome, "values": values, "exemplars": shown()}


def text_format() -> list[str]:
    have_both()
    count(1, {"trace_id": "a"})
    observe(1, {"trace_id": "b"})
    pages = [
        mpmetrics.generate_latest(mpmetrics.REGISTRY).decode(),
        prometheus_client.generate_latest(mpmetrics.REGISTRY).decode(),
    ]
    return [
        line for page in pages for line in page.splitlines() if "trace_id" in line or " # " in line
    ]


def removed(method: str) -> list[Any]:
    have("Counter", "l", ["l", "h", ["who"]])
    child = KEPT["l"].labels("me")
    child.inc(1, {"trace_id": "before"})
    with Actor(method) as actor:
        actor.do(have, "Counter", "l", ["l", "h", ["who"]])
        actor.do(_count_label, "me", {"trace_id": "also before"})
        seen = [shown()]
        actor.do(_remove_label, "me")
        child.inc(1, {"trace_id": "for nobody"})
        seen.append(shown())
        KEPT["l"].labels("me").inc()  # the same words, without an exemplar
        seen.append(shown())
        actor.do(_count_label, "me", {"trace_id": "after"})
        return [*seen, shown()]


def _count_label(who: str, exemplar: dict[str, str]) -> None:
    KEPT["l"].labels(who).inc(1, exemplar)


def _remove_label(who: str) -> None:
    KEPT["l"].remove(who)


def storm(rounds: int) -> list[dict[str, Any]]:
    """Label sets with exemplars of both sizes, made and removed."""
    have("Counter", "l", ["l", "h", ["who"]])
    have("Histogram", "hl", ["hl", "h", ["who"]])
    seen = []
    for last in (rounds // 10, rounds):
        for i in range(last):
            KEPT["l"].labels(str(i)).inc(1, {"x": "y" * (120 if i % 2 else 10)})
            KEPT["hl"].labels(str(i)).observe(1, {"x": "ü" * (120 if i % 2 else 10)})
            KEPT["l"].remove(str(i))
            KEPT["hl"].remove(str(i))
        seen.append(statistics())
    return seen


def together(method: str, times: int) -> dict[str, Any]:
    """Scrapes while two processes write exemplars: each that is shown is whole."""
    have_both()
    with Actor(method) as one, Actor(method) as other:
        threads = []
        for number, actor in enumerate((one, other)):
            actor.do(have_both)
            threads.append(threading.Thread(target=actor.do, args=(_write_many, number, times)))
        for thread in threads:
            thread.start()
        torn, scrapes = [], 0
        while scrapes < 20 or any(thread.is_alive() for thread in threads):
            scrapes += 1
            for labels, value in _parsed(openmetrics()).values():
                if len(set(labels.values())) > 1 or float(labels["a"][:6]) != value:
                    torn.append([labels, value])
        for thread in threads:
            thread.join()
    return {"torn": torn[:3], "scrapes": scrapes}


def _write_many(number: int, times: int) -> None:
    for i in range(times):
        value = 100000 + 2 * i + number
        text = str(value) * (1 if i % 3 else 8)
        count(value, {"a": text, "b": text})
        observe(value, {"a": text, "b": text})
