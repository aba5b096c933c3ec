"""What the processes of test_start_methods.py do: families of processes of every shape.

Each function runs in an interpreter of its own and returns what it read; every member of a family
adds to one counter."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from tests.sharing import share

from mpmetrics import Counter, Gauge, _native, generate_latest, store

JOBS = Counter("jobs", "Jobs done.")
THREADED = Counter("threaded", "Jobs done by threads.", ["thread"])
LIMIT = 30.0


def jobs() -> float:
    """The total in a scrape by this process."""
    for line in generate_latest().decode().splitlines():
        if line.startswith("jobs_total "):
            return float(line.split()[1])
    return -1.0


def count() -> None:
    JOBS.inc()


def count_and_share() -> None:
    """What one does that goes by os._exit and isn't alone."""
    count()
    share()


# ---- os.fork -------------------------------------------------------------------------------------


def forked(work: Callable[[], Any]) -> int:
    """Runs `work` in a forked child; the child's pid."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return pid


def reap(pid: int) -> None:
    assert os.waitpid(pid, 0)[1] == 0


def _fork() -> None:
    reap(forked(count))


def _double_fork() -> None:
    """The child ends before its own child counts, as a daemoniser's does."""
    here, there = os.pipe()
    end_read, end_write = os.pipe()

    def grandchild() -> None:
        os.close(there)
        os.read(here, 1)  # returns when the middle one has ended
        count()

    def middle() -> None:
        os.close(end_read)
        forked(grandchild)

    reap(forked(middle))
    os.close(here)
    os.close(there)
    os.close(end_write)
    os.read(end_read, 1)  # returns when the grandchild has ended
    os.close(end_read)


def _fork_of_fork() -> None:
    def child() -> None:
        count()
        reap(forked(count))
        count()

    reap(forked(child))


def _fork_in_thread() -> None:
    thread = threading.Thread(target=_fork)
    thread.start()
    thread.join(LIMIT)


def _fork_before_the_first_write() -> None:
    """Nobody has a lease yet when they part."""
    pids = [forked(count_and_share) for _ in range(4)]
    for pid in pids:
        reap(pid)


def _fork_after_unshared_count() -> None:
    def child() -> None:
        reap(forked(count_and_share))

    count()
    pids = [forked(child) for _ in range(3)]
    count()
    for pid in pids:
        reap(pid)


def _exec_after_fork() -> None:
    """A child that becomes another program leaves its numbers."""

    def child() -> None:
        count()
        os.execv("/bin/true", ["true"])

    reap(forked(child))


_SHAPES = {
    "fork": _fork,
    "double fork": _double_fork,
    "fork of a fork": _fork_of_fork,
    "fork in a thread": _fork_in_thread,
    "fork before the first write": _fork_before_the_first_write,
    "forks of forks": _fork_after_unshared_count,
    "exec after fork": _exec_after_fork,
}


def grow(tree: str) -> list[float]:
    """The total after that tree has grown, and the total that a last child sees and sends."""
    _SHAPES[tree]()
    read, write = os.pipe()

    def last() -> None:
        count()
        os.write(write, str(jobs()).encode())

    before = jobs()
    reap(forked(last))
    return [before, float(os.read(read, 100))]


# ---- multiprocessing -----------------------------------------------------------------------------


def descend(methods: list[str]) -> None:
    count()
    if methods:
        child = multiprocessing.get_context(methods[0]).Process(target=descend, args=(methods[1:],))
        child.start()
        child.join(LIMIT)
        assert child.exitcode == 0


def nested(methods: list[str]) -> float:
    """A child, its child and so on, by these start methods; each counts one."""
    descend(methods)
    return jobs()


def count_for(argument: int) -> float:
    JOBS.inc()
    return jobs()


def pool(method: str) -> float:
    with multiprocessing.get_context(method).Pool(2, maxtasksperchild=5) as workers:
        seen = workers.map_async(count_for, range(40), chunksize=4).get(LIMIT)
        workers.close()
        workers.join()
    assert max(seen) <= 40.0
    return jobs()


def executor(method: str) -> float:
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as workers:
        list(workers.map(count_for, range(40), timeout=LIMIT))
    return jobs()


def epochs() -> dict[str, Any]:
    """Epochs that parent and child have, leases taken before and after the child's first write."""
    count()
    joined = store.current()
    assert joined is not None
    before = joined.leases
    here, there = os.pipe()
    stay, go = os.pipe()

    def child() -> None:
        os.close(go)
        count()
        os.write(there, str(_native.epoch()).encode())
        os.read(stay, 1)

    pid = forked(child)
    seen = {int(os.read(here, 20)), _native.epoch()}
    numbers = joined.statistics()
    os.close(go)
    reap(pid)
    return {
        "epochs": len(seen),
        "leases": [before, joined.leases],
        "processes": numbers["processes"],
    }


