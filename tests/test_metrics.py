"""What the metric classes do in one process."""

import asyncio
import math
import re
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager, suppress
from decimal import Decimal
from fractions import Fraction

import prometheus_client
import pytest
from hypothesis import given, strategies as st
from prometheus_client.openmetrics import exposition as openmetrics
from tests.programs import environment

import mpmetrics
from mpmetrics import Counter, Enum, Gauge, Histogram, Info, Summary, exposition
from mpmetrics.negotiation import Encoding, Format

INF = float("inf")
CLASSES = (Counter, Gauge, Summary, Histogram, Info, Enum)
OBSERVERS = (Summary, Histogram)


@pytest.fixture
def registry():
    return mpmetrics.CollectorRegistry()


def make(class_, registry, *labelnames, name="m", **options):
    if class_ is Enum:
        options.setdefault("states", ["on", "off"])
    return class_(name, "help", labelnames, registry=registry, **options)


def touch(metric):
    """One update, of whatever type."""
    match metric._type:
        case "counter" | "gauge":
            metric.inc()
        case "summary" | "histogram":
            metric.observe(1)
        case "info":
            metric.info({"k": "v"})
        case "stateset":
            metric.state("off")


def in_fresh_interpreter(code, **variables):
    """What the code prints in an interpreter of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(**variables)
    )
    assert not done.returncode, done.stderr
    return done.stdout


# ---- declaring -----------------------------------------------------------------------------------


@pytest.mark.parametrize("class_", CLASSES)
def test_positional_arguments(class_):
    """The arguments stand in prometheus_client's order; the name is put together as theirs."""
    unit = "" if class_ in (Info, Enum) else "u"
    last = {Histogram: ([1, 2],), Enum: (["x"],), Gauge: ("sum",)}.get(class_, ())
    names = []
    for library in (prometheus_client, mpmetrics):
        registry = library.CollectorRegistry()
        arguments = ("m", "help", ["a"], "ns", "sub", unit, registry, None, *last)
        metric = getattr(library, class_.__name__)(*arguments)
        names.append((metric._name, metric._documentation, metric._labelnames, metric._unit))
        names[-1] += tuple(family.name for family in registry.collect())

    assert names[0] == names[1]


@pytest.mark.parametrize("class_", CLASSES)
def test_keyword_arguments(class_, registry):
    """Every argument may be given by its name."""
    options = {"states": ["x"]} if class_ is Enum else {}
    metric = class_(
        documentation="help",
        name="m",
        labelnames=("a",),
        namespace="ns",
        subsystem="sub",
        unit="",
        registry=registry,
        **options,
    )

    assert "ns_sub_m" == metric._name


@pytest.mark.parametrize("none", ["namespace", "subsystem", "unit"])
def test_none_is_none(none, registry):
    """None stands for no namespace, subsystem or unit, as in prometheus_client."""
    assert "m" == Counter("m", "help", registry=registry, **{none: None})._name


@pytest.mark.parametrize(
    "iterable",
    [list, tuple, iter, dict.fromkeys, lambda names: dict.fromkeys(names).keys(),
     lambda names: (name for name in names), lambda names: map(str, names), "".join],
    ids=["list", "tuple", "iterator", "dict", "keys", "generator", "map", "str"],
)  # fmt: skip
@pytest.mark.parametrize("class_", CLASSES)
def test_labelnames_are_any_iterable(class_, iterable, registry):
    """Label names come from any iterable, walked once."""
    options = {"states": ["x"]} if class_ is Enum else {}
    metric = class_("n", "help", iterable(["a", "b"]), registry=registry, **options)

    assert ("a", "b") == metric._labelnames


@pytest.mark.parametrize(
    ("declared", "name"),
    [("m", "m"), ("m_total", "m"), ("m_total_total", "m_total"), ("m_total_x", "m_total_x")],
)
def test_counter_drops_total(declared, name, registry):
    """A counter's `_total` belongs to its sample, not to its name."""
    counter = Counter(declared, "help", registry=registry)
    counter.inc()

    assert name == counter._name
    assert 1.0 == registry.get_sample_value(name + "_total")


