"""What every reader of the crew's registries must show: `crew.py` says who counts it.

Imports no metrics, so that a test may import it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from examples.rig import page as pages

WORKERS = 3
# How much each thing counts in each registry: what got into the wrong one is seen.
UNITS = {"default": 1, "named": 2}

Sample = tuple[str, dict[str, str], float]


def samples(which: str, workers: int = WORKERS) -> Iterator[Sample]:
    """Each sample of that registry after so many workers, but for the times of creation."""
    unit = UNITS[which]
    shares = workers * (workers + 1) / 2 * unit  # worker i counts i + 1 units
    each = workers * unit
    yield "crew_jobs_total", {"outcome": "ok"}, shares
    yield "crew_jobs_total", {"outcome": "failed"}, each
    yield "crew_level", {}, shares
    yield "crew_lowest", {}, unit
    yield "crew_size_count", {}, each
    yield "crew_size_sum", {}, shares / 4
    for bound in range(1, 3):
        yield "crew_seconds_bucket", {"le": f"{bound}.0"}, bound * unit
    yield "crew_seconds_bucket", {"le": "+Inf"}, each
    yield "crew_seconds_count", {}, each
    yield "crew_seconds_sum", {}, shares - each / 2
    yield "crew_build_info", {"version": "1.2", "of": 'a "b"\\c'}, 1
    yield "crew_phase", {"crew_phase": "idle"}, 0
    yield "crew_phase", {"crew_phase": "busy"}, 1
    yield "crew_late_total", {}, each


def expected(which: str, workers: int = WORKERS, **more: str) -> dict[str, float]:
    """The same as `shown` gives them; `more` are the labels that a reader adds."""
    return {
        _bound_as_go(pages.sample(name, **_escaped(labels), **more)): value
        for name, labels, value in samples(which, workers)
    }


def shown(text: str, containing: str = "") -> dict[str, float]:
    """The crew's samples on a page, those whose labels have this text."""
    return {
        _bound_as_go(name): value
        for name, value in pages.read(text).items()
        if name.startswith("crew_") and "_created" not in name and containing in name
    }


def _escaped(labels: dict[str, str]) -> dict[str, str]:
    """As they stand on a page."""
    escapes = str.maketrans({"\\": r"\\", '"': r"\""})
    return {key: value.translate(escapes) for key, value in labels.items()}


def _bound_as_go(name: str) -> str:
    """Programs in Go write the bound 1.0 as 1."""
    return re.sub(r'\ble="(\d+)\.0"', r'le="\1"', name)
