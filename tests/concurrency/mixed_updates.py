"""What the processes of test_totals.py do: updates of shared label sets, then a scrape each."""

from __future__ import annotations

import itertools
import multiprocessing
import threading
from typing import Any

from tests.sharing import share

PROCESSES = 4
THREADS = 4
UPDATES = 100_000  # of each thread
CODES = ("200", "404", "500")
LIMIT = 30.0


class Declared:
    """The metrics, made on first use: whoever only imports this module declares nothing."""

    def __init__(self) -> None:
        from mpmetrics import Counter, Gauge, Histogram, Summary

        self.requests = Counter("requests", "Whole numbers.", ["code"])
        self.paid = Counter("paid", "Multiples of 1/1024: exact in any order.", ["code"])
        self.running = Gauge("running", "Up and down, one for all.")
        self.level = Gauge("level", "Up and down, with labels.", ["code"])
        self.parts = Gauge("parts", "Up, one a process.", ["code"], multiprocess_mode="sum")
        self.size = Summary("size", "Multiples of 1/1024.", ["code"])
        self.seconds = Histogram("seconds", "In each bucket.", ["code"], buckets=(0.25, 0.5, 1, 2))


def work(declared: Declared, name: int) -> None:
    """One thread's updates: eight kinds in turn, on the label sets in turn."""
    d = declared
    kept = [
        (d.requests.labels(code), d.paid.labels(code), d.level.labels(code), d.parts.labels(code))
        for code in CODES
    ]
    for i in range(UPDATES // 8):
        requests, paid, level, parts = kept[i % 3]
        code = CODES[i % 3]
        requests.inc()
        paid.inc((i % 2048) / 1024)
        d.running.inc(2)
        d.running.dec()
        level.dec(3)
        parts.inc()
        d.size.labels(code).observe((i % 1024) / 1024)
        d.seconds.labels(code).observe((i % 3072) / 1024)


def expected() -> dict[str, float]:
    """The same by arithmetic, for all threads of all processes."""
    times = PROCESSES * THREADS
    steps = range(UPDATES // 8)
    totals: dict[str, float] = {"running": float(len(steps) * times)}
    for k, code in enumerate(CODES):
        mine = steps[k::3]
        label = f'{{code="{code}"}}'
        observed = [(i % 3072) / 1024 for i in mine]
        totals |= {
            f"requests_total{label}": len(mine) * times,
            f"paid_total{label}": sum((i % 2048) / 1024 for i in mine) * times,
            f"level{label}": -3.0 * len(mine) * times,
            f"parts{label}": len(mine) * times,
            f"size_count{label}": len(mine) * times,
            f"size_sum{label}": sum((i % 1024) / 1024 for i in mine) * times,
            f"seconds_count{label}": len(mine) * times,
            f"seconds_sum{label}": sum(observed) * times,
        }
        for bound, text in ((0.25, "0.25"), (0.5, "0.5"), (1, "1.0"), (2, "2.0"), (9, "+Inf")):
            bucket = f'seconds_bucket{{code="{code}",le="{text}"}}'
            totals[bucket] = sum(value <= bound for value in observed) * times
    return {name: float(value) for name, value in totals.items()}


def page(generate: Any) -> dict[str, float]:
    """A scrape as values by sample; without our own times of birth and the process's own state."""
    values = {}
    for line in generate().decode().splitlines():
        name, _, value = line.rpartition(" ")
        if line and not line.startswith("#") and "_created" not in name:
            assert name not in values, f"{name} is shown twice"
            values[name] = float(value)
    return {k: v for k, v in values.items() if not k.startswith(("process_", "python_"))}


def pages() -> list[dict[str, float]]:
    """By our own renderer, and by prometheus_client's, whose float format differs in nothing."""
    import prometheus_client

    import mpmetrics

    return [page(mpmetrics.generate_latest), page(prometheus_client.generate_latest)]


def updater(barrier: Any, results: Any) -> None:
    declared = Declared()
    barrier.wait(LIMIT)
    threads = [threading.Thread(target=work, args=(declared, i)) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    share()
    barrier.wait(LIMIT)  # everybody is done
    results.put(pages())
    barrier.wait(LIMIT)


def bystander(barrier: Any, results: Any) -> None:
    """Imports the package and declares nothing."""
    import mpmetrics  # noqa: F401

    barrier.wait(LIMIT)
    barrier.wait(LIMIT)
    results.put(pages())
    barrier.wait(LIMIT)


def run_all(method: str) -> dict[str, Any]:
    """All pages of all processes that differ from the truth; and how many there were."""
    from mpmetrics import Gauge

    Gauge("parent", "So that there is a store before there are children.").set(1)
    context = multiprocessing.get_context(method)
    barrier = context.Barrier(PROCESSES + 2)
    results = context.Queue()
    children = [
        context.Process(target=target, args=(barrier, results))
        for target in itertools.chain([updater] * PROCESSES, [bystander])
    ]
    for child in children:
        child.start()
    barrier.wait(LIMIT)
    barrier.wait(LIMIT)
    found = [page for _ in children for page in results.get(timeout=LIMIT)]
    found += pages()
    barrier.wait(LIMIT)
    for child in children:
        child.join(LIMIT)
        assert child.exitcode == 0
    found += pages()  # when all are dead
    truth = expected() | {"parent": 1.0}
    return {"pages": len(found), "wrong": [compare(page, truth) for page in found if page != truth]}


def compare(page: dict[str, float], truth: dict[str, float]) -> dict[str, Any]:
    names = sorted(page.keys() | truth.keys())
    return {n: [page.get(n), truth.get(n)] for n in names if page.get(n) != truth.get(n)}
