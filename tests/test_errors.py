"""Bad input: the same call on prometheus_client's classes and on ours raises the same."""

import logging

import prometheus_client
import pytest

import mpmetrics

NAN, INF = float("nan"), float("inf")

# Raised by both with the same words: users match on them.
SAME_WORDS = {
    "no-name": lambda lib, r: lib.Counter("", "h", registry=r),
    "half-a-surrogate-in-a-name": lambda lib, r: lib.Counter("a\ud800", "h", registry=r),
    "half-a-surrogate-in-a-label": lambda lib, r: lib.Counter("a", "h", ["l\ud800"], registry=r),
    "labelnames-none": lambda lib, r: lib.Counter("a", "h", None, registry=r),
    "unit-of-info": lambda lib, r: lib.Info("a", "h", unit="u", registry=r),
    "unit-of-enum": lambda lib, r: lib.Enum("a", "h", unit="u", states=["x"], registry=r),
    "no-buckets": lambda lib, r: lib.Histogram("a", "h", buckets=[], registry=r),
    "only-infinity": lambda lib, r: lib.Histogram("a", "h", buckets=[INF], registry=r),
    "unsorted-buckets": lambda lib, r: lib.Histogram("a", "h", buckets=[3, 1], registry=r),
    "bucket-no-number": lambda lib, r: lib.Histogram("a", "h", buckets=["x"], registry=r),
    "buckets-none": lambda lib, r: lib.Histogram("a", "h", buckets=None, registry=r),
    "no-states": lambda lib, r: lib.Enum("a", "h", registry=r),
    "empty-states": lambda lib, r: lib.Enum("a", "h", states=[], registry=r),
    "label-is-name": lambda lib, r: lib.Enum("a", "h", ["a"], states=["x"], registry=r),
    "counter-twice": lambda lib, r: [lib.Counter("own", "h", registry=r) for _ in range(2)],
    "gauge-as-total": lambda lib, r: lib.Gauge("count_total", "h", registry=r),
    "gauge-as-created": lambda lib, r: lib.Gauge("count_created", "h", registry=r),
    "gauge-as-sum": lambda lib, r: lib.Gauge("hist_sum", "h", registry=r),
    "gauge-as-bucket": lambda lib, r: lib.Gauge("hist_bucket", "h", registry=r),
    "gauge-as-count": lambda lib, r: lib.Gauge("summ_count", "h", registry=r),
    "gauge-as-info": lambda lib, r: lib.Gauge("about_info", "h", registry=r),
    "counter-over-total": lambda lib, r: (
        lib.Gauge("b_total", "h", registry=r),
        lib.Counter("b", "h", registry=r),
    ),
    "registered-twice": lambda lib, r: r.register(r.count),
    "negative": lambda lib, r: r.count.inc(-1),
    "negative-infinity": lambda lib, r: r.count.inc(-INF),
    "negative-by-name": lambda lib, r: r.count.inc(amount=-0.5),
    "too-large": lambda lib, r: r.count.inc(10**400),
    "parent-inc": lambda lib, r: r.labelled.inc(),
    "parent-inc-negative": lambda lib, r: r.labelled.inc(-1),
    "parent-count-exceptions": lambda lib, r: r.labelled.count_exceptions(),
    "parent-gauge-inc": lambda lib, r: r.levels.inc(),
    "parent-gauge-dec": lambda lib, r: r.levels.dec(),
    "parent-gauge-set": lambda lib, r: r.levels.set(1),
    "parent-gauge-now": lambda lib, r: r.levels.set_to_current_time(),
    "parent-track": lambda lib, r: r.levels.track_inprogress(),
    "parent-observe": lambda lib, r: r.summs.observe(1),
    "parent-histogram": lambda lib, r: r.hists.observe(1),
    "parent-state": lambda lib, r: r.enums.state("x"),
    "parent-unknown-state": lambda lib, r: r.enums.state("y"),
    "parent-time": lambda lib, r: r.summs.time().__enter__() and leave(r.summs.time()),
    "no-values": lambda lib, r: r.labelled.labels(),
    "too-many-values": lambda lib, r: r.labelled.labels("a", "b"),
    "both": lambda lib, r: r.labelled.labels("a", l="b"),
    "other-name": lambda lib, r: r.labelled.labels(m="b"),
    "name-too-many": lambda lib, r: r.labelled.labels(l="b", m="c"),
    "name-missing": lambda lib, r: r.pairs.labels(l="b"),
    "name-exchanged": lambda lib, r: r.pairs.labels(l="b", m="c"),
    "labels-of-none": lambda lib, r: r.count.labels("b"),
    "no-labels-of-none": lambda lib, r: r.count.labels(),
    "remove-of-none": lambda lib, r: r.count.remove("a"),
    "remove-nothing-of-none": lambda lib, r: r.count.remove(),
    "remove-by-labels-of-none": lambda lib, r: r.count.remove_by_labels({}),
    "remove-too-few": lambda lib, r: r.labelled.remove(),
    "remove-too-many": lambda lib, r: r.labelled.remove("a", "b"),
    "remove-by-list": lambda lib, r: r.labelled.remove_by_labels([]),
    "remove-by-unknown": lambda lib, r: r.labelled.remove_by_labels({"x": 1}),
    "info-overlap": lambda lib, r: r.infos.labels("x").info({"l": "b"}),
    "info-none": lambda lib, r: r.about.info({"a": None}),
    "info-of-none": lambda lib, r: r.about.info(None),
    "mostrecent-inc": lambda lib, r: r.newest.inc(),
    "mostrecent-dec": lambda lib, r: r.newest.dec(),
    "mostrecent-parent": lambda lib, r: lib.Gauge(
        "n2", "h", ["l"], multiprocess_mode="livemostrecent", registry=r
    ).inc(),
}

