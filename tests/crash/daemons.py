"""What the programs of test_daemons.py do: all that daemonisers and servers do to a process.

Their answers go by files, since descriptors don't outlive such treatment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.crash import full
from tests.crash.full import NEW, OLD, begin, lines, mount, numbers, old_part, touch
from tests.kinds import differences, expected, page

from mpmetrics import store

NOBODY = 65534


def prepare(kind: str) -> str | None:
    """So that the store is a memfd's, if it is to be one; or why that can't be."""
    if kind == "memfd":
        if (why := mount("/dev/shm", "32k")) is not None:
            return why
        full.fill("/dev/shm/store")
    return None


def in_fork(function: Callable[..., Any], *args: Any) -> Any:
    """What it returns in a forked child; an exception there is an AssertionError here."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)  # the child may have become nobody
        answer = Path(folder, "answer")
        pid = os.fork()
        if pid == 0:
            try:
                answer.write_text(json.dumps(function(*args)))
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, "the child raised"
        return json.loads(answer.read_text())


def state() -> dict[str, Any]:
    """What there is to be seen of this process's store, and what it told the log."""
    joined = store.current()
    assert joined is not None
    found = joined.statistics()
    return {
        "shards": found["processes"] + found["free_shards"],
        "processes": found["processes"],
        "private": numbers()[0],
        "lines": list(lines),
    }


def count(*updates: list[tuple[str, int]]) -> dict[str, Any]:
    for each in updates:
        touch(each)
    return state()


# ---- descriptors closed --------------------------------------------------------------------------


class Foreign:
    """Files that have the numbers now that a process had closed; nobody but us may write them."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        paths = [Path(self._folder.name, str(i)) for i in range(30)]
        self._files = [path.open("w+b") for path in paths]
        for file in self._files:
            file.write(b"mine")
            file.flush()

    def written(self) -> list[int]:
        """Which of them somebody has changed, or closed."""
        return [
            i
            for i, file in enumerate(self._files)
            if os.pread(file.fileno(), 100, 0) != b"mine" or os.fstat(file.fileno()).st_size != 4
        ]


def closed(kind: str, when: str) -> dict[str, Any]:
    """Every descriptor is closed, before the store is found or after; others get its number."""
    if (why := prepare(kind)) is not None:
        return {"refused": why}
    if when == "before":
        os.closerange(3, 65536)
    begin()
    touch(OLD)
    if when == "after":
        os.closerange(3, 65536)
    foreign = Foreign()
    touch(NEW)
    child = in_fork(count, OLD, NEW)
    if is_lost(kind, when):
        wrong = differences(expected(OLD), old_part(page()))
    else:
        wrong = differences(expected(OLD * 2 + NEW * 2), page())
    return {"wrong": wrong, "child": child, "parent": state(), "foreign": foreign.written()}


def is_lost(kind: str, when: str) -> bool:
    """Is the store's file out of reach? Without a name it was the descriptor, and no more."""
    return kind == "memfd" and when == "after"


# ---- a daemon ------------------------------------------------------------------------------------


def daemon(kind: str, answer: str) -> None:
    """Forks twice, leaves its session and folder, closes all; what is left writes the answer."""
    if (why := prepare(kind)) is not None:
        Path(answer).write_text(json.dumps({"refused": why}))
        return
    begin()
    touch(OLD)
    if os.fork() != 0:
        os._exit(0)
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    os.chdir("/")
    os.umask(0)
    os.closerange(3, 65536)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    touch(OLD + NEW)
    worker = in_fork(count, NEW)
    if kind == "memfd":  # the daemon is a fork that finds no file to take a lease in
        wrong = differences(expected(OLD), old_part(page()))
    else:
        wrong = differences(expected(OLD * 2 + NEW * 2), page())
    joined = store.current()
    said = {"wrong": wrong, "worker": worker, "daemon": state(), "path": joined and joined.path}
    Path(answer + ".new").write_text(json.dumps(said))
    os.rename(answer + ".new", answer)


# ---- another user --------------------------------------------------------------------------------


def become_nobody() -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def drop_and_count(*updates: list[tuple[str, int]]) -> dict[str, Any]:
    become_nobody()
    return count(*updates)


def count_and_drop(first: list[tuple[str, int]], *updates: list[tuple[str, int]]) -> dict[str, Any]:
    touch(first)
    become_nobody()
    child = in_fork(count, OLD)  # has nothing but what it inherits
    return {"child": child, "self": count(*updates)}


def changed_uid(kind: str) -> dict[str, Any]:
    """Workers of a root process that become nobody before and after their first write."""
    if (why := prepare(kind)) is not None:
        return {"refused": why}
    begin()
    touch(OLD)
    before = in_fork(drop_and_count, OLD, NEW)
    after = in_fork(count_and_drop, OLD, OLD, NEW)
    itself = in_fork(_drop_at_the_end)
    return {
        "wrong": differences(expected(OLD * 6 + NEW * 3), page()),
        "before": before,
        "after": after,
        "self": itself,
    }


def _drop_at_the_end() -> dict[str, Any]:
    touch(OLD)
    become_nobody()
    return count(NEW)


def changed_uid_first() -> dict[str, Any]:
    """Nobody from before the first metric, though MPMETRICS_STORE names a store of root's.

    Not a fork, which would inherit the store."""
    code = "import json; from tests.crash import daemons; print(json.dumps(daemons._by_nobody()))"
    ended = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=60, check=True
    )
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


def _by_nobody() -> dict[str, Any]:
    become_nobody()
    begin()
    touch(OLD)
    return {"wrong": differences(expected(OLD), page()), "lines": lines}


def living_beside_nobody() -> list[int]:
    """The shard of a living process of another user is not taken over: each has its own."""
    begin()
    here, there = os.pipe()
    back, forth = os.pipe()
    pid = os.fork()
    if pid == 0:
        become_nobody()
        touch(OLD)
        os.write(there, b"x")
        os.read(back, 1)
        touch(OLD)
        os._exit(0)
    os.read(here, 1)
    alive = in_fork(count, OLD)
    os.write(forth, b"x")
    os.waitpid(pid, 0)
    dead = in_fork(count, OLD)
    wrong = differences(expected(OLD * 4), page())
    assert wrong == {}, wrong
    return [alive["shards"], dead["shards"]]


# ---- exec ----------------------------------------------------------------------------------------


COUNTED = ("jobs_total", "size_", "seconds_", "level", "parts")  # what adds up


def counted() -> dict[str, float]:
    return {name: value for name, value in page().items() if name.startswith(COUNTED)}


def once() -> dict[str, float]:
    begin()
    touch(OLD)
    return counted()


def again_and_again(times: int, answer: str) -> None:
    """A program that becomes itself by exec, so many times; the last one writes the answer."""
    begin()
    touch(OLD)
    if times > 1:
        os.execv(
            sys.executable,
            [
                sys.executable,
                "-c",
                f"from tests.crash.daemons import again_and_again as f; f({times - 1}, {answer!r})",
            ],
        )
    joined = store.current()
    assert joined is not None
    leases = joined.statistics()["leases"]
    Path(answer).write_text(json.dumps({"page": counted(), "leases": leases} | state()))
