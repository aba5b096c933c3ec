"""prometheus_client's modes of a gauge: their numbers, and what MPMETRICS_GAUGE_MODES overrides."""

from __future__ import annotations

import fnmatch
import functools
import logging
import os
from collections.abc import Sequence

_FOLDS = ("all", "min", "max", "sum", "mostrecent")  # numbered from 1: `mpm_mode` in core.h
_LIVE = 16  # added: only the living count

MODES = frozenset(live + fold for live in ("", "live") for fold in _FOLDS)

# Modes that show processes one by one, told apart by a label, and what stands in their place for a
# gauge that has such a label itself. Not mostrecent, with which `inc` isn't allowed.
_PID = "pid"
_WITHOUT_PID = {"all": "none", "liveall": "livesum"}

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


def choose(name: str, mode: str | None, labelnames: Sequence[str]) -> str | None:
    """
    The mode of a gauge of this full name, whose code says `mode`.

    A label twice makes a page that Prometheus refuses as a whole, and an exception would keep a
    program from starting that runs with prometheus_client: so a gauge with a label `pid` is shown
    without the processes' own.
    """
    forced = override(name)
    has_pid = _PID in labelnames
    if has_pid and forced in _WITHOUT_PID:
        _say_once(f"MPMETRICS_GAUGE_MODES: {name} has a label pid, so it can't be {forced}")
        forced = None
    chosen = forced or mode
    if has_pid and chosen in _WITHOUT_PID:
        instead = _WITHOUT_PID[chosen]
        _say_once(
            f"the gauge {name} has a label pid, which its mode {chosen} gives to each process: "
            f"it counts as one of the mode {instead}"
        )
        return instead
    return chosen


@functools.cache
def _say_once(line: str) -> None:
    log.warning(line)


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
