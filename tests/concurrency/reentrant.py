"""What the programs of test_reentrancy.py do: updates that interrupt updates, from everywhere."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.crash.full import limit
from tests.kinds import STATES, Kinds, differences, page
from tests.sharing import share

from mpmetrics import Counter, Gauge, Histogram, generate_latest, store

SECONDS = 0.6  # of each, at the least
ENOUGH = 10  # updates by each part of it, and a few more
LIMIT = 30.0
SUMS = ("jobs_total", "size_sum", "seconds_sum", "level", "parts")  # of the values, each

kinds = Kinds()
RESET = Counter("reset", "Reset all the time.")


class Tally:
    """How much was counted under each label; each writer has one of its own."""

    def __init__(self, writer: str) -> None:
        self.writer = writer
        self.values: dict[str, int] = {}
        self.n = 0

    def touch(self) -> None:
        """One update of each kind, of a label set that others touch, too, and of a new one."""
        self.n += 1
        value = self.n % 4 + 1
        for label in (f"shared-{self.n % 5}", f"{self.writer}-{self.n % 50}"):
            kinds.touch(label, value)
            self.values[label] = self.values.get(label, 0) + value

    def churn(self) -> None:
        """Label sets that come and go; whatever they count, somebody may remove it meanwhile."""
        label = f"gone-{self.n % 7}"
        kinds.touch(label, 1)
        for each in kinds.all:
            each.remove(label)


def wrong(*tallies: Tally) -> dict[str, Any]:
    """What the page shows of their label sets that isn't the sum of what they counted."""
    totals: dict[str, int] = {}
    for tally in tallies:
        for label, value in tally.values.items():
            totals[label] = totals.get(label, 0) + value
    truth = {f'{n}{{l="{label}"}}': float(v) for label, v in totals.items() for n in SUMS}
    found = {
        name: value
        for name, value in page().items()
        if name.partition("{")[0] in SUMS and 'l="gone' not in name
    }
    return differences(truth, found)


def _loop(tight: bool, parts: Callable[[], Iterable[int]]) -> Iterator[int]:
    """Numbers for a while, until all parts have done enough: some may not get to run for long.

    `tight`: meanwhile the store may grow, and mostly may not, so that something is dropped."""

    def enough() -> bool:
        return min(parts()) > ENOUGH and (_numbers()["dropped"] > 0 or not tight)

    n, began = 0, time.monotonic()
    limit(1 if tight else 0)
    while (spent := time.monotonic() - began) < SECONDS or (spent < LIMIT and not enough()):
        n += 1
        if tight and n % 20 == 0:
            limit(0 if n % 100 == 0 else 1)
        yield n
    limit(0)


# ---- threads -------------------------------------------------------------------------------------


@contextmanager
def threads(*loops: Callable[[int], object]) -> Iterator[list[BaseException]]:
    """Each loop in a thread of its own until the block ends, with its own exceptions."""
    over = threading.Event()
    failed: list[BaseException] = []

    def run(loop: Callable[[int], object]) -> None:
        n = 0
        try:
            while not over.is_set():
                n += 1
                loop(n)
        except BaseException as error:
            failed.append(error)

    started = [threading.Thread(target=run, args=(loop,)) for loop in loops]
    for each in started:
        each.start()
    try:
        yield failed
    finally:
        over.set()
        for each in started:
            each.join(LIMIT)
        assert not any(each.is_alive() for each in started), "a thread hangs"


def _scrape(n: int) -> None:
    generate_latest()


def _reset(n: int) -> None:
    RESET.inc()
    RESET.reset()


def many_threads(tight: bool) -> dict[str, Any]:
    """Updates, new label sets, removal, resets and scrapes, all at once."""
    tallies = [Tally(f"thread-{i}") for i in range(6)]
    churner = Tally("churner")

    def update(tally: Tally) -> Callable[[int], None]:
        return lambda n: tally.touch()

    def churn(n: int) -> None:
        churner.n = n
        churner.churn()

    limit(1 if tight else 0)
    with threads(*map(update, tallies), churn, churn, _scrape, _reset) as failed:
        for _ in _loop(tight, lambda: (tally.n for tally in tallies)):
            time.sleep(0.0005)
    return {
        "failed": [repr(error) for error in failed],
        "wrong": wrong(*tallies),
        "updates": min(tally.n for tally in tallies),
        "dropped": _numbers()["dropped"],
    }


