"""Registries: who shows what, and what stays when one goes."""

import gc
import subprocess
import sys
import textwrap
import weakref

import prometheus_client
import pytest
from tests.programs import environment

import mpmetrics
from mpmetrics import Counter, Gauge
from mpmetrics.identity import identity_of

MODULE = """
import mpmetrics, prometheus_client
ONE, TWO = mpmetrics.CollectorRegistry(), prometheus_client.CollectorRegistry()
first = mpmetrics.Counter("m", "first", registry=ONE)
second = mpmetrics.Counter("m", "second", registry=TWO)
"""


@pytest.fixture
def run(tmp_path):
    """Runs code in a fresh interpreter that can import `declaring`; gives the words it prints."""
    (tmp_path / "declaring.py").write_text(MODULE)

    def run(code, **variables):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment(**variables),
        )
        assert not done.returncode, done.stderr
        assert not done.stderr
        return done.stdout.split()

    return run


def value(registry, name="m_total", **labels):
    return registry.get_sample_value(name, labels)


# ---- identity ------------------------------------------------------------------------------------


def test_identities():
    """The default one's is empty, a named one's its name; one made in a function is private."""
    assert "" == identity_of(mpmetrics.REGISTRY).name
    assert not identity_of(mpmetrics.REGISTRY).private
    assert "named:x" == identity_of(mpmetrics.CollectorRegistry(name="x")).name
    assert identity_of(mpmetrics.CollectorRegistry()).private
    assert identity_of(prometheus_client.CollectorRegistry()).private


def test_identity_stays():
    """A registry's identity is the one that it had first, wherever it is used later."""
    registry = mpmetrics.CollectorRegistry()

    assert identity_of(registry) is identity_of(registry)


def test_unnamed_at_module_level_is_the_nth(run):
    """The registries of an imported module are its n-th, so that other processes find them."""
    printed = run("""
        import declaring, mpmetrics.identity
        for registry in (declaring.ONE, declaring.TWO):
            identity = mpmetrics.identity.identity_of(registry)
            print(identity.name, identity.private)
    """)

    assert ["module:declaring:0", "False", "module:declaring:1", "False"] == printed


def test_module_level_registries_are_shared(run, tmp_path):
    """Two unrelated processes that import one module count in the same families."""
    code = """
        import declaring, sys
        declaring.first.inc(int({0})), declaring.second.inc(10 * int({0}))
        print(declaring.ONE.get_sample_value("m_total"), declaring.TWO.get_sample_value("m_total"))
        print(declaring.second.collect()[0].documentation)
        {1}
    """
    inner = (
        "import subprocess; print(subprocess.run([sys.executable, 'other.py'],"
        "capture_output=True, text=True, check=True).stdout)"
    )
    (tmp_path / "other.py").write_text(textwrap.dedent(code).format(2, ""))

    printed = run(code.format(1, inner), MPMETRICS_STORE=str(tmp_path / "store"))

    assert ["1.0", "10.0", "second", "3.0", "30.0", "second"] == printed


def test_named_registry_is_shared(run, tmp_path):
    """A registry of that name in an unrelated process is the same one."""
    inner = """
import mpmetrics
r = mpmetrics.CollectorRegistry(name="admin")
mpmetrics.Gauge("g", "h", registry=r).inc(2)
print(mpmetrics.generate_latest(r).decode().count("# TYPE"))
"""
    (tmp_path / "other.py").write_text(inner)
    printed = run(
        """
        import mpmetrics, subprocess, sys
        r = mpmetrics.CollectorRegistry(name="admin")
        mpmetrics.Gauge("only_here", "h", registry=r)
        g = mpmetrics.Gauge("g", "h", registry=r)
        g.set(1)
        print(subprocess.run([sys.executable, "other.py"], capture_output=True, text=True).stdout)
        print(r.get_sample_value("g"), mpmetrics.REGISTRY.get_sample_value("g"))
        """,
        MPMETRICS_STORE=str(tmp_path / "store"),
    )

    assert ["2", "3.0", "None"] == printed


