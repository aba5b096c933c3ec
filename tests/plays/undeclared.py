"""Processes whose metrics only their children declare, and stores named in odd ways."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from typing import Any

import mpmetrics
from mpmetrics import store, storefile

from .basics import KEPT, Actor, have, page

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


def named_after_a_fork(path: str) -> list[Any]:
    """Where the store is that was named after a fork, what is in it, and what was made before."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    before = os.environ["MPMETRICS_PARENT_STORE"].partition("|")[0]
    made = os.path.exists(before)
    named = mpmetrics.Store(path)
    count()
    return [named.path, jobs(), made, os.path.exists(before)]


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
