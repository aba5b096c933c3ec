"""Files made up for a run: where they are, and that the last process that has one removes it.

Stores and heaps alike (`kind` is what their folder's name begins with). What a killed process left
is swept by the next one that makes such a file.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import stat
import sys
from collections.abc import Callable, Iterator
from secrets import token_hex
from typing import TypeVar

from . import processes, storefile

log = logging.getLogger("mpmetrics")

T = TypeVar("T")


def folders(kind: str) -> Iterator[str]:
    """Where such a file may be made up, the best folder first: on tmpfs, of this user alone."""
    for parent in ("/dev/shm", os.environ.get("XDG_RUNTIME_DIR")):
        if parent:
            for suffix in ("", "-1", "-2"):  # another name if somebody squats in the first
                yield f"{parent}/{kind}-{os.geteuid()}{suffix}"


def is_ours(folder: str) -> bool:
    """Is it a folder that nobody else can write in?"""
    try:
        status = os.stat(folder, follow_symlinks=False)
    except OSError:
        return False
    # A group may be let in (0o010) to files that it knows by name, and no further.
    mine = status.st_uid == os.geteuid() and not status.st_mode & 0o067
    return stat.S_ISDIR(status.st_mode) and mine


def make_up(kind: str, make: Callable[[str], T]) -> T | None:
    """
    What `make` makes at a new path, named after this process; None if no folder can be had.

    Removes what those left who were killed before they could."""
    for folder in folders(kind):
        with contextlib.suppress(OSError):
            os.mkdir(folder, 0o700)
        if not is_ours(folder):
            continue
        try:
            for name in os.listdir(folder):
                storefile.remove_if_unused(f"{folder}/{name}")
            return make(f"{folder}/{processes.name_of(os.getpid())}-{token_hex(4)}")
        except OSError as error:
            log.debug("nothing can be made in %s: %s", folder, error)
    return None


# ---- leaving -------------------------------------------------------------------------------------

_hooked: set[Callable[[], object]] = set()


def at_end(leave: Callable[[], object]) -> None:
    """Has this process, and each that is forked from it, call `leave` when it is done."""
    atexit.register(leave)
    _after_children(leave)
    os.register_at_fork(after_in_child=lambda: _after_children(leave))


def _after_children(leave: Callable[[], object]) -> None:
    """
    Has multiprocessing, if the program uses it, call `leave` when it is done in this process.

    It ends its children without `atexit`; and where it was imported before us, our own `atexit`
    function runs before it waits for them, too early to be the last one out.
    """
    util = sys.modules.get("multiprocessing.util")
    if util is None:
        return
    util.Finalize(None, leave, exitpriority=-100)  # below 0: after the children
    if leave not in _hooked:  # a child of multiprocessing forgets what it was to do, calls these
        util.register_after_fork(leave, lambda _: _after_children(leave))
        _hooked.add(leave)