# Raised by both, and of one type: the words are the interpreter's, or ours say more.
SAME_TYPE = {
    "reserved": lambda lib, r: lib.Counter("a", "h", ["__x"], registry=r),
    "reserved-quantile": lambda lib, r: lib.Summary("a", "h", ["quantile"], registry=r),
    "reserved-le": lambda lib, r: lib.Histogram("a", "h", ["le"], registry=r),
    "name-no-str": lambda lib, r: lib.Counter(1, "h", registry=r),
    "name-none": lambda lib, r: lib.Counter(None, "h", registry=r),
    "no-documentation": lambda lib, r: lib.Counter("a", registry=r),
    "unknown-argument": lambda lib, r: lib.Counter("a", "h", foo=1),
    "unknown-mode": lambda lib, r: lib.Gauge("a", "h", multiprocess_mode="x", registry=r),
    "unknown-state": lambda lib, r: r.enum.state("y"),
    "inc-str": lambda lib, r: r.count.inc("1"),
    "inc-none": lambda lib, r: r.count.inc(None),
    "inc-complex": lambda lib, r: r.count.inc(2j),
    "inc-three": lambda lib, r: r.count.inc(1, None, 3),
    "inc-unknown": lambda lib, r: r.count.inc(foo=1),
    "inc-twice": lambda lib, r: r.count.inc(1, amount=1),
    "gauge-inc-str": lambda lib, r: r.level.inc("1"),
    "gauge-dec-str": lambda lib, r: r.level.dec("1"),
    "set-nothing": lambda lib, r: r.level.set(),
    "set-none": lambda lib, r: r.level.set(None),
    "observe-nothing": lambda lib, r: r.summ.observe(),
    "observe-two": lambda lib, r: r.summ.observe(1, 2),
    "exemplar-reserved": lambda lib, r: r.count.inc(1, {"__a": "b"}),
    "exemplar-too-long": lambda lib, r: r.count.inc(exemplar={"a": "b" * 128}),
    "exemplar-of-bucket": lambda lib, r: r.hist.observe(1, {"__a": "b"}),
    "chained-labels": lambda lib, r: r.labelled.labels("a").labels("b"),
    "unregister-unknown": lambda lib, r: r.unregister(lib.Counter("a", "h", registry=None)),
    "info-of-str": lambda lib, r: r.about.info("x"),
}

