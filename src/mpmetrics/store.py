"""Finding the store that this process's metrics live in, and leaving it.

A process finds its store, the first time that it declares a metric, by the first of these that
holds:

1. it was forked from a process that has one: the mapping is inherited;
2. MPMETRICS_STORE names a path: that file, made if it isn't there;
3. it is a multiprocessing child (spawn, forkserver): its parent's store, named in a variable that
   only the children of the process that set it obey, or else found by the parent's pid and start;
4. a new store of its own, made up for the run.

So that the first of them holds of every fork, a process that has none yet finds it when it first
forks, and keeps it in reserve, unless one is named: it becomes its store when it first needs one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import Literal, NamedTuple, overload

from . import multiprocdir, processes, runfiles, settings, storefile
from ._native import Store, StoreError, on

__all__ = ["Store", "StoreError", "current"]

log = logging.getLogger("mpmetrics")

_PARENT = "MPMETRICS_PARENT_STORE"  # PATH|NAME of the process that set it
_KIND = "mpmetrics"  # what the folders are called that stores are made up in
_MAX_SERIES = 100_000

_leaving = False


class _Mine(NamedTuple):
    """The store that this process has."""

    store: Store
    is_made_up: bool  # for this run: it goes with the last process that has it

    def give_back(self) -> None:
        """This process has no use for it; nobody else: then it goes."""
        if self.store.path is not None and self.is_made_up:
            self.store.detach()
            storefile.remove_if_unused(self.store.path)


# One entry at most. A dict, since its `setdefault` is one step for all threads, signal handlers and
# forks, of which two may look for a store at a time; a lock would be one that a fork leaves taken.
_mine: dict[Literal["store"], _Mine] = {}
_is_needed = False  # else it is in reserve: this process only had to have one before it forked


@overload
def current(make: Literal[True] = True) -> Store: ...
@overload
def current(make: bool) -> Store | None: ...
def current(make: bool = True) -> Store | None:
    """
    The store of this process; without `make`, None if there is none to be found yet.

    Never fails: where no file can be had, a store for this process and its forks alone.
    """
    mine = _mine.get("store") if _is_needed else _need(make)
    return None if mine is None else mine.store


def _need(make: bool) -> _Mine | None:
    global _is_needed
    named = _name_made_absolute()
    if named:
        _drop_reserve()
    mine = _mine.get("store") or _take(_find(named, make))
    if mine is not None and not _is_needed:
        _is_needed = True
        _announce()
        multiprocdir.say_what_to_delete()
    return mine


def _find(named: str | None, make: bool) -> _Mine | None:
    if named:
        return _Mine(_named(named), False) if make or os.path.exists(named) else None
    return _parents() or (_new() if make else None)


def _take(found: _Mine | None) -> _Mine | None:
    """Makes it this process's; if another thread has been faster, it is that one's."""
    if found is None:
        return None
    mine = _mine.setdefault("store", found)
    if mine is not found:
        found.give_back()
    return mine


def _name_made_absolute() -> str | None:
    """What MPMETRICS_STORE says; absolute from now on, since directories change."""
    named = os.environ.get("MPMETRICS_STORE") or None
    if named is not None:
        with contextlib.suppress(OSError):  # of a directory that is gone
            absolute = os.path.abspath(named)
            if absolute != named:
                os.environ["MPMETRICS_STORE"] = named = absolute
    return named


def adopt(path: str, persist: bool) -> Store:
    """
    Makes the store at `path` this process's, and that of every process that it starts.

    Raises StoreError if metrics of this process live in another already.
    """
    global _is_needed
    path = os.path.abspath(path)
    if not _is_needed:
        joined = storefile.join(path, persist, _max_series())
        _drop_reserve()
        _take(_Mine(joined, False))
        _is_needed = True
    mine = _mine["store"].store
    if mine.path != path:
        raise StoreError(
            f"metrics of this process live in {mine.path or 'a store without a name'} already; "
            f"name the store before the first metric is declared"
        )
    os.environ["MPMETRICS_STORE"] = path
    _announce()
    return mine


def hold(store: Store) -> None:
    """Makes one that this process has joined its own, and tells nobody."""
    global _is_needed
    _drop_reserve()
    _mine["store"] = _Mine(store, False)
    _is_needed = True


def _named(path: str) -> Store:
    """The store at this path; if it can't be used, one of this process's own, and a line."""
    try:
        return join_named(path)
    except OSError as error:
        log.error("counting by itself, since MPMETRICS_STORE can't be used: %s", error)
        return storefile.make_unnamed(_max_series())


def join_named(path: str) -> Store:
    """The store at `path` as MPMETRICS_PERSIST and MPMETRICS_MAX_SERIES say.

    Raises StoreError or OSError if it can't be used."""
    return storefile.join(path, settings.is_on("MPMETRICS_PERSIST"), _max_series())


def _max_series() -> int:
    """MPMETRICS_MAX_SERIES: how many series a family may have; 0: any number."""
    return settings.number("MPMETRICS_MAX_SERIES", _MAX_SERIES)