def test_private_registry_is_not_shared(run, tmp_path):
    """Unnamed registries made inside functions are strangers in every process."""
    (tmp_path / "other.py").write_text(
        textwrap.dedent("""
        import mpmetrics
        def main():
            r = mpmetrics.CollectorRegistry()
            mpmetrics.Gauge("g", "h", registry=r).inc(2)
            print(r.get_sample_value("g"))
        main()
        """)
    )
    printed = run(
        """
        import mpmetrics, subprocess, sys
        def main():
            r = mpmetrics.CollectorRegistry()
            g = mpmetrics.Gauge("g", "h", registry=r)
            g.set(1)
            other = [sys.executable, "other.py"]
            print(subprocess.run(other, capture_output=True, text=True).stdout)
            print(r.get_sample_value("g"))
        main()
        """,
        MPMETRICS_STORE=str(tmp_path / "store"),
    )

    assert ["2.0", "1.0"] == printed


def test_registry_none_is_alone():
    """Two metrics of one name without a registry count apart."""
    one, two = Counter("m", "h", registry=None), Counter("m", "h", registry=None)
    one.inc()

    assert [1.0, 0.0] == [metric.collect()[0].samples[0].value for metric in (one, two)]


def test_two_objects_of_one_name():
    """Two registries of one name in one process: a declaration in the second joins the first's."""
    registries = [mpmetrics.CollectorRegistry(name="test_registry_twice") for _ in range(2)]
    first = Counter("m", "h", registry=registries[0])
    first.inc(2)
    second = Counter("m", "h", registry=registries[1])
    second.inc(3)

    assert [5.0, 5.0] == [value(registry) for registry in registries]


def test_second_object_of_a_name_shows_the_first():
    """A registry that is only named, to be read, shows what was declared in another object of it.

    By prometheus_client's own functions as by ours, and restricted to names."""
    first = mpmetrics.CollectorRegistry(name="test_registry_to_read")
    Counter("m", "h", registry=first).inc(2)
    libraries = prometheus_client, mpmetrics
    whole = [
        library.generate_latest(mpmetrics.CollectorRegistry(name="test_registry_to_read"))
        for library in libraries
    ]
    restricted = [
        library.generate_latest(
            mpmetrics.CollectorRegistry(name="test_registry_to_read").restricted_registry(
                ["m_total"]
            )
        )
        for library in libraries
    ]

    assert [mpmetrics.generate_latest(first)] * 2 == whole
    assert [b"# HELP m_total h\n# TYPE m_total counter\nm_total 2.0\n"] * 2 == restricted


@pytest.fixture(params=["prometheus_client", "mpmetrics"])
def page(request):
    """Who makes a page of a registry."""
    return sys.modules[request.param].generate_latest


def test_subclass_with_a_register_of_its_own(page):
    """A named subclass's `register` may use what its own `__init__` makes after ours.

    It is told what the program registers, and nothing of other processes' families."""

    class Listing(mpmetrics.CollectorRegistry):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.listed = []

        def register(self, collector):
            self.listed.append(collector)
            super().register(collector)

    other = mpmetrics.CollectorRegistry(name="test_registry_subclass")
    metric = Counter("theirs", "h", registry=other)
    registry = Listing(name="test_registry_subclass")
    mine = Counter("mine", "h", registry=registry)

    assert [mine] == registry.listed
    assert b"theirs_total 0.0" in page(registry)
    assert metric.describe()[0].name == "theirs"


