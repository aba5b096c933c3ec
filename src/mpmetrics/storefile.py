"""A store as a file: made, joined, replaced, removed, whoever else is doing the same.

Two marks keep this right. Who has a store holds a shared lock on one byte of it, until the last of
its memory is gone (`Store.attach`). Who wants to replace or unlink a path claims that byte first
(`claim`), which fails while anybody has the store, and keeps newcomers waiting meanwhile; and looks
then that the path still names the file that was claimed.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import secrets
import shlex
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from ._native import (
    LAYOUT,
    Store,
    StoreError,
    StoreLayoutError,
    claim,
    filesystem,
    format_store,
    is_attached,
)

log = logging.getLogger("mpmetrics")

T = TypeVar("T")

_MAGIC = b"MPESTRS1"  # MPM_MAGIC in native/core.h
_TRIES = 100  # of joining a path that others keep replacing
_PAUSE = 0.01  # seconds between them
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a directory",
    stat.S_IFSOCK: "a socket",
    stat.S_IFIFO: "a named pipe",
}
GIVEN_TO = "MPMETRICS_STORE_USER"  # whom `mpmetrics run --user` gave the store to; root obeys it
_MAKING = 60  # seconds that making a store may take
_PIECE = 1 << 20  # bytes that are copied at a time
_NO_FILE = -1
_OTHER_FILE = "no store, but some other file: name another path"


def join(path: str, persist: bool, max_series: int) -> Store:
    """
    The store at `path`, made if nothing is there.

    One that no living process has starts afresh, unless `persist`. One of another layout is renamed
    to PATH.old, if nobody has it. An empty file of this user's, as of mktemp, is as good as none.
    Raises StoreError or OSError, saying why, if it can't be used.
    """
    _sweep(path)
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
        if _is_empty(fd):
            check_filesystem(fd, path)
            # Claimed, or another process might have put its store there since.
            here = claim(fd) and is_at(path, fd)
            return make(path, max_series, over=True) if here else None
        try:
            store = mapped(fd, path)
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
        store = mapped(fd, path)
        return store if not claim(fd) and store.attach() and is_at(path, fd) else None


def check_filesystem(fd: int, path: str) -> None:
    """Raises StoreError where sharing a mapping isn't sure: network file systems, 9p, fuse.

    On a disk an update may have to wait for it: a line in the log says so to who wants to know."""
    kind = filesystem(fd)
    if kind == "unknown":
        raise StoreError(
            errno.EINVAL, "on a file system that may not share memory; use tmpfs, ext4 or xfs", path
        )
    if kind == "disk":
        log.info("%s is on a disk: an update may have to wait for it; tmpfs never does", path)


def mapped(fd: int, path: str, *, read_only: bool = False) -> Store:
    """The store in this file. Raises StoreError, saying what the file is and what to do, if none;
    StoreLayoutError if it is a store of other versions."""
    check_filesystem(fd, path)
    with _in_words(fd, path):
        return Store(fd, path, read_only)


def as_left(path: str) -> Store | None:
    """
    A copy of the store at `path` as its processes left it.

    None if some process has it, since cells that move can't be copied, or if it is none of this
    layout. The file is read and never mapped: who truncates it meanwhile makes an error, and no
    SIGBUS. Raises StoreError or OSError if it is no plain file, can't be read, or is damaged.
    """
    with open(open_plain(path, os.O_RDONLY), "rb") as source:
        check_filesystem(source.fileno(), path)
        if source.peek(len(_MAGIC))[: len(_MAGIC)] != _MAGIC or is_attached(source.fileno()):
            return None
        with open(os.memfd_create("mpmetrics-copy", os.MFD_CLOEXEC), "wb") as copy:
            shutil.copyfileobj(source, copy, _PIECE)
            copy.flush()
            # Somebody may have come meanwhile. (Who came and left again isn't seen: it must go on
            # with the old numbers, and its whole life be shorter than this copying.)
            if is_attached(source.fileno()):
                return None
            with _in_words(copy.fileno(), path):
                return Store(copy.fileno())


@contextlib.contextmanager
def _in_words(fd: int, path: str) -> Iterator[None]:
    """What the core says of this file, as an error that names the path and what to do."""
    what_to_do = f"stop who uses it, then: mpmetrics remove {shlex.quote(path)}"
    try:
        yield
    except StoreLayoutError as error:
        begin = os.pread(fd, len(_MAGIC), 0)
        if begin == _MAGIC:
            why = f"a store of another layout than {LAYOUT}, this version's: {what_to_do}"
            raise StoreLayoutError(errno.EINVAL, why, path) from error
        if begin == _MAGIC[::-1]:
            why = f"a store of a machine of another byte order: {what_to_do}"
        else:
            why = _OTHER_FILE
        raise StoreError(errno.EINVAL, why, path) from error
    except StoreError as error:
        why = f"{error}: {what_to_do}"
        raise StoreError(errno.EINVAL, why, path) from error


def _is_empty(fd: int) -> bool:
    status = os.fstat(fd)
    mine = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
    return mine and status.st_size == 0


def is_store(fd: int) -> bool:
    """Does it begin as a store does, of whatever layout? Other files are not ours to remove."""
    return os.pread(fd, len(_MAGIC), 0) in (_MAGIC, _MAGIC[::-1])


@contextlib.contextmanager
def opened(path: str) -> Iterator[int]:
    """
    The file, if it is a plain one and those who may write it are trusted.

    That is this user; or root, for a group of this process; or, for root, the user to whom
    `mpmetrics run --user` gave the store. Raises StoreError if not, OSError if it can't be opened.
    """
    fd = open_plain(path, os.O_RDWR)
    try:
        status = os.fstat(fd)
        if status.st_uid not in _trusted(status):
            raise StoreError(errno.EPERM, _not_ours(status), path)
        yield fd
    finally:
        os.close(fd)


def _not_ours(status: os.stat_result) -> str:
    return (
        f"belongs to user {status.st_uid}, this process is user {os.geteuid()}: run it as that "
        "user, name a path of its own, or give it the store by `mpmetrics run --user` or `--group`"
    )


def _trusted(status: os.stat_result) -> set[int]:
    me = os.geteuid()
    trusted = {me}
    if status.st_mode & 0o060 == 0o060 and status.st_gid in {os.getegid(), *os.getgroups()}:
        trusted.add(0)
    if me == 0 and (given_to := os.environ.get(GIVEN_TO, "")).isdecimal():
        trusted.add(int(given_to))
    return trusted


def open_plain(path: str, flags: int) -> int:
    """A descriptor of the file, if it is a plain one that others than its group can't use.

    Raises StoreError, saying what it is and what to do, or OSError if it can't be opened."""
    # Looked at first for the words; a path that changes meanwhile is caught below.
    status = os.stat(path, follow_symlinks=False)
    kind = _kind(status.st_mode)
    if kind is not None:
        raise StoreError(errno.EINVAL, f"{kind}, and no store: name another path", path)
    try:
        fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except PermissionError as error:
        raise StoreError(errno.EACCES, _not_ours(status), path) from error
    try:
        if (why := _open_to_all(fd, path)) is None:
            return fd
    except OSError:
        why = _OTHER_FILE  # one that can't be read, as in /proc
    os.close(fd)
    raise StoreError(errno.EPERM, why, path)


