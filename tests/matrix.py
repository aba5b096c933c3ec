"""What the processes of test_matrix.py and test_pickle.py do, in interpreters of their own."""

from __future__ import annotations

import multiprocessing
import pickle
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import BaseContext
from typing import Any

from mpmetrics import (
    CollectorRegistry,
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    Summary,
    generate_latest,
    store,
)
from mpmetrics.atomic import AtomicInt64
from mpmetrics.heap import Heap
from mpmetrics.types import Box

LIMIT = 60.0
JOBS = Counter("jobs", "Jobs done.", ["kind"])  # declared again wherever this module is imported
shared: tuple[Any, Any] | None = None  # a box and a counter


def total(kind: str = "a") -> float:
    """In a scrape by this process."""
    for line in generate_latest().decode().splitlines():
        if line.startswith(f'jobs_total{{kind="{kind}"}}'):
            return float(line.split()[1])
    return -1.0


def work(box: Any, counter: Any) -> bool:
    """Adds to both; are they what this process has of its own?"""
    box.add(1)
    counter.inc()
    return counter is JOBS.labels("a")


def adopt(box: Any, counter: Any) -> None:
    global shared
    shared = box, counter


def work_on_global() -> bool:
    assert shared is not None
    return work(*shared)


def work_as_imported(box: Any) -> bool:
    """With the counter of the module as this process imported it."""
    return work(box, JOBS.labels("a"))


def _process(ctx: BaseContext, target: Any, *args: Any) -> None:
    child = ctx.Process(target=target, args=args)
    child.start()
    child.join(LIMIT)
    assert child.exitcode == 0, child.exitcode


def _argument(ctx: BaseContext, box: Any, counter: Any) -> None:
    _process(ctx, work, box, counter)


def _pool(ctx: BaseContext, box: Any, counter: Any) -> None:
    with ctx.Pool(1) as pool:
        assert pool.apply_async(work, (box, counter)).get(LIMIT)


def _executor(ctx: BaseContext, box: Any, counter: Any) -> None:
    with ProcessPoolExecutor(1, mp_context=ctx) as executor:
        assert executor.submit(work, box, counter).result(LIMIT)


def _global(ctx: BaseContext, box: Any, counter: Any) -> None:
    """Inherited by a fork; by the initialiser's arguments otherwise."""
    adopt(box, counter)
    if ctx.get_start_method() == "fork":
        _process(ctx, work_on_global)
        return
    with ctx.Pool(1, adopt, (box, counter)) as pool:
        assert pool.apply_async(work_on_global).get(LIMIT)


def _module(ctx: BaseContext, box: Any, counter: Any) -> None:
    with ctx.Pool(1) as pool:
        assert pool.apply_async(work_as_imported, (box,)).get(LIMIT)


WAYS = {
    "argument": _argument,
    "pool": _pool,
    "executor": _executor,
    "global": _global,
    "module": _module,
}


def cell(method: str, way: str) -> list[float]:
    """What both hold after this process and a child have added to them."""
    box, counter = Box[AtomicInt64](Heap(1 << 20)), JOBS.labels("a")
    work(box, counter)
    WAYS[way](multiprocessing.get_context(method), box, counter)
    return [box.get(), total()]


# ---- pickles of metrics --------------------------------------------------------------------------

METRICS = {
    "counter": Counter("c", "Help."),
    "gauge": Gauge("g", "Help.", multiprocess_mode="livesum"),
    "summary": Summary("s", "Help.", ["l"], unit="seconds"),
    "histogram": Histogram("h", "Help.", buckets=(1, 2)),
    "info": Info("i", "Help."),
    "enum": Enum("e", "Help.", states=["on", "off"]),
    "named registry": Counter("n", "Help.", registry=CollectorRegistry(name="mine")),
    "no registry": Counter("p", "Help.", registry=None),
}


def same_here() -> list[str]:
    """The metrics that are not themselves after a pickle."""
    everything = dict(METRICS, child=METRICS["summary"].labels("x"))
    return [
        name
        for name, metric in everything.items()
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
        if pickle.loads(pickle.dumps(metric, protocol)) is not metric
    ]


UNKNOWN = """
import pickle, sys
metric = pickle.loads(sys.stdin.buffer.read())
again = pickle.loads(pickle.dumps(metric))
assert again is metric
metric.inc(3)
import mpmetrics
declared = mpmetrics.Counter("made", "Help.", ["l"])  # a module that is imported late
declared.labels("x").inc(4)
metric.inc(5)
"""


def unknown() -> list[float]:
    """A counter's total after a process that had never heard of it, but its pickle, counted."""
    import os
    import subprocess

    metric = Counter("made", "Help.", ["l"]).labels("x")
    metric.inc()
    environment = dict(os.environ, MPMETRICS_STORE=store.current().path)
    child = subprocess.run(
        [sys.executable, "-c", UNKNOWN],
        input=pickle.dumps(metric),
        env=environment,
        check=True,
        timeout=LIMIT,
    )
    return [child.returncode, next(iter(metric.collect())).samples[0].value]


def _count_private(metric: Any) -> None:
    metric.inc()


def private(method: str) -> float:
    """A counter in no registry of the child's, handed to it."""
    registry = CollectorRegistry()
    metric = Counter("own", "Help.", registry=registry)
    metric.inc()
    _process(multiprocessing.get_context(method), _count_private, metric)
    return float(registry.get_sample_value("own_total"))


OTHER = """
import logging, pickle, sys
logging.basicConfig(format="%(message)s")
metric = pickle.loads(sys.stdin.buffer.read())
metric.inc(3)
print(next(iter(metric.collect())).samples[0].value)
"""


def other_store(gone: bool) -> list[float]:
    """Totals here and in a process that has another store, or can't have the pickle's."""
    import subprocess

    metric = Counter("made", "Help.")
    metric.inc()
    data = pickle.dumps(metric)
    if gone:
        data = data.replace(store.current().identity.encode(), b"0" * len(store.current().identity))
    child = subprocess.run(
        [sys.executable, "-c", OTHER], input=data, capture_output=True, check=True, timeout=LIMIT
    )
    told = b"own store" in child.stderr
    return [next(iter(metric.collect())).samples[0].value, float(child.stdout), told]


def by_value(method: str) -> list[float]:
    """A function that cloudpickle sends by value counts in the counter that it closes over."""
    import cloudpickle

    counter = Counter("closed", "Help.", ["l"])
    child_counter = counter.labels("x")

    def task() -> None:
        child_counter.inc()
        counter.labels("y").inc()

    data = cloudpickle.dumps(task)
    task()
    _process(multiprocessing.get_context(method), run_pickle, data)
    return sorted(sample.value for sample in next(iter(counter.collect())).samples[:3:2])


def run_pickle(data: bytes) -> None:
    pickle.loads(data)()