def test_emptied_registry_shows_the_others(run, tmp_path):
    """Whoever unregisters all collectors still has what other processes declare on every page.

    Before a scrape and after one, by prometheus_client's functions and by ours."""
    (tmp_path / "other.py").write_text("import mpmetrics; mpmetrics.Gauge('g', 'h').set(3)")
    printed = run(
        """
        import mpmetrics, prometheus_client, subprocess, sys
        def empty():
            for collector in list(mpmetrics.REGISTRY._collector_to_names):
                mpmetrics.REGISTRY.unregister(collector)
        mpmetrics.Gauge("mine", "h")
        empty()
        subprocess.run([sys.executable, "other.py"], check=True)
        pages = [prometheus_client.generate_latest(), mpmetrics.generate_latest()]
        for library in (mpmetrics, prometheus_client):
            empty()
            pages.append(library.generate_latest())
        empty()
        pages.append(prometheus_client.generate_latest(
            mpmetrics.REGISTRY.restricted_registry(["g"])))
        print(*(page.count(b"g 3.0") for page in pages), any(b"mine" in page for page in pages))
        """,
        MPMETRICS_STORE=str(tmp_path / "store"),
    )

    assert ["1"] * 5 + ["False"] == printed


def test_emptied_named_registry(page):
    """The same of a registry that is only named."""
    other = mpmetrics.CollectorRegistry(name="test_registry_emptied")
    Gauge("g", "h", registry=other).set(3)
    registry = mpmetrics.CollectorRegistry(name="test_registry_emptied")
    pages = []
    for _ in range(2):
        pages.append(page(registry))
        for collector in list(registry._collector_to_names):
            registry.unregister(collector)
    with pytest.raises(KeyError):
        registry.unregister(collector)

    assert [b"# HELP g h\n# TYPE g gauge\ng 3.0\n"] * 3 == [*pages, page(registry)]


def test_scrape_inside_a_scrape(run, tmp_path):
    """A scrape that another one overtakes shows what other processes have just declared as well."""
    (tmp_path / "other.py").write_text("import mpmetrics; mpmetrics.Gauge('g', 'h').set(3)")
    printed = run(
        """
        import prometheus_client, subprocess, sys
        pages = []
        class Scraping:
            def describe(self):
                return []
            def collect(self):
                if not pages:
                    pages.append(None)
                    pages.append(prometheus_client.generate_latest())
                return []
        prometheus_client.REGISTRY.register(Scraping())
        import mpmetrics
        mpmetrics.Gauge("mine", "h")
        subprocess.run([sys.executable, "other.py"], check=True)
        pages.append(prometheus_client.generate_latest())
        print(*(page.count(b"g 3.0") for page in pages[1:]))
        """,
        MPMETRICS_STORE=str(tmp_path / "store"),
    )

    assert ["1", "1"] == printed


def test_scrapes_at_once(run):
    """Of several scrapes at one time each shows each family that another process declared, once."""
    printed = run("""
        import mpmetrics, prometheus_client, sys, threading
        sys.setswitchinterval(1e-6)
        ours, read = (mpmetrics.CollectorRegistry(name="r") for _ in range(2))
        barrier, shown = threading.Barrier(4), []
        def scrape():
            for i in range(30):
                barrier.wait()
                page = prometheus_client.generate_latest(read)
                shown.append(page.count(b" 1.0") == 20 * (i + 1))
                barrier.wait()
        threads = [threading.Thread(target=scrape) for _ in range(3)]
        for thread in threads:
            thread.start()
        for i in range(30):
            for j in range(20):
                mpmetrics.Gauge(f"g{i}_{j}", "h", registry=ours).set(1)
            barrier.wait(), barrier.wait()
        for thread in threads:
            thread.join()
        print(len(shown), all(shown))
    """)

    assert ["90", "True"] == printed


class Described:
    """A collector of a program's own, of one family."""

    def __init__(self, name, type_="gauge"):
        self.families = [prometheus_client.Metric(name, "h", type_)]

    def describe(self):
        return self.families

    def collect(self):
        return self.families


