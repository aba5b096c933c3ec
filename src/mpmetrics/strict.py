"""MPMETRICS_STRICT=1, for tests: no two living processes may declare one name in two shapes.

Without it that is no error, since a reload makes such pairs (catalog.py). Two processes that
declare at the same moment may both be told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import catalog, settings

if TYPE_CHECKING:
    from ._native import Family


def check(family: Family) -> None:
    """Raises ValueError if another living process has declared the name, or one of its samples',
    in another shape; after the family was declared, so that of two at least one sees the other."""
    if not settings.is_on("MPMETRICS_STRICT"):
        return
    rows = [catalog.Row(*row) for row in family.store.catalog()]
    ours = next((row for row in rows if row.id == family.id), None)
    if ours is None:  # it counts privately
        return
    taken = set(ours.sample_names)
    for row in rows:
        if row.registry != ours.registry or taken.isdisjoint(row.sample_names) or row is ours:
            continue
        pid = family.store.declarer(*row.id)
        if pid is not None:
            raise ValueError(
                f"MPMETRICS_STRICT: declared here: {ours.shape}; by process {pid}: {row.shape}"
            )
