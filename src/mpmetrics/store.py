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
from typing import Literal, overload

from . import multiprocdir, processes, runfiles, settings, storefile
from ._native import Store, StoreError, on

__all__ = ["Store", "StoreError", "current"]

log = logging.getLogger("mpmetrics")

_PARENT = "MPMETRICS_PARENT_STORE"  # PATH|NAME of the process that set it
_KIND = "mpmetrics"  # what the folders are called that stores are made up in
_MAX_SERIES = 100_000

_current: Store | None = None
_reserve: Store | None = None  # found before a fork, for children who may be the first to need it
_made_up = False  # the one or the other goes with the last process that has it
_leaving = False


@overload
def current(make: Literal[True] = True) -> Store: ...
@overload
def current(make: bool) -> Store | None: ...
def current(make: bool = True) -> Store | None:
    """
    The store of this process; without `make`, None if there is none to be found yet.

    Never fails: where no file can be had, a store for this process and its forks alone.
    """
    global _current
    if _current is None:
        found = _find(make)
        if found is not None and not _is_found():  # by another thread, while this one waited
            _current = found
            _announce()
            multiprocdir.say_what_to_delete()
    return _current


def _is_found() -> bool:
    return _current is not None


def _find(make: bool) -> Store | None:
    named = _name()
    if named:
        _drop_reserve()
        return _named(named) if make or os.path.exists(named) else None
    return _reserve or _parents() or (_new() if make else None)


def _name() -> str | None:
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
    global _current, _made_up
    path = os.path.abspath(path)
    if _current is not None and _current.path != path:
        raise StoreError(
            f"metrics of this process live in {_current.path or 'a store without a name'} already; "
            f"name the store before the first metric is declared"
        )
    if _current is None:
        found = storefile.join(path, persist, _max_series())
        _drop_reserve()
        _current, _made_up = found, False
        os.environ["MPMETRICS_STORE"] = path
        _announce()
    return _current


def hold(store: Store) -> None:
    """Makes one that this process has joined its own, and tells nobody."""
    global _current, _made_up
    _drop_reserve()
    _current, _made_up = store, False


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
    global _reserve
    if _current is None and _reserve is None and not (_leaving or _name() or _is_forkserver()):
        try:
            _reserve = _find(make=True)
        except OSError as error:
            log.warning("its forks will each have a store of their own: %s", error)
        _announce()


def _is_forkserver() -> bool:
    """Its children look for the store of its parent, who may make it later."""
    process = sys.modules.get("multiprocessing.process")
    return processes.is_forkserver() and process is not None and process.parent_process() is None


def _drop_reserve() -> None:
    """Another store is this process's; a child may have taken this one, and keeps it then."""
    global _reserve, _made_up
    if _reserve is not None:
        _remove(_reserve)
        _reserve, _made_up = None, False


# ---- made up for a run ---------------------------------------------------------------------------


def _new() -> Store:
    """A new store; its name says which process made it."""
    global _made_up
    store = make_up()
    _made_up = store.path is not None
    return store


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


def _parents() -> Store | None:
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


def _parents_at(path: str) -> Store | None:
    global _made_up
    try:
        store = storefile.join_existing(path)
    except OSError as error:
        log.error("counting by itself, since the store of its parent can't be used: %s", error)
        return None
    folder = os.path.dirname(path)
    _made_up = store is not None and runfiles.is_ours(folder) and folder in runfiles.folders(_KIND)
    return store


def _announce() -> None:
    """Tells the multiprocessing children of this process, and nobody else, where its store is."""
    store = _current or _reserve
    if store is not None and store.path is not None:
        os.environ[_PARENT] = f"{store.path}|{processes.name_of(os.getpid())}"


# ---- leaving -------------------------------------------------------------------------------------


def _leave() -> None:
    """What is counted privately is shared while it can be; then the last one out removes a store
    that was made up for the run. Its memory stays mapped."""
    global _leaving
    _leaving = True
    if _current is not None:
        _current.settle()
    store = _current or _reserve
    if store is not None:
        _remove(store)


def _remove(store: Store) -> None:
    if store.path is not None and _made_up:
        store.detach()
        storefile.remove_if_unused(store.path)


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