@pytest.mark.parametrize("class_", CLASSES)
def test_registry_none(class_):
    """With `registry=None` nothing shows the metric but itself, and it counts."""
    metric = make(class_, None)
    touch(metric)

    assert metric not in prometheus_client.REGISTRY._collector_to_names
    assert {1.0} & {sample.value for sample in metric.collect()[0].samples}


def test_default_registry_is_theirs():
    """Without `registry=` a metric is in prometheus_client's REGISTRY."""
    counter = Counter("test_metrics_default", "help")
    try:
        counter.inc(2)

        assert 2.0 == prometheus_client.REGISTRY.get_sample_value("test_metrics_default_total")
    finally:
        mpmetrics.REGISTRY.unregister(counter)


# ---- labels --------------------------------------------------------------------------------------


class Said:
    def __str__(self):
        return "said"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", "x"),
        (1, "1"),
        (None, "None"),
        (True, "True"),
        (1.5, "1.5"),
        (Said(), "said"),
        ("", ""),
    ],
)
def test_label_values_are_made_str(value, text, registry):
    """A label value is what str() makes of it."""
    counter = Counter("m", "help", ["a"], registry=registry)

    assert counter.labels(value) is counter.labels(text)
    counter.labels(a=value).inc()
    assert 1.0 == registry.get_sample_value("m_total", {"a": text})


def test_label_value_subclass_of_str(registry):
    """A subclass of str is asked for its str(), and the child is the plain string's."""

    class Loud(str):
        __slots__ = ()

        def __str__(self):
            return self.upper()

    counter = Counter("m", "help", ["a"], registry=registry)

    assert counter.labels(Loud("x")) is counter.labels("X")


@pytest.mark.parametrize("class_", CLASSES)
def test_same_child_each_time(class_, registry):
    """Positional or by keyword, in any order of keywords: one object for one label set."""
    metric = make(class_, registry, "a", "b")
    child = metric.labels("1", "2")

    assert child is metric.labels("1", "2")
    assert child is metric.labels(a="1", b="2")
    assert child is metric.labels(b="2", a="1")
    assert child is metric.labels(b=2, a=1)
    assert child is not metric.labels("2", "1")
    assert class_ is type(child)


def test_failing_str_makes_no_series(registry):
    """An error in a value's __str__ passes through and leaves no series."""

    class Mute:
        def __str__(self):
            raise ZeroDivisionError

    counter = Counter("m", "help", ["a", "b"], registry=registry)
    with pytest.raises(ZeroDivisionError):
        counter.labels("x", Mute())

    assert [] == counter.collect()[0].samples


@pytest.mark.parametrize("name", ["self", "args", "labelvalues", "amount"])
def test_any_name_is_a_label(name, registry):
    """Also the names of Python arguments are labels by keyword."""
    Counter("m", "help", [name], registry=registry).labels(**{name: "x"}).inc()

    assert 1.0 == registry.get_sample_value("m_total", {name: "x"})


def test_labels_of_threads_is_one_child(registry):
    """Threads that miss together get the same child."""
    counter = Counter("m", "help", ["a"], registry=registry)
    barrier, children = threading.Barrier(8), []

    def look():
        barrier.wait()
        children.extend(counter.labels(str(i)) for i in range(50))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 50 == len(set(map(id, children)))


# ---- updates -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "amount", [0, 0.0, 1, 0.1, 1e300, INF, True, Decimal("2.5"), Fraction(1, 4)]
)
def test_counter_inc(amount, registry):
    """A counter adds any non-negative number, by position and by name."""
    counter = Counter("m", "help", registry=registry)
    counter.inc(amount)
    counter.inc(amount=amount)

    assert float(amount) * 2 == registry.get_sample_value("m_total")


