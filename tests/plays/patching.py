"""What test_patching.py wants to see; each function runs in an interpreter of its own.

Nothing here imports prometheus_client or mpmetrics at the top: which comes first is the question.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pkgutil
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.plays.logged import Lines

# What a program may take from where, and must be ours then.
CLASSES = ["Counter", "Gauge", "Summary", "Histogram", "Info", "Enum"]
SWITCHES = ["disable_created_metrics", "enable_created_metrics"]
ENDPOINTS = [
    "MetricsHandler",
    "make_asgi_app",
    "make_wsgi_app",
    "start_http_server",
    "start_wsgi_server",
]
NAMES = {
    "": [*CLASSES, *SWITCHES, *ENDPOINTS, "CollectorRegistry", "generate_latest"],
    ".core": [*CLASSES, "CollectorRegistry"],
    ".metrics": [*CLASSES, *SWITCHES, "MetricWrapperBase", "CollectorRegistry"],
    ".registry": ["CollectorRegistry"],
    ".exposition": [*ENDPOINTS, "generate_latest"],
    ".asgi": ["make_asgi_app"],
    ".openmetrics.exposition": ["generate_latest"],
    ".multiprocess": ["MultiProcessCollector", "mark_process_dead", "Gauge"],
}


def all_modules() -> dict[str, dict[str, object]]:
    """Every module of prometheus_client that can be imported here, and what is in it."""
    import prometheus_client

    found = {}
    for info in pkgutil.walk_packages(prometheus_client.__path__, "prometheus_client."):
        try:
            module = importlib.import_module(info.name)
        except ImportError:  # of a framework that isn't installed
            continue
        found[info.name] = dict(vars(module))
    return found | {"prometheus_client": dict(vars(prometheus_client))}


def names_that_are_not_ours() -> list[str]:
    return [
        f"prometheus_client{module}.{name}"
        for module, names in NAMES.items()
        for name in names
        if not _origin(importlib.import_module(f"prometheus_client{module}"), name).startswith(
            "mpmetrics"
        )
    ]


def _origin(module: types.ModuleType, name: str) -> str:
    return str(getattr(module, name).__module__)


def replaced(before: bool) -> dict[str, Any]:
    """All of prometheus_client imported before the patch, or after it."""
    known: dict[str, dict[str, object]] = all_modules() if before else {}
    import mpmetrics

    lines = Lines()
    theirs = {name: getattr(sys.modules["prometheus_client"], name) for name in NAMES[""]}
    undo = mpmetrics.patch().undo
    patched = all_modules()
    left = [
        f"{module}.{attribute}"
        for module, attributes in patched.items()
        for attribute, value in attributes.items()
        if any(value is one for one in theirs.values())
    ]
    not_ours = names_that_are_not_ours()
    undo()
    after = all_modules()
    return {
        "modules": len(patched),
        "not ours": not_ours,
        "left": left,
        "ours after undo": [
            f"{module}.{attribute}"
            for module, attributes in after.items()
            for attribute, value in attributes.items()
            if str(getattr(value, "__module__", "")).startswith("mpmetrics")
        ],
        "changed after undo": [
            f"{module}.{attribute}"
            for module, attributes in known.items()
            for attribute, value in attributes.items()
            if value is not after[module][attribute]
        ],
        "said": lines.said,
    }


def twice() -> dict[str, Any]:
    """A second call inside the first, each as a `with` block."""
    import prometheus_client

    import mpmetrics

    def is_ours() -> bool:
        return bool(prometheus_client.Counter is mpmetrics.Counter)

    seen = [is_ours()]
    with mpmetrics.patch():
        seen.append(is_ours())
        with mpmetrics.patch() as second:
            seen.append(is_ours())
        second.undo()
        seen.append(is_ours())
    seen.append(is_ours())
    with mpmetrics.patch() as again:
        seen.append(is_ours())
    again.undo()
    return {"ours": [*seen, is_ours()]}


def made_while_patched() -> list[float | None]:
    """A metric of ours, after the undo: its numbers, and those of one of theirs beside it."""
    import prometheus_client

    import mpmetrics

    with mpmetrics.patch():
        ours = prometheus_client.Counter("ours", "h")
    theirs = prometheus_client.Counter("theirs", "h")
    ours.inc(2)
    theirs.inc(3)
    value = prometheus_client.REGISTRY.get_sample_value
    return [value("ours_total"), value("theirs_total")]


# ---- too late ------------------------------------------------------------------------------------


def served() -> list[list[str]]:
    """What the servers show that a program starts under the patch."""
    import urllib.request

    client = _patched()
    import mpmetrics

    client.Counter("served", "h").inc()
    pages = []
    for start in (
        client.start_http_server,
        client.start_wsgi_server,
        mpmetrics.start_http_server,
    ):
        server, thread = start(0, "127.0.0.1")
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics") as answer:
            page = answer.read().decode().splitlines()
        pages.append([line for line in page if line.startswith("served_total")])
        server.shutdown()
        server.server_close()
        thread.join()
    return pages


def late(kind: str) -> list[str]:
    """What is logged if something was there before."""
    import prometheus_client

    library = types.ModuleType("a_library")
    sys.modules["a_library"] = library
    keep: list[object] = []
    if kind == "module":
        library.Histogram = prometheus_client.Histogram  # type: ignore[attr-defined]
    elif kind == "collector":
        from prometheus_client.multiprocess import MultiProcessCollector

        library.Collector = MultiProcessCollector  # type: ignore[attr-defined]
    elif kind == "harmless":
        library.Registry = prometheus_client.CollectorRegistry  # type: ignore[attr-defined]
        library.page = prometheus_client.generate_latest  # type: ignore[attr-defined]
        library.client = prometheus_client  # type: ignore[attr-defined]
    elif kind == "metric":
        counter = prometheus_client.Counter("early", "h", ["a"])
        counter.labels("x").inc()
        keep.append(prometheus_client.Gauge("hidden", "h", registry=None))
        keep.append(type("Mine", (prometheus_client.Summary,), {})("mine", "h", registry=None))
    import mpmetrics

    lines = Lines()
    mpmetrics.patch()
    mpmetrics.patch()
    return lines.said


def unfinished() -> list[Any]:
    """A metric whose `__init__` raised is still there, and a module that is loaded at first use."""
    import importlib.util

    import prometheus_client

    class Half(prometheus_client.Gauge):
        def __init__(self) -> None:
            kept.append(self)
            raise ValueError

    kept: list[object] = []
    with contextlib.suppress(ValueError):
        Half()
    kept.append(prometheus_client.Gauge("whole", "h"))
    spec = importlib.util.find_spec("tests.plays.not_to_be_imported")
    assert spec is not None
    assert spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules["a_lazy_module"] = module
    spec.loader.exec_module(module)
    sys.modules["no_module"] = 5  # type: ignore[assignment]

    import mpmetrics

    lines = Lines()
    with mpmetrics.patch():
        seen = [prometheus_client.Gauge is mpmetrics.Gauge]
    seen.append(prometheus_client.Gauge is mpmetrics.Gauge)
    del sys.modules["no_module"]
    return [*seen, lines.said, "is_loaded" in object.__getattribute__(module, "__dict__")]


def all_or_nothing() -> list[Any]:
    """A module of prometheus_client's that lets nothing be replaced in it."""
    import prometheus_client

    import mpmetrics

    class Frozen(types.ModuleType):
        def __setattr__(self, name: str, value: object) -> None:
            if str(getattr(value, "__module__", "")).startswith("mpmetrics"):
                raise RuntimeError("frozen")
            super().__setattr__(name, value)

    frozen = sys.modules["prometheus_client.zzz"] = Frozen("zzz")
    frozen.Counter = prometheus_client.Counter  # type: ignore[attr-defined]
    all_modules()  # each is an attribute of its package from now on
    before = all_modules()
    raised = []
    for _ in range(2):
        try:
            mpmetrics.patch()
        except RuntimeError as error:
            raised.append(str(error))
    return [raised, before == all_modules()]


