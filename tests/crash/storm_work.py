"""What the workers of the storm do until they are killed: every update there is, in random order.

Each update is acknowledged on the board (storm_board.py) once it counts for all. A worker looks at
what it alone knows: a label set of its own shows exactly what it counted in it, and one that was
removed shows nothing.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import Any

from mpmetrics import CollectorRegistry, Counter, Enum, Gauge, Histogram, Info, Summary, store

from .storm_board import (
    BEAT,
    DOING,
    DONE,
    LEFT,
    NAMES,
    RESET,
    RESETS,
    SLOWEST,
    WORKERS,
    Board,
)
from .watching import HANG, wait_until

BOUNDS = (0.5, 1.0, 2.0)
WIDE_BOUNDS = tuple(float(bound) for bound in range(1, 21))
BEYOND = 1000.0  # what is observed beyond the last bound; else it is a bound

JOBS = Counter("jobs", "A counter.")
REQUESTS = Counter("requests", "A counter with labels.", ["code"])
TRACED = Counter("traced", "A counter with exemplars.")
PAID = Counter("paid", "Its exemplars say what amount they are of.")
VISITS = Counter("visits", "A counter that is reset.")
SIZES = Summary("size", "A summary.")
LATENCY = Summary("latency", "A summary with labels.", ["path"])
SECONDS = Histogram("seconds", "A histogram.", buckets=BOUNDS)
WIDE = Histogram("wide", "Labels, buckets and exemplars.", ["path"], buckets=WIDE_BOUNDS)
LEVEL = Gauge("level", "A gauge.")
STOCK = Gauge("stock", "A gauge with labels.", ["shelf"])
ADDED = [Gauge(f"of_{mode}", "Added to.", multiprocess_mode=mode) for mode in ("sum", "livesum")]
UP = [Gauge(f"of_{mode}", "Set.", multiprocess_mode=mode) for mode in ("max", "livemax")]
DOWN = [Gauge(f"of_{mode}", "Set.", multiprocess_mode=mode) for mode in ("min", "livemin")]
LATEST = [
    Gauge(f"of_{mode}", "Set.", multiprocess_mode=mode) for mode in ("mostrecent", "livemostrecent")
]
EACH = [Gauge(f"of_{mode}", "Set.", multiprocess_mode=mode) for mode in ("all", "liveall")]
STATE = Enum("state", "A state.", states=["on", "off", "gone"])
ABOUT = Info("about", "Two names for one thing.")

# Made and removed. The first three have as many words, and so have the two after them, so that each
# is given what another one left.
OWN = (
    (Counter, "own_counter", {}),
    (Gauge, "own_gauge", {}),
    (Enum, "own_state", {"states": ["off", "on"]}),
    (Summary, "own_summary", {}),
    (Histogram, "own_histogram", {"buckets": [1]}),
    (Gauge, "own_sum", {"multiprocess_mode": "sum"}),
)
OWN_METRICS: list[Any] = [
    kind(name, "One worker's.", ["n"], **options) for kind, name, options in OWN
]
COMMON: list[Any] = [
    Gauge("common_gauge", "Any worker's.", ["n"]),
    Counter("common", "Any worker's.", ["n"]),
    Summary("common_summary", "Any worker's.", ["n"]),
    Histogram("common_histogram", "Any worker's.", ["n"], buckets=[1]),
]
CALLS = ("inc", "inc", "state", "observe", "observe", "inc")
PAUSES = "20"  # in a build with crash points: sleep at every 20th, on average


def number(slot: int, n: int) -> float:
    """A number that says whose n-th update set it."""
    return float(n * WORKERS + slot)


def exemplar(slot: int, n: int) -> dict[str, str]:
    """Says the same thing twice; now and then it needs one of the large slots."""
    labels = {"a": f"{slot}-{n}", "b": f"{slot}-{n}"}
    return labels | {"long": "€" * 80} if n % 5 == 0 else labels


def observed(bounds: tuple[float, ...], n: int) -> float:
    return (*bounds, BEYOND)[n % (len(bounds) + 1)]


def updates(slot: int) -> list[Callable[[int], None]]:
    """One function a kind, given the number of the update: from 1 on, all workers of a slot."""
    ok, failed = REQUESTS.labels("200"), REQUESTS.labels("500")
    latency, wide, stock = LATENCY.labels("/a"), WIDE.labels("/b"), STOCK.labels("a")
    return [
        lambda n: JOBS.inc(),
        lambda n: ok.inc(),
        lambda n: failed.inc(),
        lambda n: TRACED.inc(1, exemplar(slot, n)),
        lambda n: PAID.inc(n % 7, {"a": str(n % 7), "b": str(n % 7)}),
        lambda n: VISITS.inc(),
        lambda n: SIZES.observe(1.0),
        lambda n: latency.observe(1.0),
        lambda n: SECONDS.observe(observed(BOUNDS, n)),
        lambda n: wide.observe(observed(WIDE_BOUNDS, n), exemplar(slot, n) if n % 8 == 0 else None),
        lambda n: LEVEL.inc(),
        lambda n: stock.inc(),
        lambda n: ADDED[0].inc(),
        lambda n: ADDED[1].inc(),
        lambda n: UP[0].set(number(slot, n)),
        lambda n: UP[1].set(number(slot, n)),
        lambda n: DOWN[0].set(-number(slot, n)),
        lambda n: DOWN[1].set(-number(slot, n)),
        lambda n: LATEST[0].set(number(slot, n)),
        lambda n: LATEST[1].set(number(slot, n)),
        lambda n: EACH[0].set(number(slot, n)),
        lambda n: EACH[1].set(number(slot, n)),
        lambda n: STATE.state(("on", "off", "gone")[n % 3]),
        lambda n: ABOUT.info({"a": f"{slot}-{n}", "b": f"{slot}-{n}"}),
    ]


def update_own(which: int, child: Any, n: int) -> None:
    """The n-th update of a label set, from 1 on."""
    if CALLS[which] == "state":
        child.state("on")
    elif CALLS[which] == "observe":
        child.observe(1.0)
    else:
        child.inc()


def shown_own(child: Any) -> list[float]:
    """What a label set shows: each of its numbers once; an Enum's state that is true."""
    samples = [s for s in child.collect()[0].samples if not s.name.endswith("_created")]
    return sorted({s.value for s in samples})