@pytest.mark.parametrize("declare", ["metric", "collector"])
@pytest.mark.parametrize("library", [mpmetrics, prometheus_client])
def test_second_declaration_hides_nothing(declare, library):
    """A name that is declared twice is an error, and no other process's family leaves the page.

    Not even that of a scrape that has looked for them already, as prometheus_client's `collect`."""
    name = f"test_registry_second_{declare}_{library.__name__}"
    other = mpmetrics.CollectorRegistry(name=name)
    theirs = Gauge("theirs", "h", registry=other)
    registry = library.CollectorRegistry()
    mpmetrics.identity.give_name(registry, name)
    Counter("mine", "h", registry=registry)
    mpmetrics.generate_latest(registry)
    again = {
        "metric": lambda: Counter("mine", "h", registry=registry),
        "collector": lambda: registry.register(Described("mine", "counter")),
    }
    with pytest.raises(ValueError):
        again[declare]()

    shown = prometheus_client.CollectorRegistry.collect(registry)
    assert ["mine", "theirs"] == [metric.name for metric in shown]
    assert theirs.collect()[0].name == "theirs"


@pytest.mark.parametrize("type_", ["gauge", "unknown", "gaugehistogram"])
def test_collector_takes_its_names_alone(type_):
    """A collector that another process's family is in the way of takes its place, and no other's.

    One that doesn't describe itself takes all away, until the next scrape."""
    other = mpmetrics.CollectorRegistry(name=f"test_registry_takes_{type_}")
    kept = [Gauge(name, "h", registry=other) for name in ("a", "b", "c")]
    registry = mpmetrics.CollectorRegistry(name=f"test_registry_takes_{type_}", auto_describe=True)
    mpmetrics.generate_latest(registry)

    def names():
        shown = prometheus_client.CollectorRegistry.collect(registry)
        return sorted(metric.name for metric in shown)

    seen = [names()]
    mine = Described("b", type_)
    registry.register(mine)
    seen.append(names())

    class Undescribed:
        def collect(self):
            return Described("c").collect()

    registry.register(Undescribed())
    seen.append(names())
    registry.collect().send(None)
    assert [["a", "b", "c"], ["a", "b", "c"], ["b", "c"], ["a", "b", "c"]] == [*seen, names()]
    assert len(kept) == 3


def test_fork_during_a_scrape(run):
    """A child forked while another thread was at the stand-ins isn't kept waiting."""
    printed = run("""
        import mpmetrics, os, threading, warnings
        warnings.simplefilter("ignore")  # from 3.12 on, of any fork with threads
        ours, read = (mpmetrics.CollectorRegistry(name="r") for _ in range(2))
        mpmetrics.Gauge("g", "h", registry=ours).set(1)
        inside, done = threading.Event(), threading.Event()
        foreign = mpmetrics.registry.foreign_of(read)
        def hold():
            with foreign.lock:
                inside.set()
                done.wait()
        thread = threading.Thread(target=hold)
        thread.start()
        inside.wait()
        pid = os.fork()
        if pid == 0:
            os._exit(b"g 1.0" not in mpmetrics.generate_latest(read))
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        done.set()
        thread.join()
    """)

    assert ["0"] == printed


def test_every_registry_is_an_instance():
    """REGISTRY and prometheus_client's registries are instances of our class, as without us.

    A subclass of it has its own instances only."""

    class Mine(mpmetrics.CollectorRegistry):
        pass

    theirs = prometheus_client.CollectorRegistry
    registries = mpmetrics.REGISTRY, theirs(), mpmetrics.CollectorRegistry(), Mine()
    assert [True] * 4 == [isinstance(each, mpmetrics.CollectorRegistry) for each in registries]
    assert [False, False, False, True] == [isinstance(each, Mine) for each in registries]
    assert [True, True, False, False] == [
        issubclass(theirs, mpmetrics.CollectorRegistry),
        issubclass(Mine, mpmetrics.CollectorRegistry),
        issubclass(theirs, Mine),
        isinstance("REGISTRY", mpmetrics.CollectorRegistry),
    ]


# ---- registering ---------------------------------------------------------------------------------


