"""Processes whose metrics only their children declare, and stores named in odd ways."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from typing import Any

import mpmetrics
from mpmetrics import store, storefile

from .basics import KEPT, Actor, have, page
from .logged import Lines

LIMIT = 60.0


def count(_: object = None) -> None:
    have("Counter", "jobs", ["jobs", "h"])
    KEPT["jobs"].inc()


def jobs() -> float:
    return page().get("jobs_total", 0.0)


def _in_a_fork() -> None:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            count()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


def pool(method: str, path: str | None) -> float:
    """What the parent sees of tasks that declare what they count, in a store that it may name."""
    if path is not None:
        mpmetrics.Store(path)
    with multiprocessing.get_context(method).Pool(2) as workers:
        workers.map_async(count, range(20), chunksize=1).get(LIMIT)
        workers.close()
        workers.join()
    return jobs()


def forks() -> list[float]:
    """Two forks that know nothing of each other, then this process."""
    _in_a_fork()
    _in_a_fork()
    count()
    return [jobs()]


def fork_while_another_thread_declares(first: str) -> list[Any]:
    """What is shown of both, and how many stores there are, if both look for one at a time."""
    looked = {"fork": threading.Event(), "thread": threading.Event()}
    find = store._find

    def find_last(*args: Any, **kwargs: Any) -> Any:
        me = "thread" if threading.current_thread() is thread else "fork"
        found = find(*args, **kwargs)
        looked[me].set()
        if me != first:
            assert looked[first].wait(LIMIT)
            time.sleep(0.1)  # and it goes on
        return found

    def declare() -> None:
        have("Counter", "threads", ["threads", "h"])
        KEPT["threads"].inc()

    thread = threading.Thread(target=declare)
    store._find = find_last
    thread.start()
    _in_a_fork()
    thread.join()
    path = store.current().path
    assert path is not None
    mine = [name for name in os.listdir(os.path.dirname(path)) if f"{os.getpid()}-" in name]
    return [page()["threads_total"], jobs(), len(mine)]


def named_after_a_fork(path: str, counts: bool) -> list[Any]:
    """Where the store is that was named after a fork, what is in it, and what was made before."""
    ours, theirs = os.pipe()
    begun, said = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(theirs)
        if counts:
            count()
        os.write(said, b" ")
        os.read(ours, 1)
        store._leave()  # as at an orderly end
        os._exit(0)
    os.read(begun, 1)
    before = os.environ["MPMETRICS_PARENT_STORE"].partition("|")[0]
    made = os.path.exists(before)
    lines = Lines()
    named = mpmetrics.Store(path)
    count()
    os.close(theirs)
    os.waitpid(pid, 0)
    return [named.path, jobs(), made, os.path.exists(before), len(lines.said)]


# The forkserver has mpmetrics, and forks its first child before there is a store.
_PRELOADING = """
import json, multiprocessing
if __name__ == "__main__":
    multiprocessing.set_forkserver_preload(["mpmetrics"])
    from tests.plays import undeclared
    context = multiprocessing.get_context("forkserver")
    first = context.Process(target=print)
    first.start()
    first.join(60)
    undeclared.count()
    for _ in range(2):
        child = context.Process(target=undeclared.count)
        child.start()
        child.join(60)
    print(json.dumps(undeclared.jobs()))
"""


def preloading_forkserver() -> Any:
    done = subprocess.run(
        [sys.executable, "-c", _PRELOADING],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
    )
    return json.loads(done.stdout)


def relative(method: str, folder: str) -> dict[str, Any]:
    """A store named by a relative path, in a process and its child that go elsewhere."""
    os.chdir(folder)
    os.environ["MPMETRICS_STORE"] = "here/../store"
    count()
    os.chdir("/")
    with Actor(method) as child:
        child.do(os.chdir, "/tmp")
        child.do(count)
        seen = [jobs(), child.do(jobs)]
    has_name = storefile.has_name(store.current())
    os.chdir(folder)
    return {
        "seen": seen,
        "has name": has_name,
        "named again": mpmetrics.Store("store").path,
        "path": store.current().path,
    }
