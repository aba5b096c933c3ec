"""What holds for any program: the ways to ask a registry agree with each other and with theirs."""

import prometheus_client
import pytest
from hypothesis import given, settings, strategies as st
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.utils import floatToGoString
from tests.differential.programs import (
    Call,
    Declaration,
    Program,
    ours_and_theirs,
    plain,
    programs,
    without_created,
)

import mpmetrics
from mpmetrics._native import float_text
from mpmetrics.exposition import render
from mpmetrics.negotiation import ESCAPINGS, Encoding, Format

SETTINGS = settings(deadline=None, max_examples=60)

# What prometheus_client's parsers read back as it was written: they strip and split some texts.
READABLE = st.text(st.sampled_from('aZ0 _é😀"\\\n,={}#'), max_size=6)


@given(st.floats())
def test_numbers_are_written_as_theirs(number):
    """Any float is written as prometheus_client writes it, and read back as itself."""
    assert floatToGoString(number) == float_text(number)
    assert repr(number) == repr(float(float_text(number)))


@SETTINGS
@given(programs())
def test_every_sample_is_found(program):
    """get_sample_value finds every sample that collect() gives, by its name and labels."""
    ours, _ = ours_and_theirs(program)
    for metric in ours.registry.collect():
        for sample in metric.samples:
            found = ours.registry.get_sample_value(sample.name, sample.labels)

            assert repr(sample.value) == repr(found)


NAMES = ("x", "x_total", "y_created", "z_info", "app_x_sum", "x_seconds_bucket", "y", "z_count")


@SETTINGS
@given(programs(removal=False), st.sets(st.sampled_from(NAMES)))
def test_restricted(program, names):
    """restricted_registry and name[] show the samples of these names, as theirs do."""
    ours, theirs = ours_and_theirs(program)
    restricted = [
        sorted(
            plain(s for metric in world.registry.restricted_registry(names).collect()
                  for s in metric.samples),
            key=repr,
        )
        for world in (theirs, ours)
    ]  # fmt: skip
    page = render(ours.registry, Encoding(Format.TEXT, "underscores"), names).decode()
    # Not splitlines: a label value may have a carriage return.
    whole, lines = ours.text().split("\n"), page.split("\n")

    assert restricted[0] == restricted[1]
    assert set(without_created(page).split("\n")) <= {
        *whole,
        *(line for line in lines if line.startswith("#")),
    }
    shown = [line for line in lines if line and not line.startswith("#")]
    assert len(restricted[1]) == len(shown)


@SETTINGS
@given(programs(), st.sampled_from(sorted(ESCAPINGS)))
def test_any_escaping(program, escaping):
    """Under each escaping our page is the one that prometheus_client makes of our registry."""
    ours, _ = ours_and_theirs(program)

    theirs = prometheus_client.generate_latest(ours.registry, escaping)
    assert theirs == mpmetrics.generate_latest(ours.registry, escaping)


@st.composite
def readable_programs(draw):
    """Families of one label, with values that a parser gives back."""
    values = draw(st.lists(READABLE, min_size=1, max_size=4, unique=True))
    made = (
        Declaration("Counter", "c", draw(READABLE), ("a",)),
        Declaration("Gauge", "g", "h", ("a",)),
        Declaration("Summary", "s", "h", ("a",)),
        Declaration("Histogram", "h", "h", ("a",), (("buckets", (0.5, 1.0, 1e6)),)),
        Declaration("Enum", "e", "h", ("a",), (("states", ("on", "off")),)),
    )
    methods = ("inc", "set", "observe", "observe", "state")
    calls = []
    for value in values:
        for which, method in enumerate(methods):
            number = draw(st.floats(0, allow_nan=False))
            argument = draw(st.sampled_from(["on", "off"])) if method == "state" else number
            calls.append(Call(which, method, (argument,), (value,)))
    return Program(made, tuple(calls))


@SETTINGS
@given(readable_programs())
@pytest.mark.parametrize(
    ("format_", "parse"), [(Format.TEXT, parse_text), (Format.OPENMETRICS, parse_openmetrics)]
)
def test_pages_are_read_back(format_, parse, program):
    """prometheus_client's parsers read from our page the samples that collect() gives."""
    ours, _ = ours_and_theirs(program)
    collected = sorted(
        (s.name, sorted(s.labels.items()), repr(s.value))
        for metric in ours.registry.collect()
        for s in metric.samples
    )
    page = render(ours.registry, Encoding(format_, "underscores")).decode()
    read = sorted(
        (s.name, sorted(s.labels.items()), repr(float(s.value)))
        for metric in parse(page)
        for s in metric.samples
    )

    assert collected == read
