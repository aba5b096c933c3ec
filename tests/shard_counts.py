"""What the processes of test_dump.py do: count as many as they are told, and say who they are."""

from __future__ import annotations

import os
import threading

from tests.concurrency.actors import Actor

from mpmetrics import Counter, Enum, Gauge, Histogram, Info, Summary, store

JOBS = Counter("jobs", "Jobs done.", ["kind"])
SECONDS = Histogram("seconds", "Time.", buckets=(1, 2))
SIZE = Summary("size", "Size.")
LOAD = Gauge("load", "Of all.", multiprocess_mode="sum")
PEAK = Gauge("peak", "Of the highest.", multiprocess_mode="max")
EACH = Gauge("each", "One by one.", multiprocess_mode="all")
BUSY = Gauge("busy", "Of the living.", multiprocess_mode="livesum")
ACCENTS = Counter("é", "Of a name that the core leaves to Python.")
LEVEL = Gauge("level", "Everybody's.")
STATE = Enum("state", "Everybody's.", states=["a", "b"])
ABOUT = Info("about", "Everybody's.")


def count(times: int) -> int:
    for _ in range(times):
        JOBS.labels("all").inc(exemplar={"trace": "x"})
        SECONDS.observe(1.5)
        SIZE.observe(2)
        ACCENTS.inc()
        LEVEL.inc()
        for gauge in (LOAD, PEAK, EACH, BUSY):
            gauge.inc()
    JOBS.labels(str(times)).inc()
    STATE.state("b")
    ABOUT.info({"version": "1"})
    return os.getpid()


def family(method: str, die: bool) -> None:
    """Prints who counted how much; then lives until its input ends, or dies at once."""
    mine = count(1)
    with Actor(method) as five, Actor(method) as seven:
        pids = [mine, five.do(count, 5), seven.do(count, 7)]
        print(*pids, flush=True)
        if die:
            five.kill()
            seven.kill()
            os.kill(mine, 9)
        input()


def succession(method: str) -> list[int]:
    """One child is killed, another takes its place; which, and what stands in its shard."""
    count(1)
    with Actor(method) as first:
        killed = first.do(count, 5)
        first.kill()
    with Actor(method) as second:
        heir = second.do(count, 2)
        joined = store.current()
        return [killed, heir, *(pid for _, pid, _, alive in joined.shards() if alive)]


def observe_until_told() -> None:
    """Observes in a thread, without pause, until its input ends."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            for _ in range(1000):
                SECONDS.observe(1.5)

    thread = threading.Thread(target=work)
    thread.start()
    print("ready", flush=True)
    input()
    over.set()
    thread.join()