# ---- PROMETHEUS_MULTIPROC_DIR --------------------------------------------------------------------


def use_everything(mode: str, folder: str) -> dict[str, Any]:
    """A program of the multi-process mode: the folder set before the import, or by the program."""
    if mode == "before":
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    lines = Lines()
    import mpmetrics

    mpmetrics.patch()
    import prometheus_client as client
    from prometheus_client import multiprocess

    if mode == "after":
        os.environ.update(PROMETHEUS_MULTIPROC_DIR=folder, prometheus_multiproc_dir=folder)
    client.Counter("jobs", "h", ["a"]).labels("x").inc(2)
    client.Gauge("level", "h", multiprocess_mode="livesum").set(3)
    client.Histogram("seconds", "h").observe(1)
    client.Summary("bytes", "h").observe(1)
    client.Info("build", "h").info({"version": "1"})
    client.Enum("state", "h", states=["a", "b"]).state("b")
    client.generate_latest()
    pages = {}
    for path in ((), (folder,), (os.path.join(folder, "is", "not", "there"),), (None,)):
        registry = client.CollectorRegistry()
        multiprocess.MultiProcessCollector(registry, *path)
        pages[str(path)] = client.generate_latest(registry).decode()
    for arguments in ((os.getpid(),), (os.getpid(), folder), (1, "/not/there")):
        multiprocess.mark_process_dead(*arguments)
    multiprocess.MultiProcessCollector(None)
    client.REGISTRY.collect()
    return {
        "pages": sorted(set(pages.values())),
        "files": sorted(os.listdir(folder)) if os.path.isdir(folder) else None,
        "merged": list(multiprocess.MultiProcessCollector.merge([])),
        "said": lines.said,
    }


