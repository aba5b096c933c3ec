"""`mpmetrics.Store`: naming the store from Python, one line in a server's configuration file."""

from __future__ import annotations

import os

from . import store
from .statistics import StoreStatistics


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
