"""Pages: what a scrape of a registry gives, whoever renders it."""

import copy
import gzip
import io
import os
import pickle
import subprocess
import sys
import textwrap
from wsgiref.util import setup_testing_defaults

import prometheus_client
import pytest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.openmetrics import exposition as openmetrics

import mpmetrics
from mpmetrics.exposition import render
from mpmetrics.negotiation import ESCAPINGS, Encoding, Format

TEXT = """\
# HELP jobs_total Jobs \\\\ done,\\nwell or not.
# TYPE jobs_total counter
jobs_total{code="200",path="/a\\"b\\\\c\\nd"} 3.5
jobs_total{code="404",path="é"} 0.0
# HELP temperature_celsius Now.
# TYPE temperature_celsius gauge
temperature_celsius -1.5
# HELP size_bytes Sizes.
# TYPE size_bytes summary
size_bytes_count 2.0
size_bytes_sum 1e+06
# HELP took_seconds How long.
# TYPE took_seconds histogram
took_seconds_bucket{le="0.1"} 1.0
took_seconds_bucket{le="1.0"} 2.0
took_seconds_bucket{le="1e+06"} 2.0
took_seconds_bucket{le="+Inf"} 3.0
took_seconds_count 3.0
took_seconds_sum +Inf
# HELP build_info About it.
# TYPE build_info gauge
build_info{version="1.2"} 1.0
# HELP phase What it does.
# TYPE phase gauge
phase{phase="idle"} 0.0
phase{phase="busy"} 1.0
"""

OPENMETRICS = """\
# HELP jobs Jobs \\\\ done,\\nwell or not.
# TYPE jobs counter
jobs_total{code="200",path="/a\\"b\\\\c\\nd"} 3.5
jobs_total{code="404",path="é"} 0.0
# HELP temperature_celsius Now.
# TYPE temperature_celsius gauge
# UNIT temperature_celsius celsius
temperature_celsius -1.5
# HELP size_bytes Sizes.
# TYPE size_bytes summary
# UNIT size_bytes bytes
size_bytes_count 2.0
size_bytes_sum 1e+06
# HELP took_seconds How long.
# TYPE took_seconds histogram
# UNIT took_seconds seconds
took_seconds_bucket{le="0.1"} 1.0
took_seconds_bucket{le="1.0"} 2.0
took_seconds_bucket{le="1e+06"} 2.0
took_seconds_bucket{le="+Inf"} 3.0
took_seconds_count 3.0
took_seconds_sum +Inf
# HELP build About it.
# TYPE build info
build_info{version="1.2"} 1.0
# HELP phase What it does.
# TYPE phase stateset
phase{phase="idle"} 0.0
phase{phase="busy"} 1.0
# EOF
"""


@pytest.fixture
def registry():
    return mpmetrics.CollectorRegistry()


@pytest.fixture
def without_created():
    mpmetrics.disable_created_metrics()
    yield
    mpmetrics.enable_created_metrics()


def fill(library, registry):
    """One of each type."""
    jobs = library.Counter(
        "jobs", "Jobs \\ done,\nwell or not.", ["path", "code"], registry=registry
    )
    jobs.labels('/a"b\\c\nd', 200).inc(3.5)
    jobs.labels("é", 404)
    library.Gauge("temperature", "Now.", unit="celsius", registry=registry).set(-1.5)
    size = library.Summary("size", "Sizes.", unit="bytes", registry=registry)
    size.observe(999_999), size.observe(1)
    took = library.Histogram(
        "took", "How long.", unit="seconds", buckets=[0.1, 1, 1e6], registry=registry
    )
    took.observe(0.1), took.observe(0.5), took.observe(float("inf"))
    library.Info("build", "About it.", registry=registry).info({"version": "1.2"})
    library.Enum("phase", "What it does.", states=["idle", "busy"], registry=registry).state("busy")


def openmetrics_page(registry, escaping="underscores"):
    return render(registry, Encoding(Format.OPENMETRICS, escaping)).decode()


# ---- the whole page ------------------------------------------------------------------------------