def forks_among_threads(times: int) -> dict[str, Any]:
    """A thread forks while others update, make label sets and scrape; so does each child."""
    tallies = [Tally(f"thread-{i}") for i in range(3)]
    children = Tally("child")

    def update(tally: Tally) -> Callable[[int], None]:
        return lambda n: tally.touch()

    bad = []
    with threads(*map(update, tallies), _scrape, _reset) as failed:
        for i in range(times):
            label = f"child-{i % 50}"
            pid = os.fork()
            if pid == 0:
                signal.alarm(int(LIMIT))  # a child that hangs ends so
                kinds.touch(label, 2)
                generate_latest()
                kinds.touch(label, 1)
                share()
                os._exit(0)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if status != 0:
                bad.append(status)
            children.values[label] = children.values.get(label, 0) + 3
    return {
        "failed": [repr(error) for error in failed],
        "bad": bad,
        "wrong": wrong(*tallies, children),
        "shards": _numbers()["processes"] + _numbers()["free_shards"],
    }


def _numbers() -> dict[str, Any]:
    joined = store.current()
    assert joined is not None
    return joined.statistics()


# ---- signals -------------------------------------------------------------------------------------


def from_signal_handlers(tight: bool) -> dict[str, Any]:
    """A handler interrupts whatever the program does every fraction of a millisecond."""
    mine, handlers = Tally("main"), Tally("handler")

    def handle(*_: object) -> None:
        handlers.touch()
        handlers.churn()

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    try:
        for n in _loop(tight, lambda: (handlers.n, mine.n)):
            mine.touch()
            mine.churn()
            if n % 50 == 0:
                generate_latest()
                _reset(n)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return {
        "wrong": wrong(mine, handlers),
        "handled": handlers.n,
        "updates": mine.n,
        "dropped": _numbers()["dropped"],
    }


# ---- the garbage collector -----------------------------------------------------------------------


class _Dying:
    """Counts when it is collected, wherever that may be."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.me = self  # so that only the collector ends it

    def __del__(self) -> None:
        self.tally.touch()
        self.tally.churn()


def from_the_collector(tight: bool) -> dict[str, Any]:
    """`__del__` and gc.callbacks count, at every allocation that starts a collection."""
    mine, dying, callbacks = Tally("main"), Tally("dying"), Tally("callback")
    busy = False

    def called(phase: str, info: dict[str, int]) -> None:
        nonlocal busy
        if not busy:  # its own allocations collect, too
            busy = True
            callbacks.touch()
            busy = False

    before = gc.get_threshold()
    gc.callbacks.append(called)
    gc.set_threshold(1)
    try:
        for n in _loop(tight, lambda: (dying.n, callbacks.n, mine.n)):
            _Dying(dying)
            mine.touch()
            mine.churn()
            if n % 20 == 0:
                _reset(n)
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(called)
        gc.collect()
    return {
        "wrong": wrong(mine, dying, callbacks),
        "died": dying.n,
        "called": callbacks.n,
        "updates": mine.n,
        "dropped": _numbers()["dropped"],
    }


# ---- arguments -----------------------------------------------------------------------------------


class Meddler:
    """An argument that does something else whenever it is asked anything."""

    def __init__(self, meddle: Callable[[], object], value: int = 1) -> None:
        self.meddle = meddle
        self.value = value

    def __float__(self) -> float:
        self.meddle()
        return float(self.value)

    def __str__(self) -> str:
        self.meddle()
        return "meddler"


class MeddlingText(str):
    """A label value that is itself asked when it is looked up."""

    meddle: Callable[[], object]

    def __str__(self) -> str:
        return self

    def __eq__(self, other: object) -> bool:
        self.meddle()
        return str.__eq__(self, other)  # type: ignore[no-any-return]

    def __hash__(self) -> int:
        self.meddle()
        return str.__hash__(self)


class MeddlingPairs(dict[str, str]):
    """An exemplar's labels."""

    meddle: Callable[[], object]

    def items(self) -> Any:
        self.meddle()
        return super().items()


