"""What the programs of test_memory_full.py do: count on while there is no room for more."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.concurrency.actors import Actor
from tests.kinds import Kinds, differences, expected, page

from mpmetrics import StoreCollector, store

VALUES = (1, 2, 4, 5, 7)  # the first state is what an Enum shows before it is told any
OLD = [(f"old-{i % 5}", VALUES[i % 3]) for i in range(20)]
NEW = [(f"new-{i}", VALUES[i % 5]) for i in range(200)]
PRIVATE = "mpmetrics_private_metrics"
DROPPED = "mpmetrics_dropped_series_total"
NEWNS = 0x00020000  # unshare(2): mounts of one's own

kinds: Kinds | None = None
lines: list[str] = []


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        lines.append(record.getMessage())


def begin() -> None:
    """Metrics, the library's own numbers, and an ear for the log."""
    global kinds
    log = logging.getLogger("mpmetrics")
    log.addHandler(_Lines())
    log.propagate = False
    kinds = Kinds()
    StoreCollector()
    signal.signal(signal.SIGXFSZ, lambda *_: lines.append("SIGXFSZ"))


def touch(updates: Iterable[tuple[str, int]]) -> list[str]:
    """All the updates; what was logged so far."""
    if kinds is None:
        begin()
    assert kinds is not None
    for label, value in updates:
        kinds.touch(label, value)
    return lines


def numbers() -> list[float]:
    """How many metrics aren't shared, and how many ever found no room: as a page says it."""
    found = page("mpmetrics_")
    return [found[PRIVATE], found[DROPPED]]


# ---- no room, and room again ---------------------------------------------------------------------


def limit(size: int) -> None:
    """RLIMIT_FSIZE of this process, and of those that it starts; 0: none."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (size or hard, hard))


def fill(path: str) -> Callable[[], None]:
    """The file system of the store, to the last page; what makes room again."""
    ballast = Path(path).parent / "ballast"
    with open(ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast.unlink


def mount(folder: str, size: str) -> str | None:
    """A tmpfs of that size there, for this program and its children; or why there can't be one."""
    if ctypes.CDLL(None, use_errno=True).unshare(NEWNS) != 0:
        return f"unshare: {os.strerror(ctypes.get_errno())}"
    for command in (
        ["mount", "--make-rprivate", "/"],
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder],
    ):
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            return ended.stderr.strip()
    return None


# ---- growth is refused ---------------------------------------------------------------------------


def refused(how: str, method: str) -> dict[str, Any]:
    """Growth is refused, everybody counts on, and there is room again. What was wrong, by when."""
    path = os.environ["MPMETRICS_STORE"]
    if how == "tmpfs" and (why := mount(os.path.dirname(path), "1m")) is not None:
        return {"refused": why}
    begin()
    touch(OLD)
    with Actor(method) as older:  # has a shard before the store is full
        older.do(touch, OLD)
        wrong: dict[str, Any] = {"before": differences(expected(OLD * 2), page())}
        size = os.path.getsize(path)
        make_room = fill(path) if how == "tmpfs" else functools.partial(limit, 0)
        if how == "fsize":
            limit(size)
            older.do(limit, size)
        touch(NEW)
        wrong["alone"] = differences(expected(OLD * 2), old_part(page())) or _counted_out()
        older.do(touch, NEW)
        with Actor(method) as newer:  # has none, and finds the bytes that are kept for it
            newer.do(touch, OLD)
            wrong["with others"] = differences(expected(OLD * 3), old_part(page()))
            wrong["grown"] = os.path.getsize(path) - size
            make_room()
            older.do(limit, 0)
            newer.do(limit, 0)
            touch([])
            older.do(numbers)  # a page; before it, what the process counted by itself is shared
            newer.do(touch, NEW)
            wrong["with room again"] = differences(expected(OLD * 3 + NEW * 3), page())
            logged = [lines, older.do(touch, NEW), newer.do(touch, [])]
    wrong["at the end"] = differences(expected(OLD * 3 + NEW * 4), page())
    wrong["still private"] = numbers()[0]
    return {"wrong": {when: what for when, what in wrong.items() if what}, "lines": logged}


def old_part(found: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in found.items() if 'l="old' in name}


def _counted_out() -> Any:
    """Each metric is shown exactly or not at all, and the numbers say how many aren't shown."""
    found = page()
    hidden = 0
    for label, value in NEW:
        by_kind: dict[str, bool] = {}
        for name, expects in expected([(label, value)]).items():
            kind = name.partition("{")[0].partition("_")[0]
            by_kind[kind] = by_kind.get(kind, True) and found.get(name) == expects
            if found.get(name, 0.0) not in (0.0, expects) and kind != "state":
                return f"{name} is {found[name]}"
        hidden += list(by_kind.values()).count(False)
    return None if numbers() == [hidden, hidden] and hidden > 500 else [hidden, numbers()]


# ---- no room from the start ----------------------------------------------------------------------


