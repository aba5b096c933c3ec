"""The families of a store, and which of them a scrape shows.

Another shape of the same name is another family: after a reload new workers declare other buckets
while old ones still count in the old. A scrape shows the shape declared last; the older ones are
hidden, and go with their last declarer.
"""

from __future__ import annotations

import enum
import weakref
from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client import Metric

from . import gaugemodes, names
from ._native import Store


class Kind(enum.IntEnum):
    """What the core calls the types: `mpm_kind` in native/core.h."""

    COUNTER = 1
    GAUGE = 2
    SUMMARY = 3
    HISTOGRAM = 4
    INFO = 5
    ENUM = 6
    GAUGE_MODE = 7


TYPES = {
    Kind.COUNTER: "counter",
    Kind.GAUGE: "gauge",
    Kind.SUMMARY: "summary",
    Kind.HISTOGRAM: "histogram",
    Kind.INFO: "info",
    Kind.ENUM: "stateset",
    Kind.GAUGE_MODE: "gauge",
}
# What every process writes in the one place: no shard's, and nobody's.
SHARED = (Kind.GAUGE, Kind.ENUM, Kind.INFO)
PRIVATE = 1  # of a registry without a name: goes with its last declarer
PLAIN = 2  # every name is of the legacy character set


@dataclass(frozen=True, slots=True)
class Row:
    """One living family, as `Store.catalog` gives it."""

    index: int
    birth: int
    declared: int
    kind: int
    mode: int
    flags: int
    registry: str
    name: str
    documentation: str
    unit: str
    labelnames: tuple[str, ...]
    bounds: tuple[float, ...]
    states: tuple[str, ...]

    @property
    def id(self) -> tuple[int, int]:
        return self.index, self.birth

    @property
    def type(self) -> str:
        return TYPES[Kind(self.kind)]

    @property
    def shape(self) -> str:
        """Its shape in words: all that another family of the name can differ in."""
        words = [f"the {self.type} {self.name}, labels {self.labelnames}"]
        if self.bounds:
            words.append(f"buckets {self.bounds}")
        if self.states:
            words.append(f"states {self.states}")
        if self.type == "gauge":
            words.append(f"mode {gaugemodes.name(self.mode)}")
        return ", ".join(words)

    @property
    def is_sound(self) -> bool:
        """Could somebody have declared it? Not everything that a damaged store has."""
        try:
            Metric(self.name, self.documentation, self.type, self.unit)
        except ValueError:
            return False
        return True

    @property
    def sample_names(self) -> tuple[str, ...]:
        return names.sample_names(self.type, self.name)


class Catalog:
    """What is declared in a store, read again only after somebody declared something.

    The price is one walk over the families, some microseconds each, after each declaration; and
    the store's lock at each scrape while there is a hidden family."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen = -1
        self._shown: dict[str, list[Row]] = {}  # by registry
        self._winner: dict[tuple[int, int], Row] = {}  # by the id of any living family
        self._taken: dict[tuple[str, str], Row] = {}  # by registry and name of a sample
        self._hidden: list[Row] = []

    def shown(self, registry: str) -> list[Row]:
        """The families of a registry that a scrape shows, the oldest first."""
        self._forget_hidden()
        return self._shown.get(registry, [])

    def all_shown(self) -> list[Row]:
        """The same of every registry."""
        self._refresh()
        return [row for rows in self._shown.values() for row in rows]

    def winner(self, id_: tuple[int, int]) -> Row | None:
        """What is shown in the place of this family: mostly itself. None if it is dead."""
        self._refresh()
        return self._winner.get(id_)

    def holder(self, registry: str, sample_names: Iterable[str]) -> Row | None:
        """What a scrape of that registry shows under any of these names."""
        self._refresh()
        held = (self._taken.get((registry, name)) for name in sample_names)
        return next(filter(None, held), None)

    def hidden(self) -> list[Row]:
        """The families that another shape of their name hides."""
        self._forget_hidden()
        return self._hidden

    def _forget_hidden(self) -> None:
        """Lets those go that have no living declarer: asked anew, since who ends tells nobody."""
        self._refresh()
        if self._hidden:
            self._store.forget([row.id for row in self._hidden])
            self._refresh()

    def _refresh(self) -> None:
        seen = self._store.declarations
        if seen != self._seen:
            rows = [Row(*row) for row in self._store.catalog()]
            self._sort([row for row in rows if row.is_sound])
            self._seen = seen

    def _sort(self, rows: list[Row]) -> None:
        taken: dict[tuple[str, str], Row] = {}
        winner: dict[tuple[int, int], Row] = {}
        hidden = []
        for row in sorted(rows, key=lambda row: row.declared, reverse=True):
            keys = [(row.registry, name) for name in row.sample_names]
            newer = next((taken[key] for key in keys if key in taken), None)
            winner[row.id] = newer or row
            if newer is None:
                taken.update(dict.fromkeys(keys, row))
            else:
                hidden.append(row)
        shown: dict[str, list[Row]] = {}
        for row in sorted(set(taken.values()), key=lambda row: row.birth):
            shown.setdefault(row.registry, []).append(row)
        self._shown, self._winner, self._hidden = shown, winner, hidden
        self._taken = taken


_catalogs: weakref.WeakKeyDictionary[Store, Catalog] = weakref.WeakKeyDictionary()


def of(store: Store) -> Catalog:
    """The catalog of a store, one in each process."""
    catalog = _catalogs.get(store)
    if catalog is None:
        catalog = _catalogs[store] = Catalog(store)
    return catalog