def test_inc_without_amount(registry):
    """inc() and dec() are by one."""
    counter, gauge = Counter("c", "help", registry=registry), Gauge("g", "help", registry=registry)
    counter.inc()
    gauge.inc(), gauge.dec(), gauge.dec()

    assert 1.0 == registry.get_sample_value("c_total")
    assert -1.0 == registry.get_sample_value("g")


@pytest.mark.parametrize("value", [0, -0.0, 1.5, -3, INF, -INF])
def test_gauge_set(value, registry):
    """A gauge shows what was set last."""
    gauge = Gauge("m", "help", registry=registry)
    gauge.set(7)
    gauge.set(value=value)

    assert repr(float(value)) == repr(registry.get_sample_value("m"))


def test_nan_is_shown(registry):
    """NaN counts as in prometheus_client: set, added and observed."""
    nan = float("nan")
    Gauge("g", "help", registry=registry).set(nan)
    Counter("c", "help", registry=registry).inc(nan)
    Summary("s", "help", registry=registry).observe(nan)

    page = mpmetrics.generate_latest(registry).decode()
    for line in ("g NaN", "c_total NaN", "s_sum NaN", "s_count 1.0"):
        assert line in page.splitlines()


def test_nan_in_a_histogram(registry):
    """NaN counts in +Inf, so that buckets and count agree (prometheus_client: in no bucket)."""
    histogram = Histogram("m", "help", buckets=[1], registry=registry)
    histogram.observe(float("nan"))

    assert 0.0 == registry.get_sample_value("m_bucket", {"le": "1.0"})
    assert 1.0 == registry.get_sample_value("m_bucket", {"le": "+Inf"})
    assert 1.0 == registry.get_sample_value("m_count")


@pytest.mark.parametrize(
    ("value", "counts"),
    [(-INF, [1, 1, 1]), (-1, [1, 1, 1]), (-0.5, [0, 1, 1]), (2, [0, 1, 1]), (2.1, [0, 0, 1]),
     (INF, [0, 0, 1])],
)  # fmt: skip
def test_histogram_buckets(value, counts, registry):
    """An observation falls into each bucket whose bound it doesn't exceed."""
    histogram = Histogram("m", "help", buckets=(-1, 2), registry=registry)
    histogram.observe(value)
    shown = [s.value for s in histogram.collect()[0].samples if s.name == "m_bucket"]

    assert counts == shown


def test_histogram_of_negative_buckets_has_no_sum(registry):
    """As in prometheus_client: a sum that may fall is none that Prometheus can use."""
    Histogram("m", "help", buckets=(-1, 2), registry=registry).observe(1)

    assert registry.get_sample_value("m_sum") is None


def test_default_buckets(registry):
    """DEFAULT_BUCKETS are prometheus_client's."""
    assert prometheus_client.Histogram.DEFAULT_BUCKETS == Histogram.DEFAULT_BUCKETS
    assert list(Histogram.DEFAULT_BUCKETS) == Histogram("m", "h", registry=registry)._upper_bounds


@pytest.mark.parametrize(
    ("buckets", "bounds"),
    [([1], [1.0, INF]), (("1", "2.5"), [1.0, 2.5, INF]), ([0, INF], [0.0, INF]),
     ([-INF, 0], [-INF, 0.0, INF]), (range(3), [0.0, 1.0, 2.0, INF]),
     (iter([1, 2]), [1.0, 2.0, INF])],
)  # fmt: skip
def test_bounds(buckets, bounds, registry):
    """Bounds are floats, of numbers or their texts, and +Inf is added."""
    assert bounds == Histogram("m", "help", buckets=buckets, registry=registry)._upper_bounds


def test_set_to_current_time(registry):
    """The gauge is the seconds since 1970, between the moments before and after."""
    gauge = Gauge("m", "help", registry=registry)
    before = time.time()
    gauge.set_to_current_time()

    assert before <= registry.get_sample_value("m") <= time.time()


def test_info(registry):
    """What was said last is shown, values as str; a dict changed later changes nothing."""
    info, said = Info("m", "help", registry=registry), {"a": "1"}
    info.info(said)
    said["a"] = "2"
    assert 1.0 == registry.get_sample_value("m_info", {"a": "1"})

    info.info({"b": 3})
    assert [{"b": "3"}] == [sample.labels for sample in info.collect()[0].samples]

    info.info({})
    assert [{}] == [sample.labels for sample in info.collect()[0].samples]


