"""What tests and libraries read through `_value`, `_sum`, `_count`, `_buckets` and `_metrics`.

prometheus_client's classes keep their numbers in objects with `get`, and children in a dictionary;
so many tests use them that these are as good as public. Ours read the store, what all processes
have counted, and change it for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from prometheus_client.samples import Sample

M = TypeVar("M")


class Value:
    """One number of a metric, read over all processes at each `get`."""

    def __init__(self, collect: Callable[[], list[Sample]], suffix: str, nth: int = 0) -> None:
        self._collect = collect
        self._suffix = suffix
        self._nth = nth

    def get(self) -> float:
        """The number; 0.0 if the series was removed."""
        samples = [sample for sample in self._collect() if sample.name.endswith(self._suffix)]
        return samples[self._nth].value if self._nth < len(samples) else 0.0


class Settable(Value):
    """A number that can be set, too: that of a counter or a gauge."""

    def __init__(
        self,
        collect: Callable[[], list[Sample]],
        suffix: str,
        set: Callable[[float], None],
        inc: Callable[[float], None],
    ) -> None:
        super().__init__(collect, suffix)
        self.set = set
        self.inc = inc


class Bucket(Value):
    """What one bucket of a histogram holds, without those below it."""

    def get(self) -> float:
        """The number of observations."""
        below = Value(self._collect, self._suffix, self._nth - 1).get() if self._nth else 0.0
        return super().get() - below


class Children(dict[tuple[str, ...], M]):
    """A metric's children by their label values, as they were; what is deleted here is removed."""

    def __init__(
        self, children: Iterable[tuple[tuple[str, ...], M]], remove: Callable[..., None]
    ) -> None:
        super().__init__(children)
        self._remove = remove

    def __delitem__(self, labelvalues: tuple[str, ...]) -> None:
        super().__delitem__(labelvalues)
        self._remove(*labelvalues)

    def pop(self, labelvalues: tuple[str, ...], *default: Any) -> Any:
        """The child, removed; or the default."""
        if labelvalues in self:
            self._remove(*labelvalues)
        return super().pop(labelvalues, *default)

    def clear(self) -> None:
        """Removes all of them."""
        for labelvalues in list(self):
            del self[labelvalues]