def expected_own(which: int, times: int) -> list[float]:
    return [0.0, 1.0] if CALLS[which] == "state" else [float(times)]


class Worker:
    """One worker of a slot, from its start to its death."""

    def __init__(self, folder: str, slot: int, seed: int) -> None:
        self.board = Board(folder)
        self.row = self.board.workers[slot]
        self.slot = slot
        self.dice = random.Random(seed)
        self.store = store.current()
        self.kept: dict[int, Any] = {}  # children of label sets that were removed
        self.updates = updates(slot)

    def run(self) -> None:
        if self.row[LEFT]:
            self.remove_left()
        for kind in range(len(self.updates)):
            self.update(kind)
        while not self.board.is_over():
            what = self.dice.random()
            if what < 0.02:
                self.make_own(self.dice.randrange(len(OWN)))
            elif what < 0.06:
                self.use_common()
            elif what < 0.062:
                self.reset()
            elif what < 0.063:
                self.declare()
            else:
                self.update(self.dice.randrange(len(self.updates)))

    def share(self) -> None:
        """Returns once all that was counted counts for all: what dies private is lost."""
        if self.store.settle():
            wait_until(lambda: not self.store.settle(), "it can't share what it counts", HANG)

    def update(self, kind: int) -> None:
        row = self.row
        n = row[DONE + kind] + 1
        row[DOING] = kind + 1
        self.updates[kind](n)
        self.share()
        row[DONE + kind] = n
        row[BEAT] += 1

    def make_own(self, which: int) -> None:
        """A label set of a name that nobody else has, from its first update to its removal."""
        began, row = time.monotonic_ns(), self.row
        row[NAMES] += 1
        row[LEFT] = row[NAMES] * len(OWN) + which
        name = f"{self.slot}-{row[NAMES]}"
        child = OWN_METRICS[which].labels(name)
        times = self.dice.randint(1, 3)
        for n in range(1, times + 1):
            update_own(which, child, n)
            self.share()
        for kind, kept in self.kept.items():
            update_own(kind, kept, 1)  # counts for nobody, whoever has the words now
        self.expect(f"{OWN[which][1]} {name}", expected_own(which, times), shown_own(child))
        self.remove(which, name, child)
        row[LEFT] = 0
        self.kept[which] = child
        row[SLOWEST] = max(row[SLOWEST], time.monotonic_ns() - began)
        row[BEAT] += 1

    def remove(self, which: int, name: str, child: Any) -> None:
        """Asks until it is gone: while another one has the lock nothing is removed."""

        def is_gone() -> bool:
            OWN_METRICS[which].remove(name)
            return not shown_own(child)

        wait_until(is_gone, f"{OWN[which][1]} {name} can't be removed", HANG)

    def remove_left(self) -> None:
        """What the last worker of this slot was about when it was killed."""
        n, which = divmod(self.row[LEFT], len(OWN))
        self.remove(which, f"{self.slot}-{n}", OWN_METRICS[which].labels(f"{self.slot}-{n}"))
        self.row[LEFT] = 0

    def use_common(self) -> None:
        """A label set that everybody makes, counts in and removes."""
        metric = self.dice.choices(COMMON, (6, 1, 1, 1))[0]
        name = f"n{self.dice.randrange(2)}"
        if self.dice.random() < 0.3:
            metric.remove(name)
            if isinstance(metric, Gauge):  # of as many words: perhaps of those
                self.make_own(1)
        elif isinstance(metric, Summary):
            metric.labels(name).observe(1.0)
        elif isinstance(metric, Histogram):
            metric.labels(name).observe(self.dice.choice((1.0, BEYOND)))
        else:
            metric.labels(name).inc()
        self.share()
        self.row[BEAT] += 1

    def reset(self) -> None:
        self.row[RESETS] += 1
        VISITS.reset()
        self.row[RESET] += 1

    def declare(self) -> None:
        """A family that nobody else has, in a registry without a name: it goes with its objects."""
        metric = Counter("mine", "One worker's family.", registry=CollectorRegistry())
        metric.inc()
        self.share()
        self.expect("a family of its own", [1.0], shown_own(metric))

    def expect(self, what: str, expected: object, actual: object) -> None:
        if expected != actual:
            self.board.tell(f"worker {self.slot}", f"{what} shows {actual}, not {expected}")


def work(folder: str, slot: int, seed: int) -> None:
    """A worker's process. Half of them stand between two stores for most of the time."""
    if slot % 2 == 0:
        os.environ["MPM_CRASH_PAUSE"] = PAUSES
    os.nice(3)  # who kills, and who scrapes, goes first
    worker = Worker(folder, slot, seed)
    try:
        worker.run()
    except Exception as error:
        worker.board.tell(f"worker {slot}", f"{type(error).__name__}: {error}")
        raise
