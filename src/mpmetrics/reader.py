"""A store as somebody beside the application sees it: every family, read only."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from prometheus_client import Metric

from . import catalog, storefile
from ._native import Store
from .samples import FamilyMetric, Restricted


def open_read_only(path: str) -> Store:
    """
    The store at `path`, mapped for reading alone: it takes no lock and changes nothing.

    Works for whoever may read the file, from any pid namespace, and post mortem. Raises StoreError
    or OSError, saying why, if the path names no store of this layout.
    """
    fd = storefile.open_plain(path, os.O_RDONLY)
    try:
        return storefile.mapped(fd, path, read_only=True)
    finally:
        os.close(fd)


class StoreReader:
    """
    What `mpmetrics serve` serves: the families of every registry that has a name.

    It looks at the path before each scrape, so it follows an application that restarts. Where two
    registries have a family of one name, the default registry's is shown, or else the older one.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._store: Store | None = None
        self._identity: tuple[int, int] | None = None

    def collect(self) -> Iterator[Metric]:
        """Every family that is shown; nothing while the path names no store."""
        store = self._current()
        if store is None:
            return
        taken: set[str] = set()
        for row in self._rows(store):
            if taken.isdisjoint(row.sample_names):
                taken.update(row.sample_names)
                yield FamilyMetric(store, row)

    def restricted_registry(self, names: Iterable[str]) -> Restricted:
        """Only the samples of these names, as a registry of prometheus_client gives them."""
        return Restricted(self, frozenset(names))

    def _current(self) -> Store | None:
        try:
            status = os.stat(self._path)
            identity = status.st_dev, status.st_ino
            if self._identity != identity:
                self._store = open_read_only(self._path)
                self._identity = identity
        except OSError:
            self._store = self._identity = None
        return self._store

    @staticmethod
    def _rows(store: Store) -> list[catalog.Row]:
        rows = catalog.of(store).all_shown()
        named = [row for row in rows if not row.flags & catalog.PRIVATE]
        return sorted(named, key=lambda row: (row.registry != "", row.birth))