def test_enum(registry):
    """One state is 1 and the others 0; the first until another is said."""
    enum = Enum("m", "help", states=["a", "b"], registry=registry)
    assert [1.0, 0.0] == [sample.value for sample in enum.collect()[0].samples]

    enum.state("b")
    assert [0.0, 1.0] == [sample.value for sample in enum.collect()[0].samples]


def test_enum_state_by_name(registry):
    """state() takes its argument by name, as prometheus_client's."""
    enum = Enum("m", "help", states=["a", "b"], registry=registry)
    enum.state(state="b")

    assert 1.0 == registry.get_sample_value("m", {"m": "b"})


def test_reset(registry):
    """reset() starts a counter at zero again, with a new `_created`."""
    counter = Counter("m", "help", ["a"], registry=registry)
    child = counter.labels("x")
    child.inc(5)
    before = time.time()
    child.reset()
    assert 0.0 == registry.get_sample_value("m_total", {"a": "x"})
    assert before <= registry.get_sample_value("m_created", {"a": "x"})

    child.inc(2)
    assert 2.0 == registry.get_sample_value("m_total", {"a": "x"})


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.7, 1e-17, 1e16, math.inf, None]), max_size=30))
def test_reset_of_rounded_sums(amounts):
    """However floats are rounded, nothing is shown below zero, and zero after a reset (None)."""
    registry = mpmetrics.CollectorRegistry()
    counter = Counter("m", "help", registry=registry)
    for amount in amounts:
        if amount is None:
            counter.reset()
            assert 0.0 == registry.get_sample_value("m_total")
        else:
            counter.inc(amount)
            assert registry.get_sample_value("m_total") >= 0.0


def test_overridden_methods_are_called(registry):
    """Timers and clocks call the `observe` and `set` of a subclass, as prometheus_client does."""
    told = []

    class Slow(Histogram):
        def observe(self, amount, exemplar=None):
            told.append("observe")
            super().observe(amount * 1000, exemplar)

    class Kept(Gauge):
        def set(self, value):
            told.append("set")
            super().set(value)

    slow = Slow("slow", "help", ["a"], registry=registry).labels("x")
    kept = Kept("kept", "help", registry=registry)
    with slow.time():
        pass
    slow.time()(lambda: None)()
    with kept.time():
        pass
    kept.set_to_current_time()

    assert ["observe", "observe", "set", "set"] == told
    assert 2.0 == registry.get_sample_value("slow_count", {"a": "x"})


def test_abstract_classes_are_refused(registry):
    """A metric class with an abstract method can't be instantiated until that is there."""

    class Named(Counter, ABC):
        @abstractmethod
        def name(self): ...

    with pytest.raises(TypeError, match="abstract"):
        Named("m", "help", registry=registry)


def test_classes_have_a_text():
    """`__doc__` of each class says what it is for, also to who doesn't look at its bases."""
    for cls in (Counter, Gauge, Summary, Histogram, Info, Enum):
        assert cls.__doc__ == cls.__base__.__doc__ != ""


def test_timer_is_made_by_time(registry):
    """A timer without a metric can't be made: there is nothing that it could observe."""
    timer = type(Histogram("m", "help", registry=registry).time())
    with pytest.raises(TypeError, match="cannot create"):
        timer()


def test_set_function(registry):
    """The gauge is what the function returns at each scrape; other writes do nothing."""
    gauge, items = Gauge("m", "help", registry=registry), [1]
    gauge.set_function(lambda: len(items))
    items.append(2)
    assert 2.0 == registry.get_sample_value("m")
    assert b"\nm 2.0\n" in mpmetrics.generate_latest(registry)

    gauge.set(7), gauge.inc(), gauge.dec()
    assert 2.0 == registry.get_sample_value("m")


