"""Which process made this one: what it takes to find the store of one's parent.

A pid alone proves nothing, since pids are used again, and each container has its own; with the
start time and the pid namespace it names one process of this boot. That is only used to find a
file; what is in it decides.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

# How children of multiprocessing are started, and of what copies it: spawn, billiard, loky.
_SPAWNED = ("--multiprocessing-fork", "--billiard-fork")
_SERVERS = ("from multiprocessing.forkserver import main",)
_LOKY = "popen_loky_posix"


def start_time(pid: int) -> int | None:
    """When the process began, in clock ticks since boot (proc(5), stat, field 22)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()
        return int(fields[19])
    except (OSError, ValueError, IndexError):
        return None


def parent_of(pid: int) -> int | None:
    """The parent's pid (proc(5), stat, field 4)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()
        return int(fields[1])
    except (OSError, ValueError, IndexError):
        return None


def is_forkserver(argv: Sequence[str] = sys.orig_argv) -> bool:
    """Is this a forkserver, or a child that one forked?"""
    return any(argument.startswith(_SERVERS) for argument in argv)


def is_multiprocessing_child(argv: Sequence[str] = sys.orig_argv) -> bool:
    """Was this process started by multiprocessing, or by a copy of it?

    `multiprocessing.parent_process()` doesn't tell: it is None while the child imports."""
    return (
        is_forkserver(argv)
        or any(argument in _SPAWNED for argument in argv)
        or any(_LOKY in argument for argument in argv)
    )


def name_of(pid: int) -> str | None:
    """PID-START-NAMESPACE of a process that this one sees; None if it is gone.

    In this process's own namespace: a parent in another has the pid 0 here, and no name."""
    start = start_time(pid)
    return None if start is None else f"{pid}-{start}-{_namespace()}"


def _namespace() -> str:
    """The number of this process's pid namespace; containers that share files have another."""
    try:
        return os.readlink("/proc/self/ns/pid").removeprefix("pid:[").rstrip("]")
    except OSError:
        return "0"


def makers() -> list[str]:
    """The names of the processes that may have asked for this multiprocessing child.

    The parent; for a child of a forkserver the forkserver's parent."""
    if not is_multiprocessing_child():
        return []
    pids = [os.getppid()]
    if is_forkserver():
        grandparent = parent_of(pids[0])
        if grandparent is not None:
            pids.append(grandparent)
    return [name for pid in pids if (name := name_of(pid)) is not None]
