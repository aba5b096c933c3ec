"""Names of metrics and labels: put together, checked, and which samples they give."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from prometheus_client.validation import get_legacy_validation

_LEGACY_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LEGACY_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

# OpenMetrics, "Suffixes": the samples that a family of each type may have beside its own name.
_SUFFIXES = {
    "counter": ("_total", "_created"),
    "gauge": (),
    "summary": ("_sum", "_count", "_created"),
    "histogram": ("_bucket", "_sum", "_count", "_created"),
    "info": ("_info",),
    "stateset": (),
    # Of other collectors alone:
    "gaugehistogram": ("_bucket", "_gsum", "_gcount"),
    "unknown": (),
}


def full_name(type_: str, name: str, namespace: str, subsystem: str, unit: str) -> str:
    """The family's name, as prometheus_client puts it together.

    Raises ValueError if it is empty, or has a unit that its type can't have."""
    if not name:
        raise ValueError("Metric name should not be empty")
    full = "_".join(part for part in (namespace, subsystem, name) if part)
    if type_ == "counter":
        full = full.removesuffix("_total")
    if unit and not full.endswith("_" + unit):
        full += "_" + unit
    if unit and type_ in ("info", "stateset"):
        raise ValueError("Metric name is of a type that cannot have a unit: " + full)
    return full


def label_names(names: Iterable[object], reserved: Sequence[str]) -> tuple[str, ...]:
    """The label names as a tuple.

    Raises ValueError for one that is reserved, twice there, or no label name."""
    result: list[str] = []
    for name in names:
        if not isinstance(name, str) or not name:
            raise ValueError(
                f"Invalid label metric name: {name!r} (expected a str that isn't empty)"
            )
        if name.startswith("__"):
            raise ValueError(f"Reserved label metric name: {name} (two underscores first)")
        if name in reserved:
            raise ValueError(f"Reserved label metric name: {name} (this type's samples have it)")
        if get_legacy_validation() and not _LEGACY_LABEL.fullmatch(name):
            raise ValueError(f"Invalid label metric name: {name} (not {_LEGACY_LABEL.pattern})")
        name.encode()  # UnicodeEncodeError, a ValueError, for half of a surrogate pair
        if name in result:
            raise ValueError(f"Label names must differ from each other: {name} is there twice")
        result.append(name)
    return tuple(result)


def sample_names(type_: str, name: str) -> tuple[str, ...]:
    """Every name that a family of this type and name takes in its registry."""
    return (name, *(name + suffix for suffix in _SUFFIXES[type_]))


def are_plain(type_: str, name: str, labelnames: Iterable[str]) -> bool:
    """Are these names shown as they are under every escaping that leaves legacy names alone?

    Never so of an Info: what names it will be given isn't known yet."""
    labels = (*labelnames, name) if type_ == "stateset" else labelnames
    return (
        type_ != "info"
        and _LEGACY_NAME.fullmatch(name) is not None
        and all(_LEGACY_LABEL.fullmatch(label) for label in labels)
    )
