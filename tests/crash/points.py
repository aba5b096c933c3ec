"""What the processes of test_crash_points.py do: work that passes every crash point of the core.

The name of the point to die at is in the environment of the one process that is to die there. What
it did before is written down outside of the store, as in the storm.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.plays.stopped import lock_of_the_newest

from mpmetrics import (
    REGISTRY,
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
from mpmetrics.heap import Heap
from mpmetrics.lock import Lock
from mpmetrics.types import Box, Dict

from .watching import LIMIT, is_dead, read, wait_stopped, wait_until, words

JOBS = Counter("jobs", "A counter.")
SIZE = Summary("size", "A summary.")
SECONDS = Histogram("seconds", "A histogram with exemplars.", buckets=(0.5, 2.0))
LEVEL = Gauge("level", "A gauge.")
PART = Gauge("part", "A gauge with a mode.", multiprocess_mode="sum")
LABELLED = Counter("labelled", "Some label sets stay.", ["n"])
WIDE = Histogram("wide", "Each of its label sets takes 16 KiB.", ["n"], buckets=range(2000))
STATE = Enum("state", "A state.", states=["on", "off"])
ABOUT = Info("about", "Two names for one thing.")
HELPED: list[Any] = [Counter("helped", "The first help.")]
HEAP = Heap()
LOCK = Box[Lock](HEAP)
TABLE = Box[Dict](HEAP)
KINDS = (
    "jobs_total",
    "size_count",
    "seconds_count",
    "level",
    "part",
    "labelled_total",
    "helped_total",
)
HOLDER = len(KINDS)  # the word after those of the kinds: who is stopped in the lock, 0: nobody
WIDES = 9  # more than a chunk of the word space


class Work:
    """One worker's work; `number` names its label sets."""

    def __init__(self, number: int, done: memoryview) -> None:
        self.number = number
        self._done = done

    def count(self, kind: str, update: Callable[[], object]) -> None:
        update()
        self._done[KINDS.index(kind)] += 1

    def run(self) -> None:
        self.count("jobs_total", JOBS.inc)
        self.take_over_from_the_dead()
        for n in range(4):
            self.update_each(n)
        for n in range(6):
            self.count("labelled_total", LABELLED.labels(f"{self.number}-{n}").inc)
        self.come_and_go()
        self.remove_without_the_lock()
        self.declare_again()
        self.use_heap()
        generate_latest()

    def take_over_from_the_dead(self) -> None:
        """Whoever had the store's lock, then the heap's, died in it giving a block back."""
        for give_back in (remove_one, free_one):
            assert -signal.SIGKILL == in_child(give_back, "heap.give.named")
            self.count("labelled_total", LABELLED.labels(f"{self.number}-{give_back.__name__}").inc)
            HEAP.malloc(100).free()

    def update_each(self, n: int) -> None:
        self.count("jobs_total", JOBS.inc)
        self.count("size_count", partial(SIZE.observe, 1.0))
        for exemplar in (None, {"a": "short"}, {"a": "€" * 80}):
            self.count("seconds_count", partial(SECONDS.observe, 1.0, exemplar))
        self.count("level", LEVEL.inc)
        self.count("part", PART.inc)
        STATE.state(("on", "off")[n % 2])
        ABOUT.info({"a": f"{self.number}-{n}", "b": f"{self.number}-{n}"})

    def come_and_go(self) -> None:
        """Label sets and families that are made anew, in new memory and in what others left."""
        for n in range(WIDES):
            WIDE.labels(f"{self.number}-{n}").observe(1, {"a": "short"})
        for n in range(20):
            LABELLED.labels(f"gone-{n}").inc(0)
        for n in range(20):
            LABELLED.remove(f"gone-{n}")
        LABELLED.labels(f"gone-{self.number}").inc(0)
        private: Any = Counter("private", "Goes with its object.", registry=CollectorRegistry())
        private.inc()
        del private
        gc.collect()

    def declare_again(self) -> None:
        """Others have the family too, so it is the same one with another help."""
        REGISTRY.unregister(HELPED.pop())
        HELPED.append(Counter("helped", f"The help of {self.number}."))
        self.count("helped_total", HELPED[0].inc)

    def remove_without_the_lock(self) -> None:
        """The lock's owner is alive and doesn't get on; the next one who gets it tidies up."""
        holder = multiprocessing.get_context("fork").Process(target=stop_with_a_lease)
        holder.start()
        self._done[HOLDER] = holder.pid
        wait_stopped(holder.pid)
        with lock_of_the_newest(store.current().path):
            LABELLED.labels(f"{self.number}-0")
            LABELLED.remove(f"gone-{self.number}")
        holder.kill()
        holder.join(LIMIT)
        self._done[HOLDER] = 0
        remove_one()

    def use_heap(self) -> None:
        block = HEAP.malloc(3000)
        with LOCK:
            block.free()
        TABLE[f"{self.number}"] = self.number