# ---- before a fork -------------------------------------------------------------------------------


def _before_fork() -> None:
    """
    Finds this process's store now: children that need one first would each make up their own.

    What they count would be in no scrape but theirs, and no line of a log would say so. A named one
    each of them finds by itself, and makes as the user whom it runs as.
    """
    if _mine or _leaving or _name_made_absolute() or _is_forkserver():
        return
    try:
        _take(_find(None, make=True))
    except OSError as error:
        log.warning("its forks will each have a store of their own: %s", error)
    _announce()


def _is_forkserver() -> bool:
    """Its children look for the store of its parent, who may make it later."""
    process = sys.modules.get("multiprocessing.process")
    return processes.is_forkserver() and process is not None and process.parent_process() is None


def _drop_reserve() -> None:
    """Another store is to be this process's."""
    dropped = None if _is_needed else _mine.pop("store", None)
    if dropped is None:
        return
    if dropped.store.statistics()["processes"] > 0:
        log.warning(
            "a store is named after a fork, and forks count in another one already, %s: name it "
            "before",
            dropped.store.path or "without a name",
        )
    dropped.give_back()


# ---- made up for a run ---------------------------------------------------------------------------


def _new() -> _Mine:
    """A new store; its name says which process made it."""
    store = make_up()
    return _Mine(store, store.path is not None)


def make_up(group: int | None = None) -> Store:
    """A new store for a run, in a folder of this user's; without a name if there can't be one.

    `group`: whose members may have it, too; its folder is another one, which they may enter."""
    made = runfiles.make_up(_kind(group), lambda path: storefile.make(path, _max_series()))
    if made is not None and made.path is not None and group is not None:
        storefile.share_with(made.path, group)
        folder = os.path.dirname(made.path)
        os.chown(folder, -1, group, follow_symlinks=False)
        os.chmod(folder, 0o710)
    return made or storefile.make_unnamed(_max_series())


def _kind(group: int | None) -> str:
    return _KIND if group is None else f"{_KIND}-g{group}"


def made_up_paths() -> list[str]:
    """Where the stores are that were made up for runs of this user."""
    kinds = [_KIND, *map(_kind, sorted({os.getegid(), *os.getgroups()}))]
    folders = [folder for kind in kinds for folder in runfiles.folders(kind)]
    ours = filter(runfiles.is_ours, folders)
    return [f"{folder}/{name}" for folder in ours for name in sorted(os.listdir(folder))]


# ---- a parent's ----------------------------------------------------------------------------------


def _parents() -> _Mine | None:
    """The store of the process that asked multiprocessing for this one."""
    makers = processes.makers()
    path, _, setter = os.environ.get(_PARENT, "").rpartition("|")
    if path and setter in makers:
        return _parents_at(path)
    # A forkserver begun before the store knows no variable.
    for folder in filter(runfiles.is_ours, runfiles.folders(_KIND)) if makers else ():
        for name in _names_in(folder):
            if name.startswith(tuple(f"{maker}-" for maker in makers)):
                return _parents_at(f"{folder}/{name}")
    return None


def _names_in(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError as error:  # no descriptor is left
        log.warning("the store of its parent can't be looked for: %s", error)
        return []


def _parents_at(path: str) -> _Mine | None:
    try:
        store = storefile.join_existing(path)
    except OSError as error:
        log.error(
            "counting by itself, since the store of its parent can't be used: %s (if the user has "
            "changed since: see `mpmetrics run --user`)",
            error,
        )
        return None
    folder = os.path.dirname(path)
    is_made_up = runfiles.is_ours(folder) and folder in runfiles.folders(_KIND)
    return None if store is None else _Mine(store, is_made_up)


def _announce() -> None:
    """Tells the multiprocessing children of this process, and nobody else, where its store is."""
    mine = _mine.get("store")
    if mine is not None and mine.store.path is not None:
        os.environ[_PARENT] = f"{mine.store.path}|{processes.name_of(os.getpid())}"


# ---- leaving -------------------------------------------------------------------------------------


def _leave() -> None:
    """What is counted privately is shared while it can be; then the last one out removes a store
    that was made up for the run. Its memory stays mapped."""
    global _leaving
    _leaving = True
    mine = _mine.get("store")
    if mine is not None:
        mine.store.settle()
        mine.give_back()


def _tell_private(store: Store, why: str) -> None:
    log.warning(
        "some metrics count in this process's own memory until they can be shared: %s (%s)",
        why,
        store.path or "a store without a name",
    )


def _tell_nameless(store: Store, why: str) -> None:
    if not _leaving:  # then it was ours to remove
        log.warning(
            "the store %s: %s; its processes count on together, new ones don't find it",
            store.path,
            why,
        )


on("private", _tell_private)
on("nameless", _tell_nameless)
runfiles.at_end(_leave)
os.register_at_fork(before=_before_fork, after_in_child=_announce)