EXEMPLARS = [
    {"trace_id": "abc"},
    {"b": "2", "a": "1"},
    {"quote": 'a"b\\c\nd'},
    {"e": "√"},
    {"long": "x" * 124},
    {},
    None,
]


@pytest.mark.parametrize("exemplar", EXEMPLARS, ids=repr)
def test_exemplars(exemplar):
    """An exemplar looks in OpenMetrics as prometheus_client's, and stands at the same samples."""
    pages = []
    for library in (prometheus_client, mpmetrics):
        registry = library.CollectorRegistry()
        counter = library.Counter("c", "h", ["l"], registry=registry)
        counter.labels("x").inc(2.5, exemplar)
        counter.labels("x").inc(1)  # without one, the last stays
        histogram = library.Histogram("h", "h", buckets=[1, 2], registry=registry)
        histogram.observe(0.5, exemplar=exemplar), histogram.observe(7, exemplar)
        render = openmetrics.generate_latest if library is prometheus_client else ours_openmetrics
        pages += [render(registry), openmetrics.generate_latest(registry)]

    assert 1 == len({re.sub(r"[0-9.e+]+$", "when", p.decode(), flags=re.MULTILINE) for p in pages})


@pytest.mark.parametrize(
    "exemplar",
    [{"a": "x" * 128}, {"__a": "x"}, {"a": 1}, ["a"], "a", {"a": None}],
    ids=lambda exemplar: repr(exemplar)[:12],
)
def test_wrong_exemplars(exemplar):
    """A wrong exemplar raises what prometheus_client raises."""
    errors = []
    for library in (prometheus_client, mpmetrics):
        metrics = (
            library.Counter("c", "h", registry=None),
            library.Histogram("h", "h", registry=None),
        )
        for metric in metrics:
            with suppress_into(errors):
                touch = getattr(metric, "inc", None) or metric.observe
                touch(1, exemplar)

    assert errors[:2] == errors[2:]


@contextmanager
def suppress_into(errors):
    try:
        yield
        errors.append(None)
    except Exception as error:
        errors.append(type(error))


def ours_openmetrics(registry):
    return exposition.render(registry, Encoding(Format.OPENMETRICS, "underscores"))


# ---- time, track_inprogress, count_exceptions ----------------------------------------------------


async def until_done(awaitable):
    return await awaitable


def run_plain(decorate, body):
    return decorate(body)()


def run_async(decorate, body):
    async def function():
        await asyncio.sleep(0)
        return body()

    return asyncio.run(until_done(decorate(function)()))


def run_generator(decorate, body):
    def function():
        yield
        return body()

    returned = []
    assert [None] == list(collecting(decorate(function)(), returned))
    return returned[0]


def collecting(steps, returned):
    """The same steps; what they return is appended."""
    returned.append((yield from steps))


def run_async_generator(decorate, body):
    async def function():
        yield 1
        yield body()

    async def consume():
        return [item async for item in decorate(function)()][-1]

    return asyncio.run(consume())


def run_with(decorate, body):
    with decorate:
        return body()


RUNS = (run_plain, run_async, run_generator, run_async_generator, run_with)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("class_", [Summary, Histogram, Gauge])
def test_time(run, class_, registry):
    """time() tells the metric once, from the first step to the end, whatever the function."""
    metric = make(class_, registry)
    seen = []

    def body():
        seen.append(registry.get_sample_value("m_count"))
        return "returned"

    assert "returned" == run(metric.time(), body)
    if class_ is Gauge:
        assert 0 < registry.get_sample_value("m")
    else:
        assert [0.0] == seen  # not before the end
        assert 1.0 == registry.get_sample_value("m_count")
        assert 0 < registry.get_sample_value("m_sum")


@pytest.mark.parametrize("run", [run_plain, run_async, run_async_generator, run_with])
def test_time_after_an_error(run, registry):
    """A block that ends in an error is timed, and the error passes."""
    summary = Summary("m", "help", registry=registry)

    with pytest.raises(ZeroDivisionError):
        run(summary.time(), lambda: 1 / 0)

    assert 1.0 == registry.get_sample_value("m_count")