def left_over(patched: bool, variable: str, folder: str) -> dict[str, Any]:
    """What is logged where the variable is set: at the import, and at the first metrics."""
    os.environ[variable] = folder
    lines = Lines()
    import mpmetrics

    at_import = list(lines.said)
    if patched:
        mpmetrics.patch()
    mpmetrics.Counter("x", "h").inc()
    mpmetrics.Counter("y", "h").inc()
    mpmetrics.generate_latest()
    return {"at import": at_import, "said": lines.said, "files": os.listdir(folder)}


def created(patched: bool, folder: str) -> list[bool]:
    """Are `_created` series shown, at first and after each call of the two switches?"""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    import mpmetrics

    if patched:
        mpmetrics.patch()
    library: Any = sys.modules["prometheus_client"] if patched else mpmetrics
    library.Counter("x", "h")
    pages = [library.generate_latest()]
    for switch in (library.disable_created_metrics, library.enable_created_metrics):
        switch()
        pages.append(library.generate_latest())
    return [b"x_created" in page for page in pages]


def files_of_an_earlier_run(folder: str) -> list[list[Any]]:
    """`merge` of real files, made by prometheus_client, while ours stands in its class's place."""
    import subprocess

    code = "import prometheus_client as p; p.Counter('old', 'h').inc(7)"
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": folder}
    subprocess.run([sys.executable, "-c", code], env=env, check=True)
    import mpmetrics

    mpmetrics.patch()
    from prometheus_client.multiprocess import MultiProcessCollector

    files = [str(path) for path in Path(folder).glob("*.db")]
    merged = MultiProcessCollector.merge(files, accumulate=False)
    return [[sample.name, sample.value] for metric in merged for sample in metric.samples]


# ---- registries of functions ---------------------------------------------------------------------


def count_in_a_function(by: float, variable: bool) -> str:
    """As dramatiq does: a registry made in each worker, shown through a collector."""
    if variable:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = "/not/there"
    client = _patched()
    registry = client.CollectorRegistry()
    counter = client.Counter("jobs", "h", registry=registry)
    alone = client.Counter("alone", "h", registry=None)
    counter.inc(by)
    alone.inc(by)
    whole = client.CollectorRegistry()
    client.multiprocess.MultiProcessCollector(whole)
    return str(client.generate_latest(whole).decode())


