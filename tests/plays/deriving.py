"""What test_deriving.py wants to see; each function runs in an interpreter of its own."""

from __future__ import annotations

import abc
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from tests.plays.logged import Lines


def summary_with_quantiles(patched: bool) -> dict[str, Any]:
    """A class as prometheus-summary 0.1.6 has it, unmodified but for what it keeps."""
    lines = Lines()
    if patched:
        import mpmetrics

        mpmetrics.patch()
    import prometheus_client
    from prometheus_client.samples import Sample

    class Summary(prometheus_client.Summary):
        def __init__(
            self,
            name: str,
            documentation: str,
            labelnames: Iterable[str] = (),
            registry: Any = prometheus_client.REGISTRY,
            _labelvalues: Any = None,
            quantiles: Iterable[float] = (0.5,),
            **more: Any,
        ) -> None:
            self._quantiles = quantiles
            self._lock = Lock()
            super().__init__(
                name,
                documentation,
                labelnames,
                registry=registry,
                _labelvalues=_labelvalues,
                **more,
            )
            self._kwargs["quantiles"] = quantiles

        def _metric_init(self) -> None:
            super()._metric_init()
            self._seen: list[float] = []

        def observe(self, amount: float) -> None:
            super().observe(amount)
            with self._lock:
                self._seen.append(amount)

        def _child_samples(self) -> Any:
            with self._lock:
                seen = sorted(self._seen)
                samples = [
                    Sample("", {"quantile": str(q)}, seen[int(len(seen) * q)], None, None)
                    for q in self._quantiles
                ]
            return [*samples, *super()._child_samples()]

    summary = Summary("seconds", "h", ["a"], quantiles=(0.5, 0.9))
    for value in (1, 2, 3):
        summary.labels("x").observe(value)
    page = prometheus_client.generate_latest().decode().splitlines()
    return {
        "page": [line for line in page if line.startswith(("seconds{", "seconds_c", "seconds_s"))][
            :4
        ],
        "is": [
            isinstance(summary, Summary),
            isinstance(summary.labels("x"), prometheus_client.Summary),
            isinstance(summary, prometheus_client.Counter),
            isinstance(summary, prometheus_client.metrics.MetricWrapperBase),
            issubclass(Summary, prometheus_client.Summary),
            Summary.__name__,
        ],
        "said": lines.said,
    }


def of_the_base_class(patched: bool) -> dict[str, Any]:
    """A class that is derived from MetricWrapperBase."""
    lines = Lines()
    if patched:
        import mpmetrics

        mpmetrics.patch()
    import prometheus_client
    from prometheus_client.metrics import MetricWrapperBase
    from prometheus_client.samples import Sample

    class Latest(MetricWrapperBase):
        _type = "gauge"

        def _metric_init(self) -> None:
            self._latest = 0.0

        def say(self, value: float) -> None:
            self._latest = value

        def _child_samples(self) -> Any:
            return [Sample("", {}, self._latest, None, None)]

    Latest("one", "h").say(3)
    Latest("two", "h", ["a"]).labels("x").say(4)
    value = prometheus_client.REGISTRY.get_sample_value
    return {
        "values": [value("one"), value("two", {"a": "x"})],
        "is": [
            isinstance(Latest("three", "h"), MetricWrapperBase),
            issubclass(Latest, MetricWrapperBase),
            issubclass(prometheus_client.Gauge, MetricWrapperBase),
            isinstance(prometheus_client.Gauge("four", "h"), MetricWrapperBase),
            isinstance(prometheus_client.Gauge("five", "h"), Latest),
            issubclass(int, MetricWrapperBase),
        ],
        "said": lines.said,
    }


def mixtures(patched: bool) -> list[Any]:
    """Classes of a metric and something else: what they are, and what they count."""
    if patched:
        import mpmetrics

        mpmetrics.patch()
    import prometheus_client as client

    class Sized(Protocol):
        def size(self) -> int: ...

    class Hooks:
        def _child_samples(self) -> Any:
            samples = super()._child_samples()  # type: ignore[misc]
            return [sample._replace(value=7.0) for sample in samples]

    class Abstract(client.Counter, abc.ABC):  # type: ignore[misc, name-defined]
        pass

    class Virtual:
        pass

    Abstract.register(Virtual)

    class Structural(client.Gauge, Sized):  # type: ignore[misc, name-defined]
        def size(self) -> int:
            return 1

    class Mixed(Hooks, client.Gauge):  # type: ignore[misc, name-defined]
        pass

    class Untyped(client.Gauge):  # type: ignore[misc, name-defined]
        _type = "unknown"

    made = [cls(cls.__name__, "h") for cls in (Abstract, Structural, Mixed, Untyped)]
    for metric in made:
        metric.inc(2)
    value = client.REGISTRY.get_sample_value
    return [
        [value(name) for name in ("Abstract_total", "Structural", "Mixed", "Untyped")],
        [isinstance(metric, type(metric)) for metric in made],
        [isinstance(metric, client.Gauge) for metric in made],
        [isinstance(Virtual(), Abstract), isinstance(made[1], Abstract)],
        [type(client.Counter("plain", "h")) is client.Counter, issubclass(int, client.Counter)],
    ]


