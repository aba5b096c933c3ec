"""MultiProcessCollector: random programs of several processes, by prometheus_client's and by ours.

Both run the same code; below `mpmetrics run` it gets our classes. Everything happens one after the
other, so what is the newest is known.
"""

from __future__ import annotations

import os
import random
import tempfile
from typing import Any

from tests.concurrency.actors import Actor

MODES = ("all", "min", "max", "sum", "mostrecent")
MODES = (*MODES, *(f"live{mode}" for mode in MODES))
KINDS = ("Counter", "Summary", "Histogram", "Gauge", "Gauge", "Gauge")
REGISTRIES = 3
WORKERS = 4

Shape = dict[str, Any]


def shapes(rng: random.Random, prefix: str) -> list[Shape]:
    """What the program's metrics are; one name is of one shape, but for a histogram's buckets."""
    return [
        {
            "kind": (kind := rng.choice(KINDS)),
            "name": f"{prefix}_{number}",
            "labelnames": rng.choice([[], ["a"], ["b", "a"]]),
            "mode": rng.choice(MODES) if kind == "Gauge" else None,
        }
        for number in range(rng.randint(1, 4))
    ]


# ---- in a worker ---------------------------------------------------------------------------------

_metrics: dict[str, Any] = {}
_registries: list[Any] = []


def declare(registry: int, shape: Shape, buckets: list[float]) -> None:
    """In that registry. Each is made in a function of its own: that is what it is known by."""
    import prometheus_client as client

    while len(_registries) < REGISTRIES:
        _registries.append(client.CollectorRegistry())
    more: dict[str, Any] = {}
    if shape["kind"] == "Gauge":
        more["multiprocess_mode"] = shape["mode"]
    elif shape["kind"] == "Histogram":
        more["buckets"] = buckets
    # prometheus_client's key of a value is name, labels and help: with one help, two registries of
    # one process would overwrite each other's.
    arguments = (shape["name"], f"Of registry {registry}.", shape["labelnames"])
    make = (_in_first, _in_second, _in_third)[registry]
    _metrics[f"{registry} {shape['name']}"] = make(getattr(client, shape["kind"]), arguments, more)


def _in_first(cls: Any, arguments: Any, more: Any) -> Any:
    return cls(*arguments, registry=_registries[0], **more)


def _in_second(cls: Any, arguments: Any, more: Any) -> Any:
    return cls(*arguments, registry=_registries[1], **more)


def _in_third(cls: Any, arguments: Any, more: Any) -> Any:
    return cls(*arguments, registry=_registries[2], **more)


def call(key: str, labels: list[str], method: str, value: float) -> None:
    metric = _metrics[key]
    getattr(metric.labels(*labels) if labels else metric, method)(value)


# ---- the program ---------------------------------------------------------------------------------


class Crew:
    """Workers by number; one that was killed may be followed by another of its number."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.actors: dict[int, Actor] = {}
        self.numbers: dict[str, str] = {}  # of living workers, by pid
        self.declared: set[tuple[int, str]] = set()

    def actor(self, worker: int) -> Actor:
        if worker not in self.actors:
            actor = self.actors[worker] = Actor(self.method)
            self.numbers[str(actor.process.pid)] = f"worker {worker}"
        return self.actors[worker]

    def kill(self, worker: int) -> None:
        """As gunicorn does when a worker was killed: its child_exit hook says so."""
        from prometheus_client import multiprocess

        actor = self.actors.pop(worker, None)
        if actor is None:
            return
        actor.kill()
        self.declared = {(who, key) for who, key in self.declared if who != worker}
        del self.numbers[str(actor.process.pid)]
        multiprocess.mark_process_dead(actor.process.pid)

    def end(self) -> None:
        for actor in self.actors.values():
            actor.end()


def step(rng: random.Random, crew: Crew, made: list[Shape]) -> None:
    """One call in one worker, or its death."""
    worker = rng.randrange(WORKERS)
    if rng.random() < 0.06:
        crew.kill(worker)
        return
    shape, registry = rng.choice(made), rng.randrange(REGISTRIES)
    if shape["mode"] in ("all", "liveall"):
        registry = worker % REGISTRIES  # of two with one pid, either library shows one of the two
    labels = [rng.choice("xy") for _ in shape["labelnames"]]
    value = rng.randint(-40, 40) / 8
    if shape["kind"] == "Gauge":
        recent = shape["mode"].endswith("mostrecent")
        method = "set" if recent else rng.choice(["set", "inc", "dec"])
    else:
        method, value = {"Counter": "inc"}.get(shape["kind"], "observe"), abs(value)
    # In one registry they are one shape: of two, the newer one is shown.
    buckets = [0.5, 2.0] if registry == 0 else [1.0, 2.0, 4.0]
    key = f"{registry} {shape['name']}"
    actor = crew.actor(worker)
    if (worker, key) not in crew.declared:
        crew.declared.add((worker, key))
        actor.do(declare, registry, shape, buckets)
        if shape["kind"] == "Gauge" and not labels:
            method = (
                "set"  # before that, prometheus_client has a 0 that counts: a stated difference
            )
    actor.do(call, key, labels, method, value)


def pages(method: str, seed: int, programs: int, steps: int) -> list[Any]:
    """What the collector shows after each program, in a process that declares nothing."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.gettempdir()
    import prometheus_client as client

    files = client.Counter.__module__.startswith("prometheus_client")
    found: list[Any] = [files]
    for number in range(programs):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
            rng = random.Random(f"{seed} {number}")
            made = shapes(rng, f"p{number}")
            crew = Crew(method)
            for _ in range(steps):
                step(rng, crew, made)
            found.append([made, _shown(f"p{number}_", crew)])
            assert files == bool(os.listdir(folder))
            crew.end()
    return found


def _shown(prefix: str, crew: Crew) -> dict[str, Any]:
    """The families of the program: type and samples, the living by their numbers.

    Of mode `all` without the dead, whom only prometheus_client shows for ever."""
    import prometheus_client as client
    from prometheus_client import multiprocess

    registry = client.CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    families: dict[str, Any] = {}
    for metric in registry.collect():
        if not metric.name.startswith(prefix):
            continue
        assert metric.name not in families, "twice"
        samples = {}
        for sample in metric.samples:
            labels = dict(sample.labels)
            if "pid" in labels:
                labels["pid"] = crew.numbers.get(labels["pid"], "dead")
            if labels.get("pid") == "dead" or sample.name.endswith("_created"):
                continue
            name = f"{sample.name}{sorted(labels.items())}"
            assert name not in samples, "twice"
            samples[name] = sample.value
        if samples:
            families[metric.name] = [metric.type, samples]
    return families