def stop_with_a_lease() -> None:
    JOBS.inc(0)
    os.kill(os.getpid(), signal.SIGSTOP)


def remove_one() -> None:
    LABELLED.labels("removed").inc(0)
    LABELLED.remove("removed")


def free_one() -> None:
    HEAP.malloc(100).free()


def in_child(what: Callable[[], object], point: str = "") -> int:
    """Does it in a forked child, which is to die at that point; the child's exit code."""

    def run() -> None:
        os.environ["MPM_CRASH_AT"] = point
        what()

    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    # Not join: it waits for the child's own children, too.
    wait_until(lambda: child.exitcode is not None, f"a child hangs at {point}")
    assert child.exitcode is not None
    return child.exitcode


# ---- who looks at what is left -------------------------------------------------------------------


def repair() -> None:
    """Takes a shard and both locks, from the dead if need be, and changes no number."""
    JOBS.inc(0)
    remove_one()
    free_one()
    with LOCK:
        pass


class Ward:
    """The process that lives on, and all that it has found wrong."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.rows: list[memoryview] = []
        self.killed = self.killed_repairs = 0
        self.in_use = HEAP.statistics().blocks
        ABOUT.info({"a": "nobody", "b": "nobody"})

    def start(self, point: str = "") -> int:
        """A worker that is to die at that point, or nowhere; its exit code."""
        self.rows.append(words(len(KINDS) + 1))
        return in_child(Work(len(self.rows), self.rows[-1]).run, point)

    def expect(self, true: bool, what: str) -> None:
        if not true:
            self.wrong.append(what)

    def look(self, when: str) -> dict[str, float]:
        """The totals of a scrape, of which each is what was committed and whole."""
        values = read(generate_latest())
        totals = {kind: values.get(kind, 0.0) for kind in KINDS}
        for name, value in values.items():
            if name.startswith("labelled_total{"):
                totals["labelled_total"] += value
        more = [totals[kind] - sum(row[k] for row in self.rows) for k, kind in enumerate(KINDS)]
        exact = min(more) >= 0 and sum(more) <= self.killed
        self.expect(exact, f"{when} {totals}, of which {more} nobody acknowledged")
        for kind in ("seconds", "size"):
            self.expect(values[f"{kind}_count"] == values[f"{kind}_sum"], f"{when} {kind} is torn")
        about = [name.split('"')[1::2] for name in values if name.startswith("about_info")]
        self.expect(len(about) == 1 and len(set(about[0])) == 1, f"{when} Info is {about}")
        states = sorted(value for name, value in values.items() if name.startswith("state{"))
        self.expect(states == [0.0, 1.0], f"{when} Enum is {states}")
        return totals

    def survive(self, at: str, again: list[str]) -> bool:
        """Kills a worker at that passage of a point; False: it was never passed so often.

        Those who come to repair what it left are killed, too, each at another point."""
        exitcode = self.start(at)
        if exitcode == 0:
            return False
        end_holder(self.rows[-1][HOLDER])
        self.killed += 1
        self.expect(exitcode == -signal.SIGKILL, f"the worker ended with {exitcode}")
        totals = self.look("after the kill")
        for point in again:
            exitcode = in_child(repair, point)
            self.expect(exitcode in (0, -signal.SIGKILL), f"{point}: repair ended with {exitcode}")
            self.killed_repairs += exitcode != 0
        self.check("after the repairs")
        self.expect(totals == self.look("after the repairs"), "repairs change totals")
        self.expect(self.start() == 0, "the next worker doesn't work")
        self.look("after the next worker")
        self.check("after the next worker")
        return True

    def check(self, when: str) -> None:
        joined = store.current()
        numbers = joined.statistics()
        self.expect(numbers["processes"] == 1, f"{when} there are {numbers['processes']} living")
        self.expect(numbers["free_shards"] <= SHARDS, f"{when} there are too many shards")
        self.expect(numbers["private"] == 0, f"{when} something is private")
        broken = joined.check()
        self.expect(broken is None, f"{when} the store is damaged: {broken}")
        lost = HEAP.statistics().blocks - self.in_use
        self.expect(
            0 <= lost <= self.killed + self.killed_repairs, f"{when} {lost} blocks are lost"
        )


def end_holder(pid: int) -> None:
    """Ends the one that a killed worker has left stopped."""
    if pid != 0:
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: is_dead(pid), f"{pid} does not die")


SHARDS = 2  # besides this process's own: a worker's, and that of the child that it lets die
LATER = (3,)  # passages


def kill_at(point: str, points: list[str]) -> dict[str, Any]:
    """What was wrong after workers were killed at that point, and how many were."""
    ward = Ward()
    if ward.survive(point, points):
        for n in LATER:
            ward.survive(f"{point}:{n}", [])
    return {"wrong": ward.wrong, "killed": ward.killed, "killed repairs": ward.killed_repairs}