def between() -> list[str]:
    """The private methods stand in a subclass of a class that is shared."""
    import mpmetrics

    class Shared(mpmetrics.Counter):
        pass

    make: Callable[..., Any] = type
    try:
        make("Last", (Shared,), {"_child_samples": lambda self: [], "__module__": "lib"})
    except TypeError as error:
        return [str(error)]
    return []


def metaclass(patched: bool) -> list[Any]:
    """A metaclass of the program's, over that of the metrics, and what it makes."""
    if patched:
        import mpmetrics

        mpmetrics.patch()
    import prometheus_client as client

    made = []
    metatype: Any = type(client.Counter)

    class M(metatype):  # type: ignore[misc]
        def __init__(cls, name: str, *more: Any, **kwargs: Any) -> None:
            super().__init__(name, *more, **kwargs)
            made.append(name)

    class G(client.Counter, metaclass=M):  # type: ignore[misc, name-defined]
        def _metric_init(self) -> None:
            super()._metric_init()

    class H(G):
        pass

    return [
        [type(cls).__name__ for cls in (G, H)],
        made,
        [isinstance(H("h", "h"), G), isinstance(G("g", "h"), H)],
    ]


def register() -> list[Any]:
    """What each class says to a class to be registered, and what a subclass makes of it."""
    import mpmetrics

    said = []
    for name in ("Counter", "Gauge", "Summary", "Histogram", "Info", "Enum"):
        try:
            getattr(mpmetrics, name).register(int)
        except TypeError as error:
            said.append(str(error))

    class Mine(mpmetrics.Counter):
        pass

    return [said, [Mine.register(int) is int, isinstance(1, Mine)]]  # type: ignore[attr-defined]


def made_again() -> list[str]:
    """What is logged of classes that a function makes each time it is called."""
    lines = Lines()
    import mpmetrics
    from mpmetrics.metrics import MetricWrapperBase

    def make() -> None:
        class One(mpmetrics.Counter):
            def _child_samples(self) -> Any:
                return []

        class Two(mpmetrics.Counter):
            def _child_samples(self) -> Any:
                return []

        class Base(MetricWrapperBase):
            pass

    for _ in range(3):
        make()
    return lines.said


def in_files(folder: str) -> list[Any]:
    """A class that stays prometheus_client's, where that counts in files; and a metric of ours."""
    _count_in_files(folder)
    return [exporter(folder, 0), sorted(p.name.partition("_")[0] for p in Path(folder).iterdir())]


def _count_in_files(folder: str) -> None:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    import mpmetrics

    mpmetrics.patch()
    import prometheus_client as client

    class Summary(client.Summary):
        def _child_samples(self) -> Any:
            return super()._child_samples()

    Summary("sizes", "h").observe(5)
    client.Counter("jobs", "h").inc(2)


def worker(folder: str) -> None:
    """The same in a process that ends."""
    _count_in_files(folder)


def earlier_run(folder: str) -> int:
    """A process that has no mpmetrics; its number."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    import prometheus_client as client

    client.Counter("old", "h").inc(7)
    client.Counter("jobs", "h").inc(7)
    client.Gauge("level", "h", multiprocess_mode="livesum").set(1)
    return os.getpid()


def exporter(folder: str, dead: int) -> list[str]:
    """What MultiProcessCollector shows, once that process is said to be dead, if any is."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    import mpmetrics

    mpmetrics.patch()
    import prometheus_client as client
    from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

    if dead:
        mark_process_dead(dead)
    registry = client.CollectorRegistry()
    MultiProcessCollector(registry)
    page = client.generate_latest(registry).decode().splitlines()
    return sorted(line for line in page if line[0] != "#" and "_created" not in line)