def fork_among_threads() -> bool:
    """Threads of one process update without pause while another thread forks children that do."""
    stop = threading.Event()
    done = {}
    in_progress = Gauge("in_progress", "Children.")

    def update(name: str) -> None:
        child = THREADED.labels(name)
        n = 0
        while not stop.is_set():
            child.inc()
            THREADED.labels(f"{name}-{n % 50}").inc()  # sometimes a miss, which takes the lock
            n += 1
        done[name] = n

    threads = [threading.Thread(target=update, args=(f"t{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()

    def work() -> None:
        for i in range(1000):
            JOBS.inc()
            THREADED.labels(f"child-{i % 10}").inc()
        in_progress.inc()
        share()

    pids = [forked(work) for _ in range(40)]
    for pid in pids:
        reap(pid)
    stop.set()
    for thread in threads:
        thread.join(LIMIT)
    values = {}
    for line in generate_latest().decode().splitlines():
        name, _, value = line.rpartition(" ")
        if not line.startswith("#"):
            values[name] = float(value)
    assert values["jobs_total"] == 40_000.0
    assert values["in_progress"] == 40.0
    for i in range(10):
        assert values[f'threaded_total{{thread="child-{i}"}}'] == 4000.0
    for name, n in done.items():
        assert values[f'threaded_total{{thread="{name}"}}'] == n
        parts = [values.get(f'threaded_total{{thread="{name}-{i}"}}', 0.0) for i in range(50)]
        assert sum(parts) == n
    return True


def many_forks() -> dict[str, int]:
    def numbers() -> tuple[int, int]:
        with open("/proc/self/maps") as maps:
            return len(os.listdir("/proc/self/fd")), sum(joined.path in line for line in maps)

    count()
    joined = store.current()
    assert joined is not None
    _fork()
    before = numbers()
    for _ in range(99):
        _fork()
    after = numbers()
    statistics = joined.statistics()
    assert jobs() == 101.0
    return {
        "descriptors": after[0] - before[0],
        "mappings": after[1] - before[1],
        "shards": statistics["processes"] + statistics["free_shards"],
    }


# ---- programs of their own -----------------------------------------------------------------------

# Without this module: it would declare before the forkserver begins.
_OLD_FORKSERVER = """
import multiprocessing, multiprocessing.forkserver, json
if __name__ == "__main__":
    multiprocessing.forkserver.ensure_running()
    from tests import family_trees
    context = multiprocessing.get_context("forkserver")
    family_trees.count()
    child = context.Process(target=family_trees.count)
    child.start()
    child.join(60)
    print(json.dumps(family_trees.jobs()))
"""

_PRELOADING = """
import multiprocessing, json
if __name__ == "__main__":
    multiprocessing.set_forkserver_preload(["tests.family_trees"])
    from tests import family_trees
    context = multiprocessing.get_context("forkserver")
    family_trees.count()
    for _ in range(2):
        child = context.Process(target=family_trees.count)
        child.start()
        child.join(60)
    print(json.dumps(family_trees.jobs()))
"""

_BESIDE = """
import json, multiprocessing
from tests import family_trees
if __name__ == "__main__":
    family_trees.count()
    first = family_trees.jobs()
    print(json.dumps([first, family_trees.nested(["spawn"])]))
"""


def _output(source: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=LIMIT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def old_forkserver() -> float:
    return _output(_OLD_FORKSERVER)


def preloading_forkserver() -> float:
    return _output(_PRELOADING)


def subprocess_of_its_own() -> list[Any]:
    count()
    theirs = _output(_BESIDE)
    return [jobs(), theirs]


def siblings() -> list[float]:
    """Two more processes that know nothing of this one, one while this one lives, each counting."""
    count()
    first = jobs()
    _output("from tests import family_trees as t; t.count(); print(0)")
    second = jobs()
    last = _output("from tests import family_trees as t; t.count(); print(t.jobs())")
    return [first, second, last]


def declare_late() -> None:
    Counter("late", "Declared by a child alone.").inc()


def _late() -> float:
    for line in generate_latest().decode().splitlines():
        if line.startswith("late_total "):
            return float(line.split()[1])
    return 0.0


def child_declares(method: str) -> list[float]:
    """What the parent's scrape says of a child's family, after one child and again."""
    child = multiprocessing.get_context(method).Process(target=declare_late)
    child.start()
    child.join(LIMIT)
    assert child.exitcode == 0
    return [_late(), _late()]


def close_everything() -> list[float]:
    """Totals after all descriptors but the standard ones were closed, and their numbers reused."""
    count()
    os.closerange(3, 1000)
    files = [os.open("/dev/null", os.O_RDONLY) for _ in range(300)]
    count()
    totals = [jobs()]
    reap(forked(count))
    totals.append(jobs())
    for i in range(300):
        THREADED.labels(f"after {i}").inc()  # enough for the file to grow
    count()
    totals.append(jobs())
    for fd in files:
        os.fstat(fd)  # nobody else closed it
    return totals


def many_scrapes() -> list[int]:
    def numbers() -> tuple[int, int]:
        with open("/proc/self/maps") as maps:
            return len(os.listdir("/proc/self/fd")), sum("mpmetrics-" in line for line in maps)

    count()
    jobs()
    before = numbers()
    for i in range(1000):
        jobs()
        Counter(f"family_{i % 100}", "h", registry=None).inc()
    after = numbers()
    return [after[0] - before[0], after[1] - before[1]]