def factory() -> list[str]:
    """A library that makes each metric in one function, in a registry of its own."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = "/not/there"
    client = _patched()

    def make(labels: list[str]) -> Any:
        return client.Counter("jobs", "h", labels, registry=client.CollectorRegistry())

    made = [make(["a"]), make(["b"]), make(["b"])]
    made[0].labels("x").inc(1)
    made[1].labels("y").inc(2)
    made[2].labels("y").inc(3)
    whole = client.CollectorRegistry()
    client.multiprocess.MultiProcessCollector(whole)
    page = client.generate_latest(whole).decode().splitlines()
    return [line for line in page if line.startswith("jobs_total")]


# ---- what libraries touch ------------------------------------------------------------------------


def _patched() -> Any:
    import mpmetrics

    mpmetrics.patch()
    import prometheus_client

    return prometheus_client


def classes() -> dict[str, Any]:
    """isinstance, class attributes, and a user's own classes."""
    client = _patched()
    from prometheus_client.metrics import MetricWrapperBase

    class Mine(client.Counter):  # type: ignore[misc, name-defined]
        def __init__(self, *args: Any, step: float = 1, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.step = step
            self.calls: list[float] = []

        def inc(self, amount: float | None = None, exemplar: Any = None) -> None:
            self.calls.append(self.step)
            super().inc(self.step if amount is None else amount, exemplar)

    mine = Mine("mine", "h", ["a"], step=5)
    mine.labels("x").inc()
    mine.labels(a="y").inc(2)
    plain = client.Gauge("plain", "h")
    return {
        "mine": [client.REGISTRY.get_sample_value("mine_total", {"a": a}) for a in "xy"],
        "of mine": isinstance(mine.labels("x"), Mine),
        "is": [
            isinstance(plain, MetricWrapperBase),
            isinstance(plain, client.Gauge),
            isinstance(mine, client.Counter),
            isinstance(plain, client.Counter),
            isinstance(client.CollectorRegistry(), client.registry.CollectorRegistry),
        ],
        "modes": sorted(client.Gauge._MULTIPROC_MODES),
        "buckets": list(client.Histogram.DEFAULT_BUCKETS),
    }


def attributes() -> dict[str, Any]:
    """The private attributes that libraries and tests read and write."""
    client = _patched()
    counter = client.Counter("c", "Text.", {"a": 1, "b": 2}.keys())
    counter.labels("x", "y").inc(2)
    gauge = client.Gauge("g", "h")
    gauge.set(4)
    plain = client.Counter("p", "h")
    plain.inc(3)
    seen: dict[str, Any] = {
        "counter": [
            counter._name,
            counter._type,
            counter._documentation,
            counter._labelnames,
            sorted(counter._metrics),
            counter.labels("x", "y")._labelvalues,
        ],
        "values": [counter.labels("x", "y")._value.get(), gauge._value.get(), plain._value.get()],
    }
    plain._value.set(1)
    plain._value.inc(1)
    gauge._value.set(9)
    gauge._value.inc(1)
    seen["set"] = [plain._value.get(), gauge._value.get()]
    info, enum = client.Info("i", "h"), client.Enum("e", "h", states=["a", "b"])
    before = [info._value, enum._value]
    info.info({"k": "v"})
    enum.state("b")
    seen["info and enum"] = [*before, info._value, enum._states[enum._value]]
    for each in "uvw":
        counter.labels(each, "z").inc()
    del counter._metrics["u", "z"]
    counter._metrics.pop(("v", "z"))
    seen["popped"] = [counter._metrics.pop(("v", "z"), None), sorted(counter._metrics)]
    counter._metrics.clear()
    seen["cleared"] = [len(counter._metrics), client.REGISTRY.get_sample_value("c_total")]
    return seen


def remove_as_flower() -> list[Any]:
    """flower takes the label sets of workers that are gone from `_metrics`, and removes each."""
    client = _patched()
    metric = client.Gauge("flower_worker_online", "h", ["worker"])
    counter = client.Counter("flower_events", "h", ["worker", "type"])
    for worker in "abc":
        metric.labels(worker).set(1)
        counter.labels(worker, "sent").inc()
    for each in (metric, counter):
        for labels in [labels for labels in each._metrics if labels[0] in ("a", "c")]:
            each.remove(*labels)
    return [sorted(metric._metrics), sorted(counter._metrics), _page(client, "flower")]


def loop_as_vllm() -> list[Any]:
    """vLLM unregisters its metrics of before by looking into the registry, and declares anew."""
    client = _patched()
    registry = client.REGISTRY
    for _ in range(2):
        for collector in list(registry._collector_to_names):
            if hasattr(collector, "_name") and "vllm" in collector._name:
                registry.unregister(collector)
        running = client.Gauge("vllm:num_requests_running", "h", ["model"])
        client.Histogram("vllm:e2e_seconds", "h", ["model"], buckets=[1, 2]).labels("m").observe(1)
        running.labels("m").inc()
    samples = [s for m in registry.collect() if m.name == "vllm:e2e_seconds" for s in m.samples]
    buckets = [(s.labels["le"], s.value) for s in samples if s.name.endswith("_bucket")]
    return [_page(client, "vllm:num"), buckets]


def copy_as_django_prometheus() -> list[Any]:
    """django-prometheus' test helpers keep a deep copy of everything collected."""
    import copy

    client = _patched()
    counter = client.Counter("c", "h", ["a"])
    counter.labels("x").inc()
    saved = copy.deepcopy(list(client.REGISTRY.collect()))
    counter.labels("x").inc(5)
    value = [s.value for m in saved for s in m.samples if s.name == "c_total"]
    return [value, client.REGISTRY.get_sample_value("c_total", {"a": "x"})]


def duplicates_as_instrumentator() -> list[Any]:
    """prometheus-fastapi-instrumentator declares again, and looks at the error's text."""
    client = _patched()
    client.Counter("c", "h")
    try:
        client.Counter("c", "h")
    except ValueError as error:
        return ["Duplicated timeseries in CollectorRegistry:" in error.args[0]]
    return [None]


def constructed() -> list[Any]:
    """Each class by position, by keyword, with any iterable, and without a registry."""
    client = _patched()
    registry = client.CollectorRegistry()
    made = []
    for name, more in {
        "Counter": {},
        "Gauge": {"multiprocess_mode": "max"},
        "Summary": {},
        "Histogram": {"buckets": [1, 2]},
        "Info": {},
        "Enum": {"states": ["a", "b"]},
    }.items():
        class_: Callable[..., Any] = getattr(client, name)
        low = name.lower()
        by_position = class_(
            f"{low}_one",
            "h",
            (a for a in ["a"]),
            "space",
            "sub",
            "",
            registry,
            None,
            *more.values(),
        )
        by_keyword = class_(
            name=f"{low}_two",
            documentation="h",
            labelnames={"a": 1}.keys(),
            namespace="space",
            subsystem="sub",
            unit="",
            registry=registry,
            **more,
        )
        alone = class_(f"{low}_one", "h", registry=None, **more)
        made.append([by_position._name, by_keyword._name, alone._name])
        by_position.labels(3)
        by_keyword.labels(a=object.__name__)
    return made


def _page(client: Any, part: str) -> list[str]:
    page = client.generate_latest().decode().splitlines()
    return [line for line in page if line.startswith(part) and "_created" not in line]


# ---- what a registry has of other processes ------------------------------------------------------


def declare_here() -> None:
    client = _patched()
    client.Counter("theirs", "h", ["a"]).labels("x").inc()
    client.Gauge("level", "h").set(2)


def get_or_create(method: str) -> dict[str, Any]:
    """Looks a name up in the registry, where a scrape has shown another process's family."""
    import pickle

    from tests.concurrency.actors import Actor

    client = _patched()
    client.Counter("first", "So that there is a store.")
    with Actor(method) as actor:
        actor.do(declare_here)
        client.generate_latest()
        found = client.REGISTRY._names_to_collectors["theirs_total"]
        level = client.REGISTRY._names_to_collectors["level"]
        found.labels("x").inc(2)
        found.labels(a="y").inc(5)
        level.inc()
        same = pickle.loads(pickle.dumps(found.labels("y")))
        same.inc()
        pages = [_page(client, "theirs"), actor.do(page_of, "theirs")]
        seen = {
            "is": [isinstance(found, client.Counter), isinstance(level, client.Gauge)],
            "pages": pages,
            "values": [found.labels("y")._value.get(), level._value.get()],
            "metrics": sorted(found._metrics),
            "child": [s.value for s in found.labels("x").collect()[0].samples][:1],
        }
        found.remove("x")
        seen["removed"] = [_page(client, "theirs"), actor.do(page_of, "theirs")]
        # And whoever declares it instead gets it, too.
        declared = client.Counter("theirs", "h", ["a"])
        declared.labels("y").inc()
        found.labels("y").inc()
        seen["declared"] = [_page(client, "theirs"), actor.do(page_of, "theirs")]
    return seen


def page_of(part: str) -> list[str]:
    return _page(_patched(), part)