def test_both_kinds_of_registries_have_the_same_methods():
    """What our class overrides, REGISTRY has on the object itself, and nothing else."""
    ours, theirs = (
        {name for name in vars(each) if not name.startswith("_")}
        for each in (mpmetrics.CollectorRegistry, mpmetrics.REGISTRY)
    )

    assert ours == theirs


def test_unregister_and_declare_anew():
    """After unregister the metric is shown no more; declared anew it starts at zero."""
    registry = mpmetrics.CollectorRegistry()
    first = Counter("m", "h", registry=registry)
    first.inc(5)
    registry.unregister(first)
    assert b"" == mpmetrics.generate_latest(registry)

    second = Counter("m", "h", registry=registry)
    assert 0.0 == value(registry)
    second.inc(2)
    assert 2.0 == value(registry)


@pytest.mark.parametrize("keep", [True, False])
def test_unregister_and_declare_anew_in_a_named_one(keep):
    """The same in a registry that others could know, whether the old object is kept or not."""
    registry = mpmetrics.CollectorRegistry(name=f"test_registry_anew_{keep}")
    first = Counter("m", "h", ["a"], registry=registry)
    first.labels("x").inc(5)
    registry.unregister(first)
    if not keep:
        del first
    assert b"" == mpmetrics.generate_latest(registry)

    second = Counter("m", "h", ["a"], registry=registry)
    assert value(registry, a="x") is None
    second.labels("x").inc(2)
    assert 2.0 == value(registry, a="x")
    if keep:
        first.labels("x").inc(7)
        first.labels("y").inc(7)
        assert value(registry, a="x") in (2.0, 9.0)


def test_unregister_and_declare_another_shape():
    """After unregister the name is free for any type and labels."""
    registry = mpmetrics.CollectorRegistry()
    registry.unregister(Counter("m", "h", ["a"], registry=registry))
    Gauge("m_total", "h", ["b"], registry=registry).labels("x").set(4)

    assert 4.0 == value(registry, b="x")
    assert b"counter" not in mpmetrics.generate_latest(registry)


def test_metric_in_two_registries():
    """A metric registered in two is shown by both; unregistered from one, by the other."""
    one, two = mpmetrics.CollectorRegistry(), prometheus_client.CollectorRegistry()
    counter = Counter("m", "h", registry=one)
    two.register(counter)
    counter.inc()
    assert [1.0, 1.0] == [value(one), value(two)]

    one.unregister(counter)
    counter.inc()
    assert [None, 2.0] == [value(one), value(two)]
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        Counter("m", "h", registry=two)


def test_no_family_twice():
    """A metric that is registered twice by way of a wrapper is rendered once."""
    registry = mpmetrics.CollectorRegistry()
    counter = Counter("m", "h", registry=registry)

    class Wrapper:
        def collect(self):
            return counter.collect()

    registry.register(Wrapper())

    assert 1 == mpmetrics.generate_latest(registry).count(b"# TYPE m_total")


def test_restricted_registry():
    """restricted_registry gives the samples of those names, as prometheus_client's."""
    pages = []
    for library in (prometheus_client, mpmetrics):
        registry = library.CollectorRegistry()
        histogram = library.Histogram("h", "h", ["a"], registry=registry, buckets=[1])
        histogram.labels("x").observe(1)
        library.Gauge("g", "h", registry=registry)
        pages.append(library.generate_latest(registry.restricted_registry(["h_sum", "h_bucket"])))

    assert pages[0] == pages[1]


def test_get_sample_value():
    """get_sample_value finds a sample by name and all its labels, and nothing else."""
    registry = mpmetrics.CollectorRegistry()
    Gauge("m", "h", ["a", "b"], registry=registry).labels("x", "y").set(2)

    assert 2.0 == value(registry, "m", a="x", b="y")
    assert value(registry, "m", a="x") is None
    assert value(registry, "m") is None
    assert value(registry, "n", a="x", b="y") is None