@pytest.mark.parametrize("run", RUNS)
def test_track_inprogress(run, registry):
    """The gauge is one more while the function runs, and what it was after."""
    gauge = Gauge("m", "help", registry=registry)

    assert 1.0 == run(gauge.track_inprogress(), lambda: registry.get_sample_value("m"))
    assert 0.0 == registry.get_sample_value("m")

    with suppress(ZeroDivisionError, RuntimeError):
        run(gauge.track_inprogress(), lambda: 1 / 0)
    assert 0.0 == registry.get_sample_value("m")


@pytest.mark.parametrize("run", [run_plain, run_async, run_async_generator, run_with])
def test_count_exceptions(run, registry):
    """Each error of the type that leaves is counted once, and passes; others aren't counted."""
    counter = Counter("m", "help", registry=registry)
    counting = counter.count_exceptions((ZeroDivisionError, KeyError))

    with pytest.raises(ZeroDivisionError):
        run(counting, lambda: 1 / 0)
    with pytest.raises(IndexError):
        run(counting, lambda: [][0])
    run(counting, lambda: None)

    assert 1.0 == registry.get_sample_value("m_total")


def test_timer_labels_late(registry):
    """labels() on a timer chooses the series inside the timed block."""
    summary = Summary("m", "help", ["a"], registry=registry)
    with summary.time() as timer:
        timer.labels("x")

    assert 1.0 == registry.get_sample_value("m_count", {"a": "x"})


def test_timer_duration(registry):
    """A timer says how long its last block took: what it has observed."""
    summary = Summary("m", "help", registry=registry)
    with summary.time() as timer:
        assert timer.duration is None

    assert timer.duration == registry.get_sample_value("m_sum")


def test_recursion_is_timed_each(registry):
    """Calls inside calls of one decorated function have timers of their own."""
    summary = Summary("m", "help", registry=registry)

    @summary.time()
    def countdown(n):
        return n and countdown(n - 1)

    countdown(3)

    assert 4.0 == registry.get_sample_value("m_count")


# ---- removal -------------------------------------------------------------------------------------


@pytest.mark.parametrize("class_", CLASSES)
def test_remove(class_, registry):
    """A removed label set isn't shown; made again it starts at zero, as a new child."""
    metric = make(class_, registry, "a", "b")
    child = metric.labels("1", "2")
    touch(child), touch(metric.labels("1", "3"))
    metric.remove(1, 2)
    touch(child)  # a kept child counts for nobody

    assert {"3"} == {sample.labels["b"] for sample in metric.collect()[0].samples}

    again = metric.labels("1", "2")
    assert again is not child
    assert {"2", "3"} == {sample.labels["b"] for sample in metric.collect()[0].samples}
    if class_ in OBSERVERS:
        assert 0.0 == registry.get_sample_value("m_count", {"a": "1", "b": "2"})
    metric.remove("not", "there")


def test_remove_by_labels(registry):
    """Every label set with those values goes; with no labels given, none."""
    counter = Counter("m", "help", ["a", "b"], registry=registry)
    for a in "12":
        for b in "345":
            counter.labels(a, b).inc()

    counter.remove_by_labels({})
    assert 6 == len(registry_labels(counter))
    counter.remove_by_labels({"b": 4})
    assert 4 == len(registry_labels(counter))
    counter.remove_by_labels({"b": "3", "a": "1"})
    assert {("1", "5"), ("2", "3"), ("2", "5")} == registry_labels(counter)


def registry_labels(counter):
    return {
        tuple(sample.labels.values())
        for sample in counter.collect()[0].samples
        if sample.name.endswith("_total")
    }


@pytest.mark.parametrize("class_", CLASSES)
def test_clear(class_, registry):
    """After clear() there is no series; a metric without labels keeps its own."""
    metric, plain = make(class_, registry, "a"), make(class_, registry, name="p")
    for value in range(20):
        metric.labels(value)
    metric.clear()
    plain.clear()

    assert [] == metric.collect()[0].samples
    touch(plain)
    assert [] != plain.collect()[0].samples