@pytest.mark.usefixtures("without_created")
def test_golden_text(registry):
    """The text format, to the byte: what prometheus_client writes of our registry and theirs."""
    theirs = prometheus_client.CollectorRegistry()
    fill(mpmetrics, registry), fill(prometheus_client, theirs)

    assert TEXT == mpmetrics.generate_latest(registry).decode()
    assert TEXT == prometheus_client.generate_latest(registry).decode()
    assert TEXT == prometheus_client.generate_latest(theirs).decode()


@pytest.mark.usefixtures("without_created")
def test_golden_openmetrics(registry):
    """OpenMetrics 1.0, to the byte: what prometheus_client writes of our registry and theirs."""
    theirs = prometheus_client.CollectorRegistry()
    fill(mpmetrics, registry), fill(prometheus_client, theirs)

    assert OPENMETRICS == openmetrics_page(registry)
    assert OPENMETRICS == openmetrics.generate_latest(registry).decode()
    assert OPENMETRICS == openmetrics.generate_latest(theirs).decode()


def test_empty_pages(registry):
    """A registry without metrics gives an empty page, or one that only ends."""
    assert b"" == mpmetrics.generate_latest(registry)
    assert "# EOF\n" == openmetrics_page(registry)


def test_family_without_series(registry):
    """A labelled family that has no series yet shows its name and type."""
    mpmetrics.Counter("m", "help", ["a"], registry=registry)

    assert b"# HELP m_total help\n# TYPE m_total counter\n" == mpmetrics.generate_latest(registry)


def test_openmetrics_keeps_colons(registry):
    """A colon stays in OpenMetrics (prometheus_client keeps it in HELP and TYPE alone)."""
    mpmetrics.Gauge("job:rate", "help", registry=registry).set(1)

    assert "\njob:rate 1.0\n" in openmetrics_page(registry)


# ---- UTF-8 names ---------------------------------------------------------------------------------

UTF_8 = {
    "name": lambda lib, r: lib.Gauge("my.né me", "h", registry=r).set(1),
    "counter": lambda lib, r: lib.Counter("a.b", "h", ["c"], registry=r).labels("x").inc(),
    "histogram": lambda lib, r: lib.Histogram("a.b", "h", ["c d"], buckets=[1], registry=r).labels(
        "x"
    ),
    "label": lambda lib, r: lib.Gauge("m", "h", ["a.b", "c"], registry=r).labels("x", "y").set(1),
    "info": lambda lib, r: lib.Info("m", "h", registry=r).info({"a.b": "x", "é": "y"}),
    "enum": lambda lib, r: lib.Enum("a.b", "h", states=["x", "y"], registry=r).state("y"),
    "colon-enum": lambda lib, r: lib.Enum("a:b", "h", states=["x"], registry=r),
    "digit": lambda lib, r: lib.Gauge("0m", "h", ["1"], registry=r).labels("x").set(1),
    "underscores": lambda lib, r: lib.Gauge("a__b_", "h", ["l_"], registry=r).labels("x").set(1),
    "quote": lambda lib, r: lib.Gauge('a"b\\c\nd', "h", ['l"'], registry=r).labels("x").set(1),
    "mixed": lambda lib, r: [
        lib.Gauge(n, "h", registry=r).set(1) for n in ("plain", "a.b", "other", "c.d", "more")
    ],
}


@pytest.mark.usefixtures("without_created")
@pytest.mark.parametrize("escaping", sorted(ESCAPINGS))
@pytest.mark.parametrize("declare", UTF_8.values(), ids=UTF_8)
def test_names_are_escaped_as_theirs(declare, escaping, registry):
    """Names outside the legacy character set look as prometheus_client writes them, in each way."""
    theirs = prometheus_client.CollectorRegistry()
    declare(mpmetrics, registry), declare(prometheus_client, theirs)

    expected = prometheus_client.generate_latest(theirs, escaping)
    assert expected.decode() == mpmetrics.generate_latest(registry, escaping).decode()
    expected = openmetrics.generate_latest(theirs, escaping)
    assert expected.decode() == openmetrics_page(registry, escaping)


# ---- other collectors ----------------------------------------------------------------------------


