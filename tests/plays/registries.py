"""What the processes of test_two_registries.py do, in an interpreter of their own.

Two registries beside the default one: with a name, and without at a module's top level.
"""

from __future__ import annotations

import gc
import sys
import urllib.parse
import urllib.request
from typing import Any

import prometheus_client

import mpmetrics

from .basics import actors, statistics

NAMED = mpmetrics.CollectorRegistry(name="admin")
UNNAMED = mpmetrics.CollectorRegistry()
REGISTRIES = {"default": mpmetrics.REGISTRY, "named": NAMED, "unnamed": UNNAMED}

# In each registry a family of the same name, and one of its own.
SHARED = {
    which: mpmetrics.Counter("shared", which, ["who"], registry=registry)
    for which, registry in REGISTRIES.items()
}
OWN = {
    which: mpmetrics.Histogram(f"own_{which}", "h", buckets=[1], registry=registry)
    for which, registry in REGISTRIES.items()
}
INFO = mpmetrics.Info("build", "h", registry=NAMED)
SERVERS: dict[str, Any] = {}
LATE: list[Any] = []


def serve() -> dict[str, int]:
    """Serves each registry on a port of its own, by this process."""
    for which, registry in REGISTRIES.items():
        SERVERS[which], _ = mpmetrics.start_http_server(0, "127.0.0.1", registry=registry)
    return {which: server.server_port for which, server in SERVERS.items()}


def work(number: int) -> None:
    for i, which in enumerate(REGISTRIES):
        SHARED[which].labels(f"worker {number % 2}").inc(10**i)
        OWN[which].observe(i)


def declare_late(which: str) -> None:
    LATE.append(mpmetrics.Gauge("late", "h", registry=REGISTRIES[which]))
    LATE[-1].set(5)


def _get(port: int, *names: str) -> dict[str, float]:
    query = urllib.parse.urlencode([("name[]", name) for name in names])
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics?{query}", timeout=20) as answer:
        text = answer.read().decode()
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if not line.startswith(("#", "python_", "process_")) and "_created" not in line
    }


def served(method: str, count: int) -> dict[str, Any]:
    """Each of some workers serves all three registries; what each of them shows."""
    with actors(method, count) as workers:
        ports = [worker.do(serve) for worker in workers]
        for number, worker in enumerate(workers):
            worker.do(work, number)
        workers[0].do(declare_late, "named")
        pages: dict[str, Any] = {}
        for which in REGISTRIES:
            everybody = [_get(port[which]) for port in ports]
            assert everybody == [everybody[0]] * count, everybody
            pages[which] = everybody[0]
        filtered = {}
        for names in (
            ["shared_total"],
            ["own_named_count", "late"],
            ["late"],
            ["own_unnamed_sum", "shared_total"],
            ["nothing"],
        ):
            for which in REGISTRIES:
                everybody = [_get(port[which], *names) for port in ports]
                assert everybody == [everybody[0]] * count, (names, everybody)
                filtered[" ".join([which, *names])] = sorted(everybody[0])
    return {"pages": pages, "filtered": filtered}


# ---- batch jobs ----------------------------------------------------------------------------------


def _job(number: int, bodies: list[bytes]) -> None:
    """One batch job: a registry of its own, made, filled, pushed and dropped."""
    registry = mpmetrics.CollectorRegistry()
    mpmetrics.Gauge("last", "h", registry=registry).set(number)
    counter = mpmetrics.Counter("rows", "h", ["table"], registry=registry)
    for table in ("a", "b"):
        counter.labels(table).inc(number)
    mpmetrics.Histogram("took", "h", registry=registry).observe(0.3, {"trace_id": str(number)})
    mpmetrics.Summary("size", "h", registry=registry).observe(1)
    mpmetrics.Info("job", "h", registry=registry).info({"number": str(number)})
    mpmetrics.Enum("state", "h", states=["a", "b"], registry=registry).state("b")
    mpmetrics.Gauge("live", "h", multiprocess_mode="livesum", registry=registry).inc()

    def capture(url: str, method: str, timeout: float, headers: Any, data: bytes) -> Any:
        return lambda: bodies.append(data)

    prometheus_client.push_to_gateway("nowhere", "batch", registry, handler=capture)


def _lines(body: bytes) -> list[str]:
    lines = body.decode().splitlines()
    return sorted(line for line in lines if not line.startswith("#") and "_created" not in line)


def _measure() -> dict[str, Any]:
    gc.collect()
    numbers = statistics()
    return {
        **{key: numbers[key] for key in ("used_bytes", "series", "blocks", "file_bytes")},
        "objects": len(gc.get_objects()),
        "memory": sys.getallocatedblocks(),
    }


def batch(few: int, many: int) -> dict[str, Any]:
    """Jobs one after the other: what is left after a few and after many."""
    bodies: list[bytes] = []
    families = len(_families())
    measured = []
    for first, last in ((0, few), (few, many)):
        for number in range(first, last):
            bodies.clear()
            _job(number, bodies)
        measured.append(_measure())
    return {
        "measured": measured,
        "families": len(_families()) - families,
        "body": _lines(bodies[0]),
        "default": [name for name in _names() if name in ("rows", "last", "took")],
    }


def _families() -> list[Any]:
    from mpmetrics import store

    return store.current().catalog()


def _names() -> list[str]:
    return [metric.name for metric in mpmetrics.REGISTRY.collect()]


def batch_in_workers(method: str, count: int) -> dict[str, Any]:
    """The same by a pool of processes, each of which ends."""
    from .basics import Actor

    for _ in range(2):
        with Actor(method) as actor:
            actor.do(_some_jobs, 3)
    before = statistics()
    for _ in range(count):
        with Actor(method) as actor:
            actor.do(_some_jobs, 3)
            actor.kill()
    with Actor(method) as actor:
        actor.do(_some_jobs, 1)
    after = statistics()
    return {key: [before[key], after[key]] for key in ("used_bytes", "series", "blocks")}


def _some_jobs(count: int) -> None:
    for number in range(count):
        _job(number, [])
