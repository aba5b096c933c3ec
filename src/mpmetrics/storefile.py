"""A store as a file: made, joined, replaced, removed, whoever else is doing the same.

Two marks keep this right. Who has a store holds a shared lock on one byte of it, until the last of
its memory is gone (`Store.attach`). Who wants to replace or unlink a path claims that byte first
(`claim`), which fails while anybody has the store, and keeps newcomers waiting meanwhile; and looks
then that the path still names the file that was claimed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from ._native import Store, StoreError, StoreLayoutError, claim, format_store

T = TypeVar("T")

_TRIES = 100  # of joining a path that others keep replacing
_PAUSE = 0.01  # seconds between them
_MAKING = 60  # seconds that making a store may take


def join(path: str, persist: bool, max_series: int) -> Store:
    """
    The store at `path`, made if nothing is there.

    One that no living process has starts afresh, unless `persist`. One of another layout is renamed
    to PATH.old, if nobody has it. Raises StoreError or OSError, saying why, if it can't be used.
    """
    for _ in range(_TRIES):
        try:
            store = _try(path, persist, max_series)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):  # somebody was faster: join that one
                return make(path, max_series)
        else:
            if store is not None:
                return store
            time.sleep(_PAUSE)
    raise StoreError(errno.EBUSY, "the store keeps being replaced", path)


def _try(path: str, persist: bool, max_series: int) -> Store | None:
    """None: somebody is just replacing the file, or this process has made way for a new one."""
    with opened(path) as fd:
        try:
            store = Store(fd, path)
        except StoreLayoutError as error:
            if not claim(fd):
                raise StoreLayoutError(
                    errno.EINVAL,
                    "a store of another layout, in use by processes of another version of "
                    "mpmetrics: stop them, or name another path",
                    path,
                ) from error
            if is_at(path, fd):
                os.rename(path, path + ".old")
            return None
        if not persist and claim(fd):
            return make(path, max_series, over=True) if is_at(path, fd) else None
        return store if store.attach() and is_at(path, fd) else None


def join_existing(path: str) -> Store | None:
    """The store at `path` as it is; None if nobody has it any more."""
    with opened(path) as fd:
        store = Store(fd, path)
        return store if not claim(fd) and store.attach() and is_at(path, fd) else None


@contextlib.contextmanager
def opened(path: str) -> Iterator[int]:
    """The file, if it is a plain one that this user alone may read and write.

    Raises StoreError if it isn't, OSError if it can't be opened."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise StoreError(errno.EINVAL, "not a plain file", path)
        if status.st_uid != os.geteuid():
            raise StoreError(errno.EPERM, f"belongs to user {status.st_uid}", path)
        if status.st_mode & 0o077:
            raise StoreError(errno.EPERM, "others may read or write it; chmod 600", path)
        yield fd
    finally:
        os.close(fd)


def is_at(path: str, fd: int) -> bool:
    """Does the path name this very file?"""
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    here = os.fstat(fd)
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def make(path: str, max_series: int, *, over: bool = False) -> Store:
    """An empty store at `path`, as `make_whole` says."""
    return make_whole(path, lambda fd: _lay_out(fd, path, max_series), over=over)


def make_unnamed(max_series: int) -> Store:
    """A store without a name: for this process and its forks alone."""
    return in_memfd(lambda fd: _lay_out(fd, None, max_series))


def _lay_out(fd: int, path: str | None, max_series: int) -> Store:
    format_store(fd, max_series)
    store = Store(fd, path)
    store.attach()
    return store


def make_whole(path: str, lay_out: Callable[[int], T], *, over: bool = False) -> T:
    """
    What `lay_out` makes in a new file, had by this process before anybody else can see it.

    It is made whole under another name. `over`: takes the place of what is there, which the caller
    has claimed; never truncates it, since that would kill whoever has it mapped. Otherwise raises
    FileExistsError if something is there.
    """
    temporary = f"{path}.{secrets.token_hex(8)}.new"
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    fd = os.open(temporary, flags, 0o600)
    try:
        made = lay_out(fd)
        if over:
            os.rename(temporary, path)
        else:
            os.link(temporary, path)
        return made
    finally:
        os.close(fd)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def in_memfd(lay_out: Callable[[int], T]) -> T:
    """What `lay_out` makes in a file without a name."""
    fd = os.memfd_create("mpmetrics", os.MFD_CLOEXEC)
    try:
        return lay_out(fd)
    finally:
        os.close(fd)


def copy_unnamed(path: str) -> Store:
    """A copy of the store at `path`, to look at without changing anything there."""
    fd = os.memfd_create("mpmetrics-copy", os.MFD_CLOEXEC)
    try:
        with open(path, "rb", buffering=0) as source:
            while piece := source.read(1 << 20):
                os.write(fd, piece)
        return Store(fd)
    finally:
        os.close(fd)


def remove_if_unused(path: str) -> None:
    """Unlinks a store that nobody has; nothing if somebody has it, or it can't be had."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            # One that is being made isn't anybody's yet.
            being_made = path.endswith(".new") and time.time() - os.fstat(fd).st_mtime < _MAKING
            if not being_made and claim(fd) and is_at(path, fd):
                os.unlink(path)
        finally:
            os.close(fd)