# ---- _created ------------------------------------------------------------------------------------


@pytest.mark.parametrize("class_", [Counter, Summary, Histogram])
def test_created(class_, registry):
    """`_created` is the moment at which the series was made."""
    before = time.time()
    metric = make(class_, registry, "a")
    metric.labels("x")
    after = time.time()
    touch(metric.labels("x"))

    assert before <= registry.get_sample_value("m_created", {"a": "x"}) <= after


@pytest.mark.parametrize("class_", [Gauge, Info, Enum])
def test_no_created(class_, registry):
    """Gauge, Info and Enum have no `_created`."""
    touch(make(class_, registry))

    assert b"_created" not in mpmetrics.generate_latest(registry)


CREATED = """
import sys, prometheus_client, mpmetrics
r = mpmetrics.CollectorRegistry()
for name in ("Counter", "Summary", "Histogram"):
    getattr(mpmetrics, name)(name, "help", registry=r)
pages = [mpmetrics.generate_latest(r), prometheus_client.generate_latest(r)]
print(*[b"_created" in page for page in pages])
"""


@pytest.mark.parametrize("value", ["true", "1", "T", "True"])
def test_created_disabled_by_environment(value):
    """PROMETHEUS_DISABLE_CREATED_SERIES leaves them out of our pages and theirs."""
    shown = in_fresh_interpreter(CREATED, PROMETHEUS_DISABLE_CREATED_SERIES=value)

    assert "False False" == shown.strip()


@pytest.mark.parametrize("value", ["", "0", "no"])
def test_created_not_disabled_by_environment(value):
    """Any other value leaves them in."""
    shown = in_fresh_interpreter(CREATED, PROMETHEUS_DISABLE_CREATED_SERIES=value)

    assert "True True" == shown.strip()


@pytest.mark.parametrize("library", [prometheus_client, mpmetrics])
def test_created_switched(library, registry):
    """disable_created_metrics, ours and theirs, hold at once and for series that exist already."""
    Counter("m", "help", registry=registry)
    library.disable_created_metrics()
    try:
        assert b"_created" not in mpmetrics.generate_latest(registry)
        assert b"_created" not in prometheus_client.generate_latest(registry)
    finally:
        library.enable_created_metrics()
    assert b"_created" in mpmetrics.generate_latest(registry)


# ---- what libraries and tests read ---------------------------------------------------------------


@pytest.mark.parametrize("class_", CLASSES)
def test_names_that_libraries_read(class_, registry):
    """The underscore attributes say what prometheus_client's say."""
    theirs_of = getattr(prometheus_client, class_.__name__)
    options = {"states": ["on"]} if class_ is Enum else {}
    theirs = theirs_of("ns_m", "help", "a", registry=None, **options)
    ours = make(class_, registry, "a", name="ns_m")

    for name in ("_name", "_type", "_labelnames", "_labelvalues", "_documentation", "_unit"):
        assert getattr(theirs, name) == getattr(ours, name)
    assert theirs.labels("x")._labelvalues == ours.labels("x")._labelvalues
    assert tuple(theirs._reserved_labelnames) == tuple(ours._reserved_labelnames)
    assert str(theirs) == str(ours)


def test_gauge_modes_are_named():
    """`Gauge._MULTIPROC_MODES` is prometheus_client's."""
    assert prometheus_client.Gauge._MULTIPROC_MODES == Gauge._MULTIPROC_MODES


@pytest.mark.parametrize("class_", CLASSES)
def test_repr(class_, registry):
    """repr is the class and the name, str the type and the name; children as their parents."""
    metric = make(class_, registry, "a")

    assert f"mpmetrics.{class_.__name__}(m)" == repr(metric) == repr(metric.labels("x"))
    assert f"{class_._type}:m" == str(metric)
    assert "mpmetrics" == class_.__module__


