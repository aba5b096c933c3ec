"""MultiProcessCollector of ours, asked in each of the ways in which programs ask it."""

from __future__ import annotations

import asyncio
from typing import Any

import prometheus_client
from tests.concurrency.actors import Actor

import mpmetrics
from mpmetrics import CollectorRegistry, multiprocess

# As the documentation of prometheus_client has it: made once, for an app that is mounted.
WHOLE = CollectorRegistry()
multiprocess.MultiProcessCollector(WHOLE)
APP = mpmetrics.make_asgi_app(registry=WHOLE)
NAMELESS = CollectorRegistry(support_collectors_without_names=True)
multiprocess.MultiProcessCollector(NAMELESS)
THEIRS = prometheus_client.CollectorRegistry()
multiprocess.MultiProcessCollector(THEIRS)

ONE, TWO = CollectorRegistry(name="one"), CollectorRegistry(name="two")
BY_NAME = {"one": ONE, "two": TWO}
KEPT: list[Any] = []


def samples(page: bytes) -> dict[str, float]:
    """What a page says, in its order, without when."""
    lines = [line for line in page.decode().splitlines() if line and line[0] != "#"]
    pairs = [line.rsplit(" ", 1) for line in lines if "_created" not in line]
    assert len(pairs) == len(dict(pairs)), f"twice: {pairs}"
    return {name: float(value) for name, value in pairs}


def asked(query: bytes = b"") -> dict[str, float]:
    """The mounted app's page."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": query, "headers": []}
    asyncio.run(APP(scope, receive, send))
    return samples(sent[1]["body"])


def fresh() -> dict[str, float]:
    """As a view does that makes a registry for each scrape."""
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    return samples(mpmetrics.generate_latest(registry))


def declare(name: str, by: float) -> None:
    """In that registry, what adds up exactly."""
    declare_in(BY_NAME[name], by)


def declare_in(registry: CollectorRegistry, by: float) -> None:
    jobs = mpmetrics.Counter("jobs", "h", ["a"], registry=registry)
    jobs.labels("x").inc(by)
    mpmetrics.Histogram("seconds", "h", buckets=[1, 2], registry=registry).observe(by)
    KEPT.append(jobs)


def ways(method: str) -> dict[str, Any]:
    """The same page by every way, in a process that declares nothing, then what comes later."""
    empty = [fresh(), asked()]
    with Actor(method) as one, Actor(method) as two:
        one.do(declare, "one", 1.0)
        two.do(declare, "two", 1.5)
        pages = {
            "fresh": fresh(),
            "app": asked(),
            "nameless": samples(mpmetrics.generate_latest(NAMELESS)),
            "theirs": samples(prometheus_client.generate_latest(THEIRS)),
            "theirs by ours": samples(mpmetrics.generate_latest(THEIRS)),
            "another process": two.do(fresh),
        }
        names = [b"name[]=jobs_total&name[]=seconds_count", b"name[]=nothing"]
        restricted = {
            "app": [asked(query) for query in names],
            "nameless": samples(_part(NAMELESS)),
            "theirs": samples(_part(THEIRS)),
            "by theirs": samples(
                prometheus_client.generate_latest(WHOLE.restricted_registry(["jobs_total"]))
            ),
        }
        one.do(late)
        restricted["late"] = [asked(b"name[]=late_total")]
        one.kill()
        pages["after a kill"] = fresh()
    return {"empty": empty, "pages": pages, "restricted": restricted}


def _part(registry: Any) -> bytes:
    return mpmetrics.generate_latest(registry.restricted_registry(["jobs_total", "seconds_count"]))


def late() -> None:
    KEPT.append(mpmetrics.Counter("late", "h", registry=ONE))


def beside_metrics() -> dict[str, float]:
    """A registry with the collector and metrics that are in its sums: each family once."""
    registry = CollectorRegistry(name="both")
    declare_in(registry, 1.0)
    multiprocess.MultiProcessCollector(registry)
    declare("one", 2.0)
    return samples(mpmetrics.generate_latest(registry))


def unlike() -> dict[str, Any]:
    """Families of one name that can't be added up, or not as they are."""
    mpmetrics.Counter("a", "older", ["x"], registry=ONE).labels("1").inc()
    mpmetrics.Counter("a", "younger", ["y", "z"], registry=TWO).labels("2", "3").inc()
    mpmetrics.Counter("b", "a counter", registry=ONE).inc()
    mpmetrics.Gauge("b", "a gauge", registry=TWO).set(5)
    mpmetrics.Gauge("b_total", "its sample", registry=CollectorRegistry(name="three")).set(7)
    mpmetrics.Histogram("h", "h", buckets=[1, 4], registry=ONE).observe(3)
    mpmetrics.Histogram("h", "h", buckets=[2], registry=TWO).observe(2)
    mpmetrics.Gauge("g", "h", registry=ONE).set(1)
    mpmetrics.Gauge("g", "h", registry=TWO).set(2)
    for registry, version, state in ((ONE, "1", "off"), (TWO, "2", "on")):
        mpmetrics.Info("i", "h", registry=registry).info({"version": version})
        mpmetrics.Enum("e", "h", registry=registry, states=["on", "off"]).state(state)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    page = mpmetrics.generate_latest(registry)
    return {
        "samples": samples(page),
        "types": [line for line in page.decode().splitlines() if line.startswith("# TYPE")],
    }


def exemplars() -> str:
    """The newest exemplar of several registries' counters and buckets, and `_created`."""
    from mpmetrics.exposition import generate_openmetrics

    for number, registry in enumerate((ONE, TWO)):
        counter = mpmetrics.Counter("a", "h", registry=registry)
        histogram = mpmetrics.Histogram("h", "h", buckets=[1], registry=registry)
        counter.inc(1, {"n": str(number)})
        histogram.observe(0.5, {"n": str(number)})
        KEPT.append((counter, histogram))
    KEPT[0][0].inc(1, {"n": "newest"})
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    return generate_openmetrics(registry).decode()


def functions() -> list[Any]:
    """A gauge that follows a function is asked for each scrape of its process."""
    values = iter(range(100))
    mpmetrics.Gauge("g", "h", registry=ONE).set_function(lambda: next(values))
    return [fresh(), fresh()]


def registry_with_little() -> list[Any]:
    """A registry that has `register`, and is none of prometheus_client's."""

    class Registry:
        def __init__(self) -> None:
            self.collectors: list[Any] = []

        def register(self, collector: Any) -> None:
            self.collectors.append(collector)

        def collect(self) -> Any:
            return [metric for each in self.collectors for metric in each.collect()]

    mpmetrics.Counter("x", "h").inc(2)
    registry: Any = Registry()
    collector = multiprocess.MultiProcessCollector(registry)
    return [registry.collectors == [collector], samples(mpmetrics.generate_latest(registry))]


def unregistered() -> list[Any]:
    """By name, before and after the collector is taken out of its registry."""
    mpmetrics.Counter("x", "h").inc(2)
    registry = prometheus_client.CollectorRegistry()
    local = prometheus_client.Gauge("local", "h", registry=registry)
    local.set(1)
    collector = multiprocess.MultiProcessCollector(registry)

    def page(*names: str) -> dict[str, float]:
        return samples(prometheus_client.generate_latest(registry.restricted_registry(names)))

    seen = [page("x_total"), page("local")]
    registry.unregister(collector)
    return [*seen, page("local", "x_total"), page("x_total")]
