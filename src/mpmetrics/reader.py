"""A store as somebody beside the application sees it: every family, read only."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator

from prometheus_client import Metric
from prometheus_client.core import InfoMetricFamily

from . import catalog, storefile
from ._native import Store, truncated_pages
from .samples import FamilyMetric, Restricted

log = logging.getLogger("mpmetrics")


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


def look(path: str) -> Store:
    """
    The store at `path`, to be looked at once: a copy, unless some process has it.

    One that is used is mapped, since a copy of cells that move would be torn. Raises what
    `open_read_only` raises.
    """
    return storefile.as_left(path) or open_read_only(path)


class StoreView:
    """
    A store's families, of every registry that has a name, as a registry.

    Where two registries have a family of one name, the default registry's is shown, or else the
    older one.
    """

    def __init__(self, store: Store) -> None:
        self._store: Store | None = store

    def collect(self) -> Iterator[Metric]:
        """Every family that is shown; nothing while there is no store."""
        store = self._current()
        if store is not None:
            yield from self._metrics(store)

    def restricted_registry(self, names: Iterable[str]) -> Restricted:
        """Only the samples of these names, as a registry of prometheus_client gives them."""
        return Restricted(self, frozenset(names))

    def _current(self) -> Store | None:
        return self._store

    def _metrics(self, store: Store) -> Iterator[Metric]:
        for row in _shown(store):
            yield FamilyMetric(store, row)


class StoreReader(StoreView):
    """
    What `mpmetrics serve` serves: the store at a path.

    It looks at the path before each scrape, so it follows an application that restarts.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._store = None
        self._seen: tuple[int, int] | None = None
        self._size = 0
        self._lost = truncated_pages()
        self._said = ""

    def _current(self) -> Store | None:
        try:
            status = os.stat(self._path)
            seen = status.st_dev, status.st_ino
            # A store never shrinks: one that did was truncated. If that was seen only while it was
            # read, this mapping has zeros, whatever is in the file by now.
            lost = truncated_pages()
            if self._seen != seen or status.st_size < self._size or lost != self._lost:
                self._store = open_read_only(self._path)
                self._seen, self._lost = seen, lost
            self._size = status.st_size
        except FileNotFoundError:  # the application will start, or start again
            self._store = self._seen = None
        except OSError as error:
            self._store = self._seen = None
            if str(error) != self._said:
                self._said = str(error)
                log.error("nothing is served: %s", error)
        return self._store


class ShardView(StoreView):
    """
    What each shard counted, with a label that names the shard, and who owns the shards.

    A shard has what its owner counted, and what those did, by now dead, whose place it took. What
    all processes write in one place is left out: gauges without a mode, Enum, Info.
    """

    def _metrics(self, store: Store) -> Iterator[Metric]:
        rows = [row for row in _shown(store) if row.kind not in catalog.SHARED]
        label = _LABEL
        while any(label in row.labelnames for row in rows):
            label += "_"
        owners = _owners(store, label)
        yield owners
        for row in rows:
            if owners.name not in row.sample_names:
                yield FamilyMetric(store, row, label)


_LABEL = "mpmetrics_shard"


def _owners(store: Store, label: str) -> Metric:
    """Which process has which shard; one that nobody has is the next process's to start."""
    family = InfoMetricFamily(
        _LABEL,
        "The process that has the shard, or had it last. Dead ones before it counted there, too.",
        labels=[label],
    )
    for index, pid, since, alive in store.shards():
        began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since))
        info = {"pid": str(pid), "alive": "1" if alive else "0", "since": began}
        family.add_metric([str(index)], info)
    return family


def _shown(store: Store) -> list[catalog.Row]:
    """The families of one page, no name of a sample twice."""
    rows = [row for row in catalog.of(store).all_shown() if not row.flags & catalog.PRIVATE]
    taken: set[str] = set()
    shown = []
    for row in sorted(rows, key=lambda row: (row.registry != "", row.birth)):
        if taken.isdisjoint(row.sample_names):
            taken.update(row.sample_names)
            shown.append(row)
    return shown
