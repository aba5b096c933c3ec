"""Exemplars: their labels, as users give them and as the core keeps them."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from prometheus_client.samples import Exemplar

from . import names

_LIMIT = 128  # OpenMetrics, "Exemplars": code points of all label names and values together
_LENGTHS = struct.Struct("=HH")


def encode(labels: Mapping[str, str]) -> bytes:
    """The labels in the order of their names, each with the lengths of name and value before it.

    Raises ValueError for a label name that OpenMetrics hasn't, or more than 128 code points."""
    for name in names.label_names(labels, ()):
        if not names.are_plain("counter", "exemplar", (name,)):
            # No escaping is negotiated for exemplars: such a name would spoil the whole page.
            raise ValueError(f"Invalid label name of an exemplar: {name!r}")
    points = sum(len(name) + len(value) for name, value in labels.items())
    if points > _LIMIT:
        raise ValueError(
            f"Exemplar labels have {points} UTF-8 characters, exceeding the limit of {_LIMIT}"
        )
    parts = []
    for name, value in sorted(labels.items()):
        pair = name.encode(errors="replace"), value.encode(errors="replace")
        parts += [_LENGTHS.pack(len(pair[0]), len(pair[1])), *pair]
    return b"".join(parts)


def decode(text: bytes, value: float, time: float) -> Exemplar:
    """The exemplar that was encoded."""
    labels, at = {}, 0
    while at + _LENGTHS.size <= len(text):
        name_bytes, value_bytes = _LENGTHS.unpack_from(text, at)
        at += _LENGTHS.size
        name = text[at : at + name_bytes].decode(errors="replace")
        at += name_bytes
        labels[name] = text[at : at + value_bytes].decode(errors="replace")
        at += value_bytes
    return Exemplar(labels, value, time)
