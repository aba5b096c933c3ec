"""What the processes of test_sigkill.py do: observe without pause, say how often, and be killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from mpmetrics import Counter, Gauge, Histogram, Summary, generate_latest, store

from .watching import LIMIT, read, wait_stopped, wait_until, words

SECONDS = Histogram("seconds", "A histogram.", buckets=(0.5, 2.0))
SIZE = Summary("size", "A summary.")
JOBS = Counter("jobs", "A counter.")
LEVEL = Gauge("level", "A gauge with a mode.", multiprocess_mode="sum")
LABELLED = Counter("labelled", "Made anew all the time.", ["n"])
KINDS = ("seconds_count", "size_count", "jobs_total", "level")


def observe(path: str) -> None:
    """Each update is acknowledged after it is made: at a kill at most one isn't yet."""
    done = words(len(KINDS), path)
    updates = (
        lambda: SECONDS.observe(1.0),
        lambda: SIZE.observe(1.0),
        lambda: JOBS.inc(),
        lambda: LEVEL.inc(),
    )
    n = 0
    while True:
        n += 1
        for kind, update in enumerate(updates):
            update()
            done[kind] = n


def page() -> dict[str, float]:
    return read(generate_latest())


def shards() -> dict[str, int]:
    joined = store.current()
    assert joined is not None
    numbers = joined.statistics()
    return {name: numbers[name] for name in ("processes", "free_shards", "private")}


def kill_again_and_again(method: str, times: int, folder: str) -> dict[str, Any]:
    """Kills one worker after the other; what was wrong after each of them."""
    context = multiprocessing.get_context(method)
    wrong, before, after_first = [], dict.fromkeys(KINDS, 0.0), None
    for i in range(times):
        path = Path(folder, f"worker-{i}")
        done = words(len(KINDS), str(path))
        worker = context.Process(target=observe, args=(str(path),))
        worker.start()
        enough = 200 + 37 * i  # another place of the loop, as luck will have it
        wait_until(lambda: done[3] >= enough, "no updates")  # noqa: B023
        alive = shards()
        os.kill(worker.pid, signal.SIGKILL)
        worker.join(LIMIT)
        assert worker.exitcode == -signal.SIGKILL
        now = page()
        for kind, name in enumerate(KINDS):
            acked = done[kind]
            counted = now[name] - before[name]
            if not acked <= counted <= acked + 1:
                wrong.append(f"{i}: {name} counted {counted}, acknowledged {acked}")
        if not (now["seconds_count"] == now["seconds_sum"] == now['seconds_bucket{le="+Inf"}']):
            wrong.append(f"{i}: torn {now}")
        if now["size_count"] != now["size_sum"]:
            wrong.append(f"{i}: torn {now}")
        before = {name: now[name] for name in KINDS}
        dead = shards()
        if after_first is None:
            after_first = (alive, dead)
        if (alive, dead) != after_first:
            wrong.append(f"{i}: shards {alive}, {dead}, but after the first {after_first}")
    return {"wrong": wrong, "alive": after_first[0], "dead": after_first[1]}


# ---- killed while it holds the store's lock, sooner or later -------------------------------------


def make_series(path: str) -> None:
    """Makes and removes label sets without pause: most of the time it holds the lock."""
    done = words(1, path)
    n = 0
    while True:
        n += 1
        LABELLED.labels(str(n % 40)).inc()
        done[0] = n
        if n % 3 == 0:
            LABELLED.remove(str(n % 40))


def kill_in_the_lock(times: int, folder: str) -> dict[str, Any]:
    """Everything goes on after each kill, of which one at least was in the lock."""
    joined = store.current()
    assert joined is not None
    context = multiprocessing.get_context("fork")
    slowest, mine, sizes = 0.0, 0.0, []
    for i in range(20 * times):
        if i >= times and i % 50 == 0 and joined.statistics()["repairs"] > 0:
            break
        path = Path(folder, f"makers-{i}")
        done = words(1, str(path))
        makers = [context.Process(target=make_series, args=(str(path),)) for _ in range(2)]
        for maker in makers:
            maker.start()
        wait_until(lambda: done[0] >= 20 + i % 50, "no updates")  # noqa: B023
        for maker in makers:
            os.kill(maker.pid, signal.SIGKILL)
        for maker in makers:
            maker.join(LIMIT)
        began = time.monotonic()
        LABELLED.labels(f"mine-{i % 10}").inc()
        page()
        slowest = max(slowest, time.monotonic() - began)
        if i % 50 == 49:  # no label set is left: what is in use now is the same each time
            mine += sum(
                v for name, v in page().items() if name.startswith('labelled_total{n="mine')
            )
            LABELLED.clear()
            sizes.append(joined.statistics()["used_bytes"])
    return {
        "lost": len(sizes) * 50 - mine,
        "slowest": slowest,
        "sizes": sizes,
        "private": shards()["private"],
        "shards": shards()["processes"] + shards()["free_shards"],
        "repairs": joined.statistics()["repairs"],
    }