def nothing_may_be_written() -> dict[str, Any]:
    """RLIMIT_FSIZE of nothing before the first metric: this process and its forks share pages."""
    limit(1)
    begin()
    touch(OLD)
    with Actor("fork") as child:
        child.do(touch, OLD + NEW)
        touch(NEW)
        found = page()
    limit(0)  # for the answer
    joined = store.current()
    return {
        "wrong": differences(expected(OLD * 2 + NEW * 2), found),
        "path": joined and joined.path,
        "private": numbers()[0],
        "lines": lines,
    }


def no_tmpfs() -> dict[str, Any]:
    """/dev/shm is full to the last page before the first metric."""
    if (why := mount("/dev/shm", "32k")) is not None:
        return {"refused": why}
    fill("/dev/shm/store")
    begin()
    touch(OLD + NEW)
    with Actor("fork") as child:
        child.do(touch, NEW)
        found = page()
    return {"wrong": differences(expected(OLD + NEW * 2), found), "lines": lines}


def little_address_space() -> dict[str, Any]:
    """RLIMIT_AS leaves the store a small reserve: full, it makes room when label sets go."""
    limit_addresses(24 << 20)
    begin()
    touch(OLD)
    joined = store.current()
    assert joined is not None
    assert kinds is not None
    many = [(f"many-{i}", VALUES[i % 5]) for i in range(4000)]
    touch(many)
    full = joined.statistics()
    old = differences(expected(OLD), old_part(page()))
    for each in kinds.all:
        for label, _ in many[:3000]:
            each.remove(label)
    found = page()
    return {
        "reserve": full["reserve_bytes"],
        "private when full": full["private"],
        "wrong when full": old,
        "wrong with room again": differences(expected(OLD + many[3000:]), found),
        "private then": numbers()[0],
        "lines": lines,
    }


def address_space() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def limit_addresses(room: int) -> None:
    """RLIMIT_AS: so many bytes more than now."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + room, hard))


def counted_beside(room: int) -> dict[str, Any]:
    """A process that hasn't the addresses to map the named store that is there."""
    limit_addresses(room)
    begin()
    touch(OLD)
    joined = store.current()
    return {
        "wrong": differences(expected(OLD), page()),
        "path": joined and joined.path,
        "lines": lines,
    }


def store_too_large(room: int) -> dict[str, Any]:
    """The store here reserves 64 GiB; a process that may not map them counts by itself."""
    begin()
    touch(OLD)
    from tests.programs import run

    other = run("tests.crash.full:counted_beside", room, store=os.environ["MPMETRICS_STORE"])
    return {"other": other, "wrong": differences(expected(OLD), page()), "lines": lines}


def addresses_run_out(method: str) -> dict[str, Any]:
    """RLIMIT_AS once the store is mapped: it grows under its mapping as before."""
    begin()
    touch(OLD)
    limit_addresses(48 << 20)  # an interpreter's worth, for the child of a forkserver
    touch(NEW)
    with Actor(method) as child:
        child.do(touch, NEW)
        found = page()
    return {
        "wrong": differences(expected(OLD + NEW * 2), found),
        "private": numbers()[0],
        "lines": lines,
    }


# ---- what counts privately -----------------------------------------------------------------------


def _full() -> Callable[[], None]:
    """A store with some series that can't grow any more; what makes room again."""
    begin()
    touch(OLD)
    limit(os.path.getsize(os.environ["MPMETRICS_STORE"]))
    touch(NEW)
    assert numbers()[0] > 0
    return functools.partial(limit, 0)


def bounded_in_private() -> dict[str, Any]:
    """MPMETRICS_MAX_SERIES is 50: also of label sets that this process alone counts."""
    make_room = _full()
    assert kinds is not None
    touch([(f"stranger-{i}", 1) for i in range(1000)])
    kept = len(kinds.jobs._children or ())
    make_room()
    found = page()
    shown = [name for name in found if name.startswith("jobs_total")]
    total = sum(found[name] for name in shown)
    return {
        "kept": kept,
        "shown": len(shown),
        "lost": sum(value for _, value in OLD + NEW) + 1000 - total,
    }


def told_while_full() -> dict[str, Any]:
    """An Info is shown as soon as there is room, as it was told last."""
    make_room = _full()
    from mpmetrics import Info

    build = Info("build", "What is run.", ["l"])
    plain = Info("plain", "Without labels.")
    for version in ("1", "2"):
        build.labels("a").info({"version": version})
        plain.info({"version": version})
    before = page("build_info", "plain_info")
    make_room()
    after = page("build_info", "plain_info")
    return {
        "before": [name for name in before if "version" in name],
        "after": sorted(name for name in after if "version" in name),
        "private": numbers()[0],
    }


def removed_while_full() -> dict[str, Any]:
    """A label set that was removed while it counted privately counts for nobody from then on."""
    make_room = _full()
    assert kinds is not None
    label = next(each for each, _ in NEW if f'jobs_total{{l="{each}"}}' not in page())
    child = kinds.jobs.labels(label)
    kinds.jobs.remove(label)
    child.inc(100)
    make_room()
    child.inc(100)
    gone = page().get(f'jobs_total{{l="{label}"}}')
    kinds.jobs.labels(label).inc(3)
    child.inc(100)
    return {"gone": gone, "anew": page()[f'jobs_total{{l="{label}"}}'], "private": numbers()[0]}