class Custom:
    """A collector of the user's own."""

    def __init__(self, name):
        self.name = name

    def describe(self):
        return [GaugeMetricFamily(self.name, "custom")]

    def collect(self):
        family = CounterMetricFamily(self.name, "custom", labels=["a"])
        family.add_metric(["x"], 3.0, exemplar=None, timestamp=12)
        yield family


@pytest.mark.usefixtures("without_created")
def test_custom_collectors_between(registry):
    """A custom collector is shown in its place between ours, as prometheus_client shows it."""
    mpmetrics.Gauge("first", "h", registry=registry)
    registry.register(Custom("second"))
    mpmetrics.Gauge("third", "h", registry=registry)

    page = mpmetrics.generate_latest(registry)
    assert prometheus_client.generate_latest(registry) == page
    assert b'second_total{a="x"} 3.0 12000\n' in page
    assert page.index(b"first") < page.index(b"second") < page.index(b"third")


def test_failing_collector_fails_the_scrape(registry):
    """An error in a custom collector passes through, as with prometheus_client."""

    class Failing:
        def collect(self):
            raise ZeroDivisionError

    registry.register(Failing())
    with pytest.raises(ZeroDivisionError):
        mpmetrics.generate_latest(registry)


def test_any_object_with_collect():
    """What is rendered need not be a registry: whatever has collect() will do."""
    gauge = mpmetrics.Gauge("m", "h", registry=None)
    gauge.set(2)

    assert b"# HELP m h\n# TYPE m gauge\nm 2.0\n" == mpmetrics.generate_latest(gauge)
    assert b"c_total" in mpmetrics.generate_latest(Custom("c"))


def test_target_info():
    """target_info of a registry is shown first."""
    registry = mpmetrics.CollectorRegistry(target_info={"a": "b"})
    mpmetrics.Gauge("m", "h", registry=registry)

    assert mpmetrics.generate_latest(registry).startswith(b"# HELP target_info")
    assert 'target_info{a="b"} 1.0' in openmetrics_page(registry)


@pytest.mark.usefixtures("without_created")
def test_ours_in_their_registry():
    """Our metrics in prometheus_client's CollectorRegistry: both libraries show them the same."""
    registry = prometheus_client.CollectorRegistry()
    fill(mpmetrics, registry)

    assert TEXT.encode() == mpmetrics.generate_latest(registry)
    assert TEXT.encode() == prometheus_client.generate_latest(registry)


@pytest.mark.usefixtures("without_created")
def test_theirs_in_our_registry(registry):
    """prometheus_client's metrics in our CollectorRegistry: both libraries show them the same."""
    fill(prometheus_client, registry)

    assert TEXT.encode() == mpmetrics.generate_latest(registry)
    assert TEXT.encode() == prometheus_client.generate_latest(registry)


def test_two_registries():
    """Each of two registries shows its own, also of one name."""
    one, two = mpmetrics.CollectorRegistry(), mpmetrics.CollectorRegistry()
    mpmetrics.Gauge("m", "h", registry=one).set(1)
    mpmetrics.Gauge("m", "other", registry=two).set(2)

    assert b"m 1.0\n" in mpmetrics.generate_latest(one)
    assert b"m 2.0\n" in mpmetrics.generate_latest(two)


def test_registered_in_two(registry):
    """A metric registered in a second registry is shown by both."""
    other = mpmetrics.CollectorRegistry()
    gauge = mpmetrics.Gauge("m", "h", registry=registry)
    other.register(gauge)
    gauge.set(3)

    assert mpmetrics.generate_latest(registry) == mpmetrics.generate_latest(other)


# ---- Metric objects ------------------------------------------------------------------------------


def through_pickle(metric):
    return pickle.loads(pickle.dumps(metric))


@pytest.mark.parametrize("clone", [copy.deepcopy, copy.copy, through_pickle],
                         ids=["deepcopy", "copy", "pickle"])  # fmt: skip