def test_support_collectors_without_names():
    """prometheus_client's options of a registry work in ours."""
    registry = mpmetrics.CollectorRegistry(
        auto_describe=True, target_info={"a": "b"}, support_collectors_without_names=True
    )
    Gauge("m", "h", registry=registry)

    class Nameless:
        def describe(self):
            return []

        def collect(self):
            return [prometheus_client.Metric("n", "h", "gauge")]

    registry.register(Nameless())

    names = [f.name for f in registry.restricted_registry(["m", "n", "target_info"]).collect()]
    assert {"target", "m"} <= set(names)


# ---- what stays ----------------------------------------------------------------------------------

MANY = """
import gc, mpmetrics
keeper = mpmetrics.Gauge("keeper", "h")

def batch(i):
    r = mpmetrics.CollectorRegistry()
    c = mpmetrics.Counter("m", "h", ["a"], registry=r)
    h = mpmetrics.Histogram("h", "h", registry=r)
    for a in "xyz":
        c.labels(a).inc()
    h.observe(1)
    mpmetrics.Info("i", "h", registry=r).info({"batch": str(i)})
    mpmetrics.Gauge("g", "h", registry=r).set(i)
    mpmetrics.Enum("e", "h", ["l"], states=["a"], registry=r).labels("l")
    mpmetrics.Counter("none", "h", registry=None).inc()
    assert r.get_sample_value("m_total", {"a": "x"}) == 1.0
    assert mpmetrics.generate_latest(r).count(b"\\nm_total{") == 3

def numbers():
    gc.collect()
    s = keeper._family.store.statistics()
    return s["used_bytes"], s["series"], s["blocks"], s["file_bytes"], s["private"]

for i in range(10):
    batch(i)
before = numbers()
for i in range(1000):
    batch(i)
print(before == numbers(), before, numbers())
"""


def test_private_registries_leave_nothing(run):
    """1,000 batch jobs' registries, made and dropped, leave the store as 10 left it."""
    same, *numbers = run(MANY)

    assert "True" == same, numbers


def test_unregistered_metrics_leave_nothing(run):
    """1,000 times declared anew in the default registry, the store is as after 10."""
    same, *numbers = run("""
        import gc, mpmetrics
        keeper = mpmetrics.Gauge("keeper", "h")
        def numbers():
            gc.collect()
            s = keeper._family.store.statistics()
            return s["used_bytes"], s["series"], s["blocks"], s["file_bytes"]
        def turn():
            c = mpmetrics.Counter("m", "h", ["a"])
            c.labels("x").inc()
            assert mpmetrics.REGISTRY.get_sample_value("m_total", {"a": "x"}) == 1.0
            mpmetrics.REGISTRY.unregister(c)
        for _ in range(10):
            turn()
        before = numbers()
        for _ in range(1000):
            turn()
        print(before == numbers(), before, numbers())
    """)

    assert "True" == same, numbers


def test_dropped_registry_is_freed():
    """Nothing of ours keeps a registry alive, nor the metrics in it."""
    registry = mpmetrics.CollectorRegistry()
    counter = Counter("m", "h", ["a"], registry=registry)
    counter.labels("x").inc()
    mpmetrics.generate_latest(registry)
    gone = weakref.ref(registry), weakref.ref(counter), weakref.ref(counter.labels("x"))

    del registry, counter
    gc.collect()

    assert (None, None, None) == tuple(reference() for reference in gone)


def test_kept_child_outlives_its_registry():
    """A child kept after its registry and parent are gone counts for nobody, and hurts nobody."""
    child = Counter("m", "h", ["a"], registry=mpmetrics.CollectorRegistry()).labels("x")
    gc.collect()
    other = Counter("m", "h", ["a"], registry=mpmetrics.CollectorRegistry())
    for each in "xyz":
        other.labels(each)
    child.inc(100)

    assert [0.0] * 3 == [s.value for s in other.collect()[0].samples if s.name == "m_total"]