def stopped() -> dict[str, float]:
    """A worker stopped by SIGSTOP, wherever it was, holds nobody up for long."""
    context = multiprocessing.get_context("fork")
    slowest = 0.0
    done = words(1)

    def make() -> None:
        n = 0
        while True:
            n += 1
            LABELLED.labels(str(n % 40)).inc()
            LABELLED.remove(str(n % 40))
            done[0] = n

    for i in range(20):
        done[0] = 0
        maker = context.Process(target=make)
        maker.start()
        wait_until(lambda: done[0] >= 20, "no updates")
        os.kill(maker.pid, signal.SIGSTOP)
        began = time.monotonic()
        LABELLED.labels(f"new-{i}").inc()
        page()
        slowest = max(slowest, time.monotonic() - began)
        os.kill(maker.pid, signal.SIGKILL)
        maker.join(LIMIT)
    joined = store.current()
    assert joined is not None
    values = page()
    found = sum(values.get(f'labelled_total{{n="new-{i}"}}', 0.0) for i in range(20))
    return {"slowest": slowest, "found": found, "private": joined.statistics()["private"]}


def page_beside_a_stopped_owner(method: str) -> dict[str, Any]:
    """What a process shows that begins while the owner of the lock stands still."""
    LABELLED.labels("mine").inc(3)
    SECONDS.observe(1.0)
    maker = multiprocessing.get_context("fork").Process(target=make_series_for_ever)
    maker.start()
    stop_in_the_lock(maker.pid or 0)
    try:
        context: Any = multiprocessing.get_context(method)
        pages = context.SimpleQueue()
        newcomer = context.Process(target=send_page, args=(pages,))
        newcomer.start()
        theirs, private = pages.get()
        newcomer.join(LIMIT)
    finally:
        maker.kill()
        maker.join(LIMIT)
    return {"theirs": without_makers(theirs), "ours": without_makers(page()), "private": private}


def make_series_for_ever() -> None:
    while True:
        LABELLED.labels("made").inc()
        LABELLED.remove("made")


def stop_in_the_lock(pid: int) -> None:
    """Stops it where no label set can be made by others."""
    joined = store.current()

    def is_in_it() -> bool:
        os.kill(pid, signal.SIGSTOP)
        wait_stopped(pid)
        child = LABELLED.labels("probe")
        child.inc()
        if joined.statistics()["private"] > 0:
            return True
        LABELLED.remove("probe")
        os.kill(pid, signal.SIGCONT)
        return False

    wait_until(is_in_it, "it is never stopped in the lock")


def send_page(pages: Any) -> None:
    joined = store.current()
    pages.put((page(), joined.settle()))


def without_makers(values: dict[str, float]) -> dict[str, float]:
    return {k: v for k, v in values.items() if '"made"' not in k and '"probe"' not in k}


def thread_killed_with_process() -> bool:
    """Several threads write when the kill comes; the next process counts on."""
    context = multiprocessing.get_context("fork")
    done = words(4)

    def write() -> None:
        def thread(i: int) -> None:
            n = 0
            while True:
                n += 1
                SECONDS.observe(1.0)
                done[i] = n

        for i in range(4):
            threading.Thread(target=thread, args=(i,)).start()

    worker = context.Process(target=write)
    worker.start()
    wait_until(lambda: all(done[i] > 100 for i in range(4)), "no updates")
    os.kill(worker.pid, signal.SIGKILL)
    worker.join(LIMIT)
    acked = sum(done[i] for i in range(4))
    counted = page()["seconds_count"]
    assert acked <= counted <= acked + 4, (acked, counted)
    SECONDS.observe(1.0)
    assert page()["seconds_count"] == counted + 1
    return True
