"""prometheus_client's modes of a gauge: their numbers, and what MPMETRICS_GAUGE_MODES overrides."""

from __future__ import annotations

import fnmatch
import functools
import logging
import os

_FOLDS = ("all", "min", "max", "sum", "mostrecent")  # numbered from 1: `mpm_mode` in core.h
_LIVE = 16  # added: only the living count

MODES = frozenset(live + fold for live in ("", "live") for fold in _FOLDS)

log = logging.getLogger("mpmetrics")


def number(mode: str | None) -> int:
    """What the core calls the mode; None: one value for all processes."""
    if mode is None or mode == "none":
        return 0
    return _FOLDS.index(mode.removeprefix("live")) + 1 + (_LIVE if mode.startswith("live") else 0)


def name(number: int) -> str:
    """The mode of that number; of a damaged store it may be any."""
    fold = fold_of(number)
    if number and not fold:
        return str(number)
    return ("live" if number & _LIVE else "") + (fold or "none")


def fold_of(mode: int) -> str:
    """What a mode of the core does with the processes' values; "": there is one for all."""
    fold = mode & ~_LIVE
    return _FOLDS[fold - 1] if 0 < fold <= len(_FOLDS) else ""


def override(name: str) -> str | None:
    """
    The mode that MPMETRICS_GAUGE_MODES gives to gauges of this full name; None: it says nothing.

    For gauges that are declared inside libraries. "name=livesum,db_*=max,other=none": patterns as
    of a shell, the first that matches; "none" is one value for all processes.
    """
    for pattern, mode in _overrides(os.environ.get("MPMETRICS_GAUGE_MODES", "")):
        if fnmatch.fnmatchcase(name, pattern):
            return mode
    return None


@functools.cache
def _overrides(text: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        pattern, mode = (side.strip() for side in part.partition("=")[::2])
        if pattern and (mode in MODES or mode == "none"):
            pairs.append((pattern, mode))
        else:
            log.error("MPMETRICS_GAUGE_MODES: no mode in %r; expected NAME=MODE", part)
    return tuple(pairs)
