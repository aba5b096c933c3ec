"""Finding, joining, life and end of the store that this process's metrics live in.

A process finds its store, the first time that it declares a metric, by the first of these that
holds:

1. it was forked from a process that has one: the mapping is inherited;
2. MPMETRICS_STORE names a path: that file, made if it isn't there;
3. it is a multiprocessing child (spawn, forkserver): its parent's store, named in a variable that
   only the children of the process that set it obey, or else found by the parent's pid and start;
4. a new store of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import logging
import os
import secrets
import stat
import sys
import time
from collections.abc import Iterator

from . import processes
from ._native import LAYOUT, Store, StoreError, claim, format_store, on_private

__all__ = ["LAYOUT", "Store", "StoreError", "current"]

log = logging.getLogger("mpmetrics")

_PARENT = "MPMETRICS_PARENT_STORE"  # path:pid:start of the process that set it
_MAX_SERIES = 100_000
_TRIES = 100  # of joining a path that others are replacing
_PAUSE = 0.01  # seconds between them

_current: Store | None = None


def current(make: bool = True) -> Store | None:
    """The store of this process; without `make`, None if there is none to be found yet.

    Never fails: where no file can be had, a store for this process and its forks alone."""
    global _current
    if _current is None:
        found = _find(make)
        # While this one waited, another thread may have found it.
        if _current is None and found is not None:
            _current = found
            _announce()
    return _current


def _find(make: bool) -> Store | None:
    named = os.environ.get("MPMETRICS_STORE")
    if named:
        if not make and not os.path.exists(named):
            return None
        return _joined_or_own(named)
    return _of_parent() or (_made_up() if make else None)


# ---- named by the environment --------------------------------------------------------------------


def _joined_or_own(path: str) -> Store:
    """The store at this path; if it can't be joined, one of this process's own, and a line."""
    try:
        return join(path)
    except OSError as error:
        log.error(
            "mpmetrics can't use MPMETRICS_STORE=%s, so this process counts by itself: %s",
            path,
            error,
        )
        return _in_memory()


def join(path: str) -> Store:
    """The store at `path`, made if nothing is there.

    Raises StoreError or OSError if it can't be used."""
    for _ in range(_TRIES):
        try:
            with _opened(path) as fd:
                store = Store(fd, path)
                store.attach()
                if _is_at(path, fd):
                    return store
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                _make_at(path)
            continue
        except StoreError as error:
            if "lock" not in str(error):
                raise
        time.sleep(_PAUSE)  # somebody is just replacing it
    raise StoreError(errno.EBUSY, "the store keeps being replaced", path)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    """The file, if it is a plain one of this user's own."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise StoreError(errno.EINVAL, "not a plain file", path)
        if status.st_uid != os.geteuid():
            raise StoreError(errno.EPERM, f"belongs to user {status.st_uid}", path)
        if status.st_mode & 0o077:
            raise StoreError(errno.EPERM, "others may read or write it: chmod 600", path)
        yield fd
    finally:
        os.close(fd)


def _is_at(path: str, fd: int) -> bool:
    """Does the path still name this file?"""
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    here = os.fstat(fd)
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def _make_at(path: str) -> None:
    """An empty store at `path`: whole under another name first, so nobody sees half of one.

    Raises FileExistsError if somebody else was faster."""
    temporary = f"{path}.{secrets.token_hex(8)}.new"
    fd = os.open(temporary, os.O_RDWR | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        format_store(fd, _max_series())
        os.link(temporary, path)
    finally:
        os.close(fd)
        os.unlink(temporary)


def _max_series() -> int:
    """MPMETRICS_MAX_SERIES: how many series a family may have; 0: any number."""
    text = os.environ.get("MPMETRICS_MAX_SERIES", "")
    try:
        return max(0, int(text)) if text else _MAX_SERIES
    except ValueError:
        log.error("mpmetrics ignores MPMETRICS_MAX_SERIES=%s: not a number", text)
        return _MAX_SERIES


# ---- made up for a run ---------------------------------------------------------------------------


def _folders() -> Iterator[str]:
    """Where a store may be made up, the best first: on tmpfs, in a folder of this user's alone."""
    uid = os.geteuid()
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    for parent in ("/dev/shm", runtime):
        if not parent:
            continue
        for suffix in ("", "-1", "-2"):  # another name if somebody squats in the first
            folder = f"{parent}/mpmetrics-{uid}{suffix}"
            with contextlib.suppress(FileExistsError, OSError):
                os.mkdir(folder, 0o700)
            try:
                status = os.stat(folder, follow_symlinks=False)
            except OSError:
                continue
            if (
                stat.S_ISDIR(status.st_mode)
                and status.st_uid == uid
                and not status.st_mode & 0o077
            ):
                yield folder