def test_metric_is_cloned(clone, registry):
    """A collected Metric is copied and pickled; the copy keeps its samples, whatever counts on."""
    gauge = mpmetrics.Gauge("m", "h", ["a"], registry=registry)
    gauge.labels("x").set(1)
    (metric,) = gauge.collect()
    clone_of = clone(metric)
    gauge.labels("x").set(2)

    assert [1.0] == [sample.value for sample in clone_of.samples]
    assert ("m", "h", "gauge", "") == (
        clone_of.name,
        clone_of.documentation,
        clone_of.type,
        clone_of.unit,
    )
    assert isinstance(clone_of, prometheus_client.Metric)


def test_metric_equals_and_shows_itself(registry):
    """A collected Metric equals one with the same samples, and repr shows them."""
    mpmetrics.Gauge("m", "h", registry=registry).set(1)
    (metric,) = registry.collect()
    plain = prometheus_client.Metric("m", "h", "gauge")
    plain.add_sample("m", {}, 1.0)

    assert plain == metric
    assert repr(plain) == repr(metric)


def test_samples_may_be_changed(registry):
    """add_sample and assigning `samples` work on what was collected, as on any Metric."""
    mpmetrics.Gauge("m", "h", registry=registry).set(1)
    (metric,) = registry.collect()
    metric.add_sample("m", {"more": "x"}, 2.0)
    assert [1.0, 2.0] == [sample.value for sample in metric.samples]

    metric.samples = []
    assert [] == metric.samples


def test_changed_metric_is_rendered_changed(registry):
    """A collector that wraps ours and changes what it collects is rendered as it changed it."""
    gauge = mpmetrics.Gauge("m", "h", registry=None)

    class Wrapper:
        def collect(self):
            for metric in gauge.collect():
                metric.add_sample("m", {"more": "x"}, 2.0)
                metric.documentation = "changed"
                yield metric

    registry.register(Wrapper())

    page = mpmetrics.generate_latest(registry).decode()
    assert 'm{more="x"} 2.0' in page
    assert "# HELP m changed" in page


# ---- over HTTP -----------------------------------------------------------------------------------


def get(registry, **headers):
    """A GET by WSGI: the content type, whether it is gzipped, and the text."""
    answer = {}
    environ = {"QUERY_STRING": headers.pop("QUERY_STRING", "")}
    environ |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    setup_testing_defaults(environ)
    environ["wsgi.input"] = io.BytesIO()
    body = b"".join(
        mpmetrics.make_wsgi_app(registry)(environ, lambda _, given: answer.update(given))
    )
    zipped = answer.get("Content-Encoding") == "gzip"
    return answer["Content-Type"], zipped, (gzip.decompress(body) if zipped else body).decode()


@pytest.mark.usefixtures("without_created")
def test_quality_chooses_the_format(registry):
    """What the client likes best is what it gets, whatever stands first."""
    fill(mpmetrics, registry)
    both = "text/plain;version=0.0.4;q={},application/openmetrics-text;version=1.0.0;q={}"

    assert OPENMETRICS == get(registry, accept=both.format("0.3", "0.9"))[2]
    assert TEXT == get(registry, accept=both.format("0.9", "0.3"))[2]
    assert TEXT == get(registry, accept=both.format("0.1", "0"))[2]
    assert TEXT == get(registry)[2]


@pytest.mark.usefixtures("without_created")
def test_gzip(registry):
    """Who accepts gzip gets it; who refuses it, by q=0, doesn't."""
    fill(mpmetrics, registry)

    assert (True, TEXT) == get(registry, accept_encoding="br, gzip;q=0.5")[1:]
    assert (False, TEXT) == get(registry, accept_encoding="gzip;q=0")[1:]


@pytest.mark.usefixtures("without_created")
def test_names_over_http(registry):
    """name[] gives the families' samples of those names alone."""
    fill(mpmetrics, registry)

    page = get(registry, QUERY_STRING="name[]=size_bytes_sum&name[]=phase&name[]=absent")[2]
    samples = [line for line in page.splitlines() if not line.startswith("#")]
    assert sorted(
        ['phase{phase="idle"} 0.0', 'phase{phase="busy"} 1.0', "size_bytes_sum 1e+06"]
    ) == (sorted(samples))