# Refused by us alone, with this; prometheus_client makes of them a page that nobody can read, or
# fails at the scrape.
OURS_ALONE = {
    "empty-label": (ValueError, lambda r: mpmetrics.Counter("a", "h", [""], registry=r)),
    "label-no-str": (ValueError, lambda r: mpmetrics.Counter("a", "h", [1], registry=r)),
    "label-twice": (ValueError, lambda r: mpmetrics.Counter("a", "h", ["b", "b"], registry=r)),
    "bucket-twice": (
        ValueError,
        lambda r: mpmetrics.Histogram("a", "h", buckets=[1, 1], registry=r),
    ),
    "bucket-nan": (
        ValueError,
        lambda r: mpmetrics.Histogram("a", "h", buckets=[NAN, 1], registry=r),
    ),
    "label-is-full-name": (
        ValueError,
        lambda r: mpmetrics.Enum("s", "h", ["n_s"], namespace="n", states=["x"], registry=r),
    ),
    "state-twice": (ValueError, lambda r: mpmetrics.Enum("a", "h", states=["x", "x"], registry=r)),
    "state-no-str": (ValueError, lambda r: mpmetrics.Enum("a", "h", states=[1, 2], registry=r)),
    "help-no-str": (TypeError, lambda r: mpmetrics.Counter("a", None, registry=r)),
    "labelvalues": (
        TypeError,
        lambda r: mpmetrics.Counter("a", "h", registry=r, _labelvalues=["x"]),
    ),
    "exemplar-utf-8-label": (ValueError, lambda r: r.count.inc(1, {"é": "x"})),
    "exemplar-empty-label": (ValueError, lambda r: r.count.inc(1, {"": "x"})),
    "exemplar-no-str": (ValueError, lambda r: r.count.inc(1, {1: "x"})),
    "parent-info": (ValueError, lambda r: r.infos.info({"a": "b"})),
    "child-remove": (ValueError, lambda r: r.labelled.labels("x").remove("x")),
    "empty-registry-name": (ValueError, lambda r: mpmetrics.CollectorRegistry(name="")),
}


def leave(timer):
    timer.__enter__()
    timer.__exit__(None, None, None)


def registry_of(library):
    """A registry with a bit of everything, and the metrics as its attributes."""
    r = library.CollectorRegistry()
    made = {
        "count": library.Counter("count", "h", registry=r),
        "labelled": library.Counter("labelled", "h", ["l"], registry=r),
        "pairs": library.Counter("pairs", "h", ["l", "k"], registry=r),
        "level": library.Gauge("level", "h", registry=r),
        "levels": library.Gauge("levels", "h", ["l"], registry=r),
        "newest": library.Gauge("newest", "h", multiprocess_mode="mostrecent", registry=r),
        "summ": library.Summary("summ", "h", registry=r),
        "summs": library.Summary("summs", "h", ["l"], registry=r),
        "hist": library.Histogram("hist", "h", registry=r),
        "hists": library.Histogram("hists", "h", ["l"], registry=r),
        "about": library.Info("about", "h", registry=r),
        "infos": library.Info("infos", "h", ["l"], registry=r),
        "enum": library.Enum("enum", "h", states=["x"], registry=r),
        "enums": library.Enum("enums", "h", ["l"], states=["x"], registry=r),
    }
    r.__dict__.update(made)
    for name in ("labelled", "levels", "summs", "hists", "infos", "enums"):
        made[name].labels("a"), made[name].labels("x")
    made["count"].inc(3)
    made["about"].info({"version": "1"})
    return r


def error_of(call, *arguments):
    try:
        call(*arguments)
    except Exception as error:
        return error
    return None


def words(error):
    """What it says; names that stand in a set stand in any order."""
    head, brace, names = str(error).partition("{'")
    return head + ", ".join(sorted(names.strip("}").split(", "))) if brace else head


@pytest.mark.parametrize("call", SAME_WORDS.values(), ids=SAME_WORDS)
def test_same_words(call):
    """The error is prometheus_client's, by type and wording."""
    theirs = error_of(call, prometheus_client, registry_of(prometheus_client))
    ours = error_of(call, mpmetrics, registry_of(mpmetrics))

    assert theirs is not None
    assert type(theirs) is type(ours)
    assert words(theirs) == words(ours)


@pytest.mark.parametrize("call", SAME_TYPE.values(), ids=SAME_TYPE)
def test_same_type(call):
    """The error is of prometheus_client's type."""
    theirs = error_of(call, prometheus_client, registry_of(prometheus_client))
    ours = error_of(call, mpmetrics, registry_of(mpmetrics))

    assert theirs is not None
    assert type(theirs) is type(ours)


@pytest.mark.parametrize(("type_", "call"), OURS_ALONE.values(), ids=OURS_ALONE)
def test_ours_alone(type_, call):
    """What would make an unreadable page is refused when it is declared."""
    with pytest.raises(type_):
        call(registry_of(mpmetrics))