LEVEL = Gauge("plain_level", "Without labels.")
JOBS = Counter("plain_jobs", "Without labels.")
SIZES = Histogram("plain_sizes", "Without labels.", buckets=(1, 2))


def _ask(meddle: Callable[[], object]) -> None:
    """Every way to hand the meddler to a metric: each counts one."""
    text, pairs = MeddlingText("text"), MeddlingPairs(trace="1")
    text.meddle = pairs.meddle = meddle
    number = Meddler(meddle)
    JOBS.inc(number)  # type: ignore[arg-type]
    JOBS.inc(1, pairs)
    LEVEL.inc(number)  # type: ignore[arg-type]
    LEVEL.set(number)  # type: ignore[arg-type]
    SIZES.observe(number)  # type: ignore[arg-type]
    SIZES.observe(1, pairs)
    kinds.jobs.labels(number).inc()
    kinds.jobs.labels(text).inc()
    kinds.state.labels("plain").state(_State(meddle))  # type: ignore[arg-type]


class _State:
    """Equal to the second state, after some thought."""

    def __init__(self, meddle: Callable[[], object]) -> None:
        self.meddle = meddle

    def __eq__(self, other: object) -> bool:
        self.meddle()
        return other == STATES[1]

    __hash__ = None  # type: ignore[assignment]


def _counted() -> list[float]:
    """Of the plain ones: what `_ask` counts up."""
    found = page("plain_")
    return [found["plain_jobs_total"], found["plain_sizes_count"], found["plain_sizes_sum"]]


def arguments() -> dict[str, Any]:
    """Arguments that update, remove, reset, scrape and collect while they are converted."""
    mine = Tally("meddler")
    busy = False

    def once(meddle: Callable[[], object]) -> Callable[[], None]:
        """Not while it is at it: what it touches may be asked in its turn."""

        def ask() -> None:
            nonlocal busy
            if not busy:
                busy = True
                meddle()
                busy = False

        return ask

    ways: dict[str, Callable[[], object]] = {
        "update": mine.touch,
        "remove": lambda: [each.clear() for each in (kinds.jobs, kinds.state)],
        "scrape": generate_latest,
        "collect": gc.collect,
    }
    outcome: dict[str, Any] = {}
    before = _counted()
    for n, (name, meddle) in enumerate(ways.items(), start=1):
        _ask(once(meddle))
        outcome[name] = [a - b - 2 * n for a, b in zip(_counted(), before, strict=True)]
    JOBS.inc(Meddler(JOBS.reset, 5))  # type: ignore[arg-type]
    outcome["reset"] = _counted()[0] - 5
    return outcome


def arguments_that_fork() -> dict[str, Any]:
    """An argument forks while it is converted: the update counts once in each process."""
    LEVEL.set(0)
    before = _counted()
    parent = os.getpid()
    statuses: list[int] = []

    def fork() -> None:
        """Once in each process that was there at first; its child only goes on."""
        if os.getpid() != parent:
            return
        pid = os.fork()
        if pid != 0:
            statuses.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    forks = 0
    for ask in (
        lambda: JOBS.inc(Meddler(fork)),  # type: ignore[arg-type]
        lambda: JOBS.inc(1, _pairs(fork)),
        lambda: SIZES.observe(Meddler(fork)),  # type: ignore[arg-type]
        lambda: SIZES.observe(1, _pairs(fork)),
        lambda: LEVEL.inc(Meddler(fork)),  # type: ignore[arg-type]
        lambda: kinds.state.labels("forked").state(_State(fork)),  # type: ignore[arg-type]
        lambda: kinds.jobs.labels(Meddler(fork)).inc(),
    ):
        asked = len(statuses)
        ask()
        if os.getpid() != parent:
            share()
            os._exit(0)
        forks += len(statuses) - asked
    found = page("plain_")
    return {
        "statuses": sorted(set(statuses)),
        "forks": forks,
        "counted": [a - b for a, b in zip(_counted(), before, strict=True)],
        "level": found["plain_level"],
        "labelled": found['jobs_total{l="meddler"}'],
        "state": found[f'state{{l="forked",state="{STATES[1]}"}}'],
    }


def _pairs(meddle: Callable[[], object]) -> MeddlingPairs:
    pairs = MeddlingPairs(trace="1")
    pairs.meddle = meddle
    return pairs