# ---- several processes ---------------------------------------------------------------------------


def in_fresh_interpreter(code):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True
    )
    assert not done.returncode, done.stderr
    return done.stdout.split()


def test_process_collectors_left_out():
    """process_* and python_gc_* are shown while there is one process, and not with two."""
    shown = in_fresh_interpreter("""
        import os, mpmetrics
        def shows():
            page = mpmetrics.generate_latest()
            print(b"process_cpu_seconds" in page, b"python_gc_objects" in page,
                  b"python_info" in page, b"c_total" in page)
        shows()
        c = mpmetrics.Counter("c", "h")
        c.inc()
        shows()
        if os.fork() == 0:
            c.inc()
            shows()
            os._exit(0)
        os.wait()
        shows()
    """)

    assert ["True", "True", "True", "False", "True", "True", "True", "True"] == shown[:8]
    assert ["False", "False", "True", "True"] * 2 == shown[8:]


def test_scrape_by_a_process_that_declared_nothing():
    """A process shows what its child declared after the fork, by every way to ask."""
    shown = in_fresh_interpreter("""
        import os, mpmetrics
        mpmetrics.Gauge("first", "h").set(1)
        if os.fork() == 0:
            mpmetrics.Counter("late", "h", ["a"]).labels("x").inc(3)
            os._exit(0)
        os.wait()
        print(mpmetrics.REGISTRY.get_sample_value("late_total", {"a": "x"}))
        page = mpmetrics.generate_latest().decode()
        print('late_total{a="x"}' in page, page.count("# TYPE late_total"))
        late = mpmetrics.REGISTRY.restricted_registry(["late_total"])
        print(len(mpmetrics.generate_latest(late)) > 0)
    """)

    assert ["3.0", "True", "1", "True"] == shown


# ---- StoreCollector ------------------------------------------------------------------------------


def test_store_collector(registry):
    """It shows the store's numbers, valid in both formats, and takes its names in the registry."""
    mpmetrics.Gauge("first", "Without a metric there may be no store.", registry=registry)
    collector = mpmetrics.StoreCollector(registry=registry)
    before = registry.get_sample_value("mpmetrics_series")
    mpmetrics.Counter("m", "h", ["a"], registry=registry).labels("x")

    assert before + 1 == registry.get_sample_value("mpmetrics_series")
    assert 0 < registry.get_sample_value("mpmetrics_store_used_bytes")
    assert registry.get_sample_value("mpmetrics_store_used_bytes") <= (
        registry.get_sample_value("mpmetrics_store_bytes")
    )
    assert {family.name for family in collector.describe()} == {f.name for f in collector.collect()}
    assert registry.get_sample_value("mpmetrics_dropped_series_total") is not None
    assert openmetrics_page(registry).endswith("# EOF\n")
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        mpmetrics.StoreCollector(registry=registry)


def test_store_collector_without_a_registry(registry):
    """`registry=None` registers it nowhere; it can be registered later."""
    registry.register(mpmetrics.StoreCollector(registry=None))

    assert 0 < registry.get_sample_value("mpmetrics_processes")


def test_store_collector_before_there_is_a_store():
    """It makes no store, and shows nothing, while nothing is declared."""
    shown = in_fresh_interpreter("""
        import os, mpmetrics
        mpmetrics.StoreCollector()
        print(b"mpmetrics_" in mpmetrics.generate_latest())
        mpmetrics.Gauge("m", "h")
        print(b"mpmetrics_store_bytes" in mpmetrics.generate_latest())
    """)

    assert ["False", "True"] == shown


def test_generate_latest_is_for_anybody(monkeypatch):
    """prometheus_client's multi-process variable changes nothing in ours."""
    monkeypatch.setitem(os.environ, "PROMETHEUS_MULTIPROC_DIR", "/nonexistent")
    registry = mpmetrics.CollectorRegistry()
    mpmetrics.Counter("m", "h", registry=registry).inc()

    assert b"m_total 1.0" in mpmetrics.generate_latest(registry)
    assert b"m_created" in mpmetrics.generate_latest(registry)