def _open_to_all(fd: int, path: str) -> str | None:
    """What to do if others may use it; its mode is nothing to be changed if it is no store."""
    status = os.fstat(fd)
    if _kind(status.st_mode) is None and not status.st_mode & 0o007:
        return None
    if status.st_size != 0 and not is_store(fd):
        return _OTHER_FILE
    return f"anybody may read or write it: chmod o= {shlex.quote(path)}"


def _kind(mode: int) -> str | None:
    """What it is; None: a plain file."""
    return None if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "not a plain file")


def is_at(path: str, fd: int) -> bool:
    """Does the path name this very file?"""
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    here = os.fstat(fd)
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def has_name(store: Store) -> bool:
    """Does its path still lead to this store? True also where this process may not look."""
    if store.path is None:
        return False
    try:
        fd = os.open(store.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except PermissionError:  # after setuid
        return True
    except OSError:
        return False
    try:
        return Store(fd, store.path, read_only=True).identity == store.identity
    except OSError:
        return False
    finally:
        os.close(fd)


def share_with(path: str, group: int) -> None:
    """Lets the members of a group use the store that this process has just made."""
    os.chown(path, -1, group, follow_symlinks=False)
    os.chmod(path, 0o660)


def make(path: str, max_series: int, *, over: bool = False) -> Store:
    """An empty store at `path`, as `make_whole` says."""
    return make_whole(path, lambda fd: _lay_out(fd, path, max_series), over=over)


def make_unnamed(max_series: int) -> Store:
    """A store without a name: for this process and its forks alone."""
    try:
        return in_memfd(lambda fd: _lay_out(fd, None, max_series))
    except OSError as error:
        log.debug("no file may have a byte here, so its pages are nobody's: %s", error)
    try:
        return in_memfd(lambda fd: _lay_out_fileless(fd, max_series))
    except OSError as error:
        log.warning("no descriptor for a store can be had, so it does without: %s", error)
        return Store.fileless(_NO_FILE, max_series)


def _lay_out(fd: int, path: str | None, max_series: int) -> Store:
    if path is not None:
        check_filesystem(fd, path)
    format_store(fd, max_series)
    store = Store(fd, path)
    store.attach()
    return store


def _lay_out_fileless(fd: int, max_series: int) -> Store:
    store = Store.fileless(fd, max_series)
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


def _sweep(path: str) -> None:
    """Removes what those left who were killed while they made a store for this path."""
    folder, name = os.path.split(path)
    left = re.compile(re.escape(name) + r"\.[0-9a-f]{16}\.new")
    with contextlib.suppress(OSError):
        for each in os.listdir(folder or "."):
            if left.fullmatch(each):
                remove_if_unused(os.path.join(folder, each))


def in_memfd(lay_out: Callable[[int], T]) -> T:
    """What `lay_out` makes in a file without a name."""
    fd = os.memfd_create("mpmetrics", os.MFD_CLOEXEC)
    try:
        return lay_out(fd)
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
