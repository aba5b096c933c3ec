"""`mpmetrics.Store`: naming the store from Python, one line in a server's configuration file."""

from __future__ import annotations

import os
from dataclasses import dataclass

from . import store


@dataclass(frozen=True)
class StoreStatistics:
    """Numbers about a store. Bytes where the name says so."""

    file_bytes: int
    used_bytes: int
    reserve_bytes: int  # the most that the file may ever have
    blocks: int
    series: int
    max_series: int  # of one family; 0: any number
    processes: int  # living ones that write
    free_shards: int  # waiting for the next process
    leases: int  # processes that ever changed the store
    dropped: int  # times that a metric or a label set found no room, in its family or the store
    unsettled: int  # reads whose sum may be of a neighbouring instant
    repairs: int  # times that the work of a process killed inside the lock was mended
    lost: int  # metrics that went away while they counted privately
    private: int  # metrics of this process that count in its own memory for now
    growth_refused: bool  # there was no room for more the last time that there had to be
    born: float  # seconds since 1970


class Store:
    """
    The store at `path`, for this process and every process that it starts.

    Made if nothing is there; one that no living process has starts afresh, unless `persist`. Call
    it before the first metric is declared: in gunicorn.conf.py, or at the top of the program that
    starts the workers. Setting MPMETRICS_STORE does the same from outside.

    Raises StoreError, saying why, if the file can't be used, or metrics of this process live in
    another store already.
    """

    def __init__(self, path: str | os.PathLike[str], persist: bool = False) -> None:
        self._store = store.adopt(os.fspath(path), persist)

    @property
    def path(self) -> str:
        """Where the file is."""
        return str(self._store.path)

    def statistics(self) -> StoreStatistics:
        """Numbers of this moment; tests whether each process lives, about a microsecond each."""
        return StoreStatistics(**self._store.statistics())

    def __repr__(self) -> str:
        return f"mpmetrics.Store({self.path!r})"