@pytest.mark.parametrize("class_", CLASSES)
def test_subclass(class_, registry):
    """A subclass may add methods and arguments; its children are of it too."""

    class Mine(class_):
        def __init__(self, *args, more, **kwargs):
            super().__init__(*args, **kwargs)
            self.more = more

        def touched(self):
            touch(self)
            return self

    options = {"states": ["on", "off"]} if class_ is Enum else {}
    metric = Mine("m", "help", ["a"], registry=registry, more=3, **options)

    assert 3 == metric.more
    assert Mine is type(metric.labels("x").touched())
    assert metric.labels("x") is metric.labels("x")
    assert {1.0} & {sample.value for sample in metric.collect()[0].samples}


@pytest.mark.parametrize("class_", CLASSES)
def test_no_dictionary(class_, registry):
    """Instances have no dictionary: a misspelt attribute is an error, and they are small."""
    metric = make(class_, registry, "a")

    for each in (metric, metric.labels("x")):
        assert not hasattr(each, "__dict__")
        with pytest.raises(AttributeError):
            each.misspelt = 1


@pytest.mark.parametrize("class_", CLASSES)
def test_never_initialised(class_):
    """An object whose __init__ never ran refuses everything with an exception, and no crash."""
    metric = class_.__new__(class_)

    for name in ("inc", "dec", "set", "observe", "state", "info", "labels", "collect", "time"):
        method = getattr(metric, name, None)
        for arguments in ((), ("x",), (1,), ({},)):
            if method is not None:
                with pytest.raises((ValueError, TypeError, AttributeError)):
                    method(*arguments)
    with suppress(AttributeError, ValueError):
        repr(metric)


@pytest.mark.parametrize("class_", CLASSES)
def test_never_initialised_in_a_child(class_):
    """Nor in a forked child that has not changed the store yet."""
    printed = in_fresh_interpreter(f"""
import os, mpmetrics
keeper = mpmetrics.Gauge("keeper", "help")
metric = mpmetrics.{class_.__name__}.__new__(mpmetrics.{class_.__name__})
child = os.fork()
if child == 0:
    for name in ("inc", "set", "observe", "state", "info", "labels", "collect", "time"):
        try:
            getattr(metric, name, lambda argument: None)(1)
        except Exception:
            pass
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
""")

    assert "0" == printed.strip()


@pytest.mark.parametrize("class_", CLASSES)
def test_initialised_twice(class_, registry):
    """A second __init__ is refused and leaves the metric as it was."""
    metric = make(class_, registry)
    touch(metric)
    before = mpmetrics.generate_latest(registry)
    options = {"states": ["x"]} if class_ is Enum else {}

    with pytest.raises(ValueError):
        metric.__init__("other", "help", registry=registry, **options)

    assert before == mpmetrics.generate_latest(registry)


def test_collect_of_a_child():
    """A child's collect() gives its own samples, without its labels, as prometheus_client's."""
    shown = []
    for library in (prometheus_client, mpmetrics):
        histogram = library.Histogram("m", "help", ["a"], registry=None, buckets=[1])
        histogram.labels("x").observe(1), histogram.labels("y").observe(2)
        (family,) = histogram.labels("x").collect()
        samples = [(s.name, s.labels, s.value) for s in family.samples if "created" not in s.name]
        shown.append((family.name, family.documentation, family.type, samples))

    assert shown[0] == shown[1]


def test_describe_has_no_samples(registry):
    """describe() gives the family, and costs no reading of samples."""
    counter = Counter("m", "help", registry=registry)

    (family,) = counter.describe()
    assert ("m", "help", "counter", []) == (
        family.name,
        family.documentation,
        family.type,
        family.samples,
    )


def test_amounts_run_any_code(registry):
    """An amount's __float__ may use the metric itself."""
    gauge = Gauge("m", "help", ["a"], registry=registry)

    class Nasty:
        def __float__(self):
            gauge.remove("x")
            gauge.labels("x").set(3)
            return 1.0

    gauge.labels("x").set(Nasty())

    assert 3.0 == registry.get_sample_value("m", {"a": "x"})
