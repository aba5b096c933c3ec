"""What tests and libraries read through `_value`, `_sum`, `_count` and `_buckets` of a metric.

prometheus_client's classes keep their numbers in objects with `get`; so many tests read them that
these are as good as public. Ours read the store: what all processes have counted.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client.samples import Sample


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


class Bucket(Value):
    """What one bucket of a histogram holds, without those below it."""

    def get(self) -> float:
        """The number of observations."""
        below = Value(self._collect, self._suffix, self._nth - 1).get() if self._nth else 0.0
        return super().get() - below
