"""What test_soak.py runs: many workers one after the other, half of them killed."""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterable
from typing import Any

from mpmetrics import Counter, Gauge, Histogram, Info, Summary, generate_latest, store

from .watching import LIMIT, read, wait_until, words

JOBS = Counter("jobs", "A counter.")
SECONDS = Histogram("seconds", "A histogram.", buckets=(0.5, 2.0))
SIZE = Summary("size", "A summary.")
LEVEL = Gauge("level", "A gauge.")
PARTS = [
    Gauge(f"of_{mode}", "Of the living.", multiprocess_mode=mode)
    for mode in ("livesum", "livemax", "livemin", "livemostrecent", "liveall")
]
SUM = Gauge("of_sum", "Of the living and the dead.", multiprocess_mode="sum")
LABELLED = Counter("labelled", "One worker's.", ["n"])
ABOUT = Info("about", "The latest worker.")
TOTALS = ("jobs_total", "seconds_count", "size_count", "level", "of_sum")
ROUNDS = len(TOTALS)  # the word after those of the totals
ENDS = ("runs", "ends", "rests", "ends")  # who doesn't end by itself is killed
FEW = 3  # rounds of updates, of those who may end by themselves
SPAWNED, FIRST_SPAWNED = 200, 50  # every so many-th worker is spawned, all others forked
SCRAPES = 1000  # of which the processor's time is measured


def work(number: int, path: str, end: str) -> None:
    """Counts in everything, each time acknowledged outside of the store."""
    done = words(ROUNDS + 1, path)
    updates = (
        JOBS.inc,
        lambda: SECONDS.observe(1.0),
        lambda: SIZE.observe(1.0),
        LEVEL.inc,
        SUM.inc,
    )
    for n in itertools.count(1):
        for k, update in enumerate(updates):
            update()
            done[k] += 1
        for part in PARTS:
            part.set(number)
        LABELLED.labels(f"{number:06}").inc()
        ABOUT.info({"worker": f"{number:06}"})
        LABELLED.remove(f"{number:06}")
        done[ROUNDS] += 1
        if n == FEW and end == "ends":
            return
        if n == FEW and end == "rests":
            signal.pause()


def figures() -> dict[str, Any]:
    """What must not grow."""
    ABOUT.info({"worker": "nobody"})
    numbers = store.current().statistics()
    kept = ("file_bytes", "used_bytes", "blocks", "series", "processes", "free_shards", "private")
    gc.collect()
    page = generate_latest().decode().splitlines()
    return {name: numbers[name] for name in kept} | {
        "lines of a page": len([line for line in page if "python" not in line]),
        "descriptors": len(os.listdir("/proc/self/fd")),
    }


def costs() -> dict[str, float]:
    """Seconds of the processor that a scrape costs, and the memory of the process that scrapes."""
    began = time.process_time()
    for _ in range(SCRAPES):
        generate_latest()
    scrape = (time.process_time() - began) / SCRAPES
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[1])
    return {
        "scrape": scrape,
        "resident": pages * os.sysconf("SC_PAGE_SIZE"),
        "objects": sys.getallocatedblocks(),
    }


class Soak:
    """Starts the workers, and keeps count of what they acknowledged."""

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, "acknowledged")
        self._done = words(ROUNDS + 1, self._path)
        self._in_flight = 0  # updates, at the most, of those who were killed while they counted
        self.wrong: list[str] = []

    def run(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._one(number, ENDS[number % len(ENDS)])

    def _one(self, number: int, end: str) -> None:
        is_spawned = number % SPAWNED == FIRST_SPAWNED
        context: Any = multiprocessing.get_context("spawn" if is_spawned else "fork")
        enough = self._done[ROUNDS] + FEW
        worker = context.Process(target=work, args=(number, self._path, end))
        worker.start()
        if end != "ends":
            wait_until(lambda: self._done[ROUNDS] >= enough, "no updates")
            worker.kill()
        worker.join(LIMIT)
        if worker.exitcode != (0 if end == "ends" else -signal.SIGKILL):
            self.wrong.append(f"worker {number} ended with {worker.exitcode}")
        worker.close()
        self._in_flight += end == "runs"
        LABELLED.clear()  # what one that was killed has left
        self._look(number)

    def _look(self, number: int) -> None:
        values = read(generate_latest())
        for k, name in enumerate(TOTALS):
            more = values[name] - self._done[k]
            if not 0 <= more <= self._in_flight:
                self.wrong.append(f"{name} is {more} too much after {number}")
        live = [name for name in values if name.startswith("of_live")]
        if live:
            self.wrong.append(f"the dead are shown after {number}: {live}")


def soak(folder: str, workers: int, few: int) -> dict[str, Any]:
    """What was wrong, and the figures and costs after a few of the workers and after all."""
    gc.freeze()
    began, one = time.monotonic(), Soak(folder)
    one.run(range(1, few + 1))
    first = figures(), costs()
    one.run(range(few + 1, workers + 1))
    last = figures(), costs()
    return {
        "wrong": one.wrong[:5],
        "figures": [first[0], last[0]],
        "costs": [first[1], last[1]],
        "check": store.current().check(),
        "seconds": time.monotonic() - began,
    }