def _made_up() -> Store:
    """A new store, named by this process, gone with the last who has it."""
    name = f"{os.getpid()}-{processes.start_time(os.getpid())}-{secrets.token_hex(4)}"
    for folder in _folders():
        _sweep(folder)
        path = f"{folder}/{name}"
        try:
            _make_at(path)
            return join(path)
        except OSError as error:
            log.debug("no store at %s: %s", path, error)
    return _in_memory()


def _in_memory() -> Store:
    """A store without a name, for this process and its forks."""
    fd = os.memfd_create("mpmetrics", os.MFD_CLOEXEC)
    try:
        format_store(fd, _max_series())
        return Store(fd)
    finally:
        os.close(fd)


def _sweep(folder: str) -> None:
    """Removes the stores whose processes were all killed before they could."""
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        _unlink_if_unused(f"{folder}/{name}")


def _unlink_if_unused(path: str) -> None:
    """Removes a store that nobody has, refusing newcomers meanwhile."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            # One that is being made has no mark yet, but is moments old.
            old = not path.endswith(".new") or time.time() - os.fstat(fd).st_mtime > 60
            if old and claim(fd) and _is_at(path, fd):
                os.unlink(path)
        finally:
            os.close(fd)


# ---- a parent's ----------------------------------------------------------------------------------


def _of_parent() -> Store | None:
    """The store of the process that asked multiprocessing for this one."""
    makers = processes.makers()
    path, _, setter = os.environ.get(_PARENT, "").rpartition("|")
    if path and setter in {f"{pid}:{start}" for pid, start in makers}:
        return _joined(path)
    for pid, start in makers:
        for folder in _folders():
            for name in os.listdir(folder):
                if name.startswith(f"{pid}-{start}-") and not name.endswith(".new"):
                    return _joined(f"{folder}/{name}")
    return None


def _joined(path: str) -> Store | None:
    try:
        with _opened(path) as fd:
            store = Store(fd, path)
            store.attach()
            return store if _is_at(path, fd) else None
    except OSError as error:
        log.error("mpmetrics can't join the parent's store at %s: %s", path, error)
        return None


def _announce() -> None:
    """Tells the multiprocessing children of this process, and nobody else, where its store is."""
    if _current is not None and _current.path is not None:
        pid = os.getpid()
        os.environ[_PARENT] = f"{_current.path}|{pid}:{processes.start_time(pid)}"


# ---- the end -------------------------------------------------------------------------------------


def _end() -> None:
    """The last one out removes a store that was made up for the run."""
    if _current is None or _current.path is None or os.environ.get("MPMETRICS_STORE"):
        return
    _current.detach()
    _unlink_if_unused(_current.path)


def _tell(store: Store, why: str) -> None:
    log.warning(
        "mpmetrics counts in this process's own memory for now, and shares it when it can: %s (%s)",
        why,
        store.path or "a store without a name",
    )


on_private(_tell)
atexit.register(_end)
if sys.platform == "linux":
    os.register_at_fork(after_in_child=_announce)
