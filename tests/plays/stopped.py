"""What goes on while a process that was stopped has the store's lock; for test_stopped.py."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.crash.watching import wait_stopped
from tests.programs import ROOT

from mpmetrics import store

from .basics import KEPT, Actor, both, call, have, statistics
from .removal import remove


def _offset(word: str) -> int:
    """Where a word of the header stands, by the page that is generated from native/core.h."""
    layout = Path(ROOT, "docs/memory-layout.md").read_text()
    found = re.search(rf"^ +(\d+) +8  {word} ", layout, re.MULTILINE)
    assert found is not None
    return int(found[1])


def _declare() -> None:
    have("Counter", "c", ["c", "h", ["who", "what"]])
    have("Info", "i", ["i", "h"])
    have("Info", "l", ["l", "h", ["who"]])


@contextlib.contextmanager
def lock_of_the_newest(path: str, but: int = 0) -> Iterator[None]:
    """The lock is the process's that was given the last lease but so many, as if it were inside."""
    lock, leases = _offset("lock"), _offset("leases")
    with open(path, "r+b", buffering=0) as file:
        (newest,) = struct.unpack("Q", os.pread(file.fileno(), 8, leases))
        os.pwrite(file.fileno(), struct.pack("Q", newest - but), lock)
        try:
            yield
        finally:
            os.pwrite(file.fileno(), struct.pack("Q", 0), lock)


@contextlib.contextmanager
def _lock_of_the_stopped(path: str) -> Iterator[None]:
    """A child is stopped while it has the lock; then it goes on."""
    with Actor("fork") as holder:
        holder.do(have, "Counter", "holders", ["holders", "h"])
        holder.do(call, "holders", [], "inc")
        os.kill(holder.process.pid, signal.SIGSTOP)
        try:
            wait_stopped(holder.process.pid)
            with lock_of_the_newest(path):
                yield
        finally:
            os.kill(holder.process.pid, signal.SIGCONT)


def _path() -> str:
    path = store.current().path
    assert path is not None
    return path


def removal(method: str) -> list[list[str]]:
    """What is shown after each way to remove, and after the holder has gone on."""
    _declare()
    with Actor(method) as other:
        other.do(_declare)
        for who in "xyz":
            for what in "12":
                other.do(call, "c", [who, what], "inc")
        call("c", ["x", "1"], "inc")
        seen = []
        with _lock_of_the_stopped(_path()):
            for how, args in (
                ("remove", ["x", "1"]),
                ("remove_by_labels", [{"what": "2"}]),
                ("clear", []),
            ):
                remove("c", how, *args)
                pages = both(), other.do(both)
                assert pages[0] == pages[1]
                seen.append(sorted(name for name in pages[0] if name.startswith("c_")))
            call("c", ["x", "1"], "inc", 5)  # made anew, privately
        return [*seen, [f"{name} {both()[name]}" for name in both() if name.startswith("c_")]]


def infos(method: str) -> dict[str, Any]:
    """What is shown of Info that was set before, during and after."""
    _declare()
    with Actor(method) as other:
        other.do(_declare)

        def shown() -> list[str]:
            pages = both(), other.do(both)
            assert pages[0] == pages[1]
            return sorted(name for name in pages[0] if name[:2] in ("i_", "l_"))

        call("i", [], "info", {"v": "1"})
        call("l", ["x"], "info", {"v": "1"})
        with _lock_of_the_stopped(_path()):
            call("i", [], "info", {"v": "2"})
            call("l", ["x"], "info", {"v": "2"})
            call("l", ["y"], "info", {"v": "2"})
            during, private = shown(), statistics()["private"]
            call("i", [], "info", {"v": "3"})
        return {
            "during": during,
            "private": private,
            "after": shown(),
            "at last": statistics()["private"],
            "broken": store.current().check(),
        }


def forked_meanwhile() -> list[str]:
    """A child that was forked in between doesn't say again what its parent has still to say."""
    _declare()
    call("i", [], "info", {"v": "1"})
    with contextlib.ExitStack() as stack:
        with _lock_of_the_stopped(_path()):
            call("i", [], "info", {"v": "2"})
            child = stack.enter_context(Actor("fork"))
        both()
        call("i", [], "info", {"v": "3"})
        child.do(both)
        return [name for name in both() if name.startswith("i_")]


def kept(method: str) -> bool:
    """Children that others keep see that their series is gone, and labels() makes a new one."""
    _declare()
    with Actor(method) as other:
        other.do(_declare)
        other.do(call, "c", ["x", "1"], "inc")
        child = KEPT["c"].labels("x", "1")
        with _lock_of_the_stopped(_path()):
            remove("c", "remove", "x", "1")
            child.inc()
        other.do(call, "c", ["x", "1"], "inc", 3)
        return both()['c_total{what="1",who="x"}'] == 3.0


def ended(method: str) -> dict[str, float]:
    """What is shown of a label set first counted, while the lock was taken, by who has ended."""
    _declare()
    with Actor(method) as other:
        other.do(_declare)
        with _lock_of_the_stopped(_path()):
            other.do(call, "c", ["x", "1"], "inc", 2)
            assert other.do(statistics)["private"] > 0
    return {name: value for name, value in both().items() if name.startswith("c_")}


def ends_by_itself() -> None:
    """The same of a program, whose store is named."""
    _declare()
    with _lock_of_the_stopped(_path()):
        call("c", ["x", "1"], "inc", 2)
        assert statistics()["private"] > 0


def ended_by_itself() -> dict[str, float]:
    """What a program has left that did the same; this process has the store meanwhile."""
    store.current()
    code = "from tests.plays import stopped; stopped.ends_by_itself()"
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)
    return {name: value for name, value in both().items() if name.startswith("c_")}