ALL = {
    **{name: call for calls in (SAME_WORDS, SAME_TYPE) for name, call in calls.items()},
    **{name: (lambda lib, r, call=call: call(r)) for name, (_, call) in OURS_ALONE.items()},
}
# These make something before the call that fails.
HALF_DONE = {"counter-twice", "counter-over-total", "mostrecent-parent", "unregister-unknown"}


@pytest.mark.parametrize("name", sorted(ALL.keys() - HALF_DONE))
def test_errors_change_nothing(name):
    """A scrape after the error is the scrape before it, and so is the store."""
    registry = registry_of(mpmetrics)
    before = mpmetrics.generate_latest(registry)
    series = registry.count._family.store.statistics()["series"]

    assert error_of(ALL[name], mpmetrics, registry) is not None

    assert before == mpmetrics.generate_latest(registry)
    assert series == registry.count._family.store.statistics()["series"]


def test_reserved_labels_are_named():
    """Users match on "Reserved label metric name: ..."."""
    with pytest.raises(ValueError, match=r"^Reserved label metric name: __x"):
        mpmetrics.Counter("a", "h", ["__x"], registry=None)


@pytest.mark.parametrize("labelname", ["0", "a b", "é"])
def test_legacy_validation(labelname):
    """With prometheus_client's legacy validation on, its rules for names hold."""
    from prometheus_client import validation

    validation.enable_legacy_validation()
    try:
        for library in (prometheus_client, mpmetrics):
            with pytest.raises(ValueError, match=r"^Invalid label metric name: "):
                library.Counter("a", "h", [labelname], registry=None)
            with pytest.raises(ValueError, match=r"^invalid metric name "):
                library.Counter(labelname, "h", registry=None)
    finally:
        validation.disable_legacy_validation()


def test_failing_registry_leaves_nothing():
    """If the registry refuses the metric, the store and the other processes never hear of it."""

    class Refusing(mpmetrics.CollectorRegistry):
        def register(self, collector):
            if isinstance(collector, mpmetrics.Counter):
                raise RuntimeError("no")
            super().register(collector)

    registry = Refusing()
    gauge = mpmetrics.Gauge("a", "h", registry=registry)
    before = len(gauge._family.store.catalog())

    with pytest.raises(RuntimeError):
        mpmetrics.Counter("b", "h", registry=registry)

    assert before == len(gauge._family.store.catalog())


def test_state_names_what_was_expected():
    """The error for an unknown state names the state, and the ones that there are."""
    enum = mpmetrics.Enum("e", "h", states=["on", "off"], registry=None)

    with pytest.raises(ValueError, match=r"away.*on.*off"):
        enum.state("away")


def test_chained_labels_are_named():
    """The error for a child's labels() says which labels it has, as prometheus_client's."""
    errors = [
        error_of(lib.Counter("a", "h", ["l"], registry=None).labels("x").labels, "y")
        for lib in (prometheus_client, mpmetrics)
    ]

    assert str(errors[0]) == str(errors[1])


@pytest.mark.parametrize("given", ["1.5", "x", b"2", bytearray(b"3")], ids=repr)
def test_set_converts_as_float_does(given):
    """Gauge.set takes whatever float() takes, and raises what it raises."""
    outcomes = []
    for library in (prometheus_client, mpmetrics):
        registry = library.CollectorRegistry()
        gauge = library.Gauge("a", "h", registry=registry)
        error = error_of(gauge.set, given)
        outcomes.append((type(error), registry.get_sample_value("a")))

    assert outcomes[0] == outcomes[1]


def test_timer_left_without_entering():
    """Leaving a timer that was never entered observes nothing."""
    registry = mpmetrics.CollectorRegistry()
    summary = mpmetrics.Summary("a", "h", registry=registry)

    error_of(summary.time().__exit__, None, None, None)

    assert 0.0 == registry.get_sample_value("a_count")


def test_no_warnings_and_no_lines(caplog):
    """Bad input raises; it logs nothing and warns of nothing."""
    with caplog.at_level(logging.DEBUG, logger="mpmetrics"):
        for call in SAME_WORDS.values():
            error_of(call, mpmetrics, registry_of(mpmetrics))

    assert [] == caplog.records
