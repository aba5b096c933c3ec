"""Random programs of declarations and calls, run alike on prometheus_client's classes and on ours.

A program says what to declare and what to call. `World` runs it on one of the two libraries, each
in a registry of its own, and what a World shows is compared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import prometheus_client
from hypothesis import strategies as st
from prometheus_client.openmetrics import exposition as openmetrics

import mpmetrics
from mpmetrics.exposition import render
from mpmetrics.negotiation import Encoding, Format


@dataclass(frozen=True)
class Declaration:
    type: str
    name: str
    documentation: str = "help"
    labelnames: tuple[str, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()

    def declare(self, library, registry):
        return getattr(library, self.type)(
            self.name,
            self.documentation,
            self.labelnames,
            registry=registry,
            **dict(self.options),
        )


@dataclass(frozen=True)
class Call:
    """A call of a method: of the family, or of the child with these label values."""

    metric: int
    method: str
    arguments: tuple[Any, ...] = ()
    labelvalues: tuple[str, ...] | None = None

    def run(self, metrics):
        metric = metrics[self.metric]
        if metric is None:
            return None
        try:
            if self.labelvalues:
                metric = metric.labels(*self.labelvalues)
            return getattr(metric, self.method)(*self.arguments)
        except Exception as error:
            return type(error)


@dataclass(frozen=True)
class Program:
    declarations: tuple[Declaration, ...]
    calls: tuple[Call, ...]


# ---- strategies ----------------------------------------------------------------------------------

TEXTS = st.one_of(
    st.sampled_from(
        ["", "a", "b", "GET", "200", 'say "x"', "back\\slash", "new\nline", "\\n", "é√😀"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
)
EXACT = st.integers(-(2**20), 2**20).map(lambda n: n / 1024)  # any sum of some of them is exact
NUMBERS = st.one_of(st.floats(), st.integers(-5, 5), EXACT)
LABELNAMES = st.lists(
    st.sampled_from(["a", "b", "B", "_x", "le_", "code", "zz9", "a0"]), max_size=3, unique=True
).map(tuple)
UNITS = st.sampled_from(["", "", "seconds", "bytes", "total", "info"])
PARTS = st.sampled_from(["", "", "app", "n_1"])
TYPES = ("Counter", "Gauge", "Summary", "Histogram", "Info", "Enum")
BUCKETS = st.one_of(
    st.lists(EXACT, min_size=1, max_size=5, unique=True).map(sorted),
    st.lists(st.floats(allow_nan=False), min_size=2, max_size=5, unique=True).map(sorted),
    st.just([1e5, 999999.0, 1e6, 123456789.0, 1e15, 1e16, 1e22]),
)
STATES = st.lists(TEXTS, min_size=1, max_size=4, unique=True)


@st.composite
def declarations(draw):
    type_ = draw(st.sampled_from(TYPES))
    # Few names, so that some clash: both libraries must refuse the same.
    name = draw(st.sampled_from(["x", "y", "z", "x_total", "x_sum", "y_created", "z_info", "_x"]))
    options = {"namespace": draw(PARTS), "subsystem": draw(PARTS)}
    if type_ not in ("Info", "Enum"):
        options["unit"] = draw(UNITS)
    if type_ == "Histogram" and draw(st.booleans()):
        options["buckets"] = tuple(draw(BUCKETS))
    if type_ == "Enum":
        options["states"] = tuple(draw(STATES))
    return Declaration(type_, name, draw(TEXTS), draw(LABELNAMES), tuple(options.items()))


EXEMPLARS = st.dictionaries(st.sampled_from(["trace_id", "a"]), TEXTS, max_size=2)


def argument_of(draw, declaration, numbers, exemplars):
    """A method of the type, and its arguments."""
    options = dict(declaration.options)
    match declaration.type:
        case "Counter":
            method, values = "inc", numbers
        case "Gauge":
            method, values = draw(st.sampled_from(["inc", "dec", "set"])), numbers
        case "Summary":
            method, values = "observe", numbers
        case "Histogram":  # prometheus_client counts NaN in no bucket: a stated difference
            method, values = "observe", numbers.filter(lambda x: x == x)
        case "Info":
            keys = st.sampled_from(["k", "v.1", "sé", "version", *declaration.labelnames])
            return "info", (draw(st.dictionaries(keys, TEXTS, max_size=3)),)
        case "Enum":
            return "state", (draw(st.sampled_from([*options["states"], "no state"])),)
    if method in ("inc", "dec") and draw(st.integers(0, 4)) == 0:
        return method, ()
    if exemplars and declaration.type in ("Counter", "Histogram") and draw(st.booleans()):
        return method, (draw(values), draw(EXEMPLARS))
    return method, (draw(values),)


@st.composite
def programs(draw, numbers=NUMBERS, removal=True, gauge_set=True, exemplars=True):
    made = draw(st.lists(declarations(), min_size=1, max_size=4))
    values = draw(st.lists(TEXTS, min_size=1, max_size=3))
    calls = []
    for _ in range(draw(st.integers(0, 20))):
        which = draw(st.integers(0, len(made) - 1))
        declaration = made[which]
        labelvalues = tuple(draw(st.sampled_from(values)) for _ in declaration.labelnames)
        if removal and draw(st.integers(0, 5)) == 0:
            names = declaration.labelnames
            some = dict(list(zip(names, labelvalues, strict=True))[: draw(st.integers(0, 2))])
            removals = [("remove", labelvalues), ("remove_by_labels", (some,)), ("clear", ())]
            if numbers is EXACT and declaration.type == "Counter":
                # After other numbers ours shows what the subtraction gives: a stated difference.
                removals.append(("reset", (), labelvalues))
            calls.append(Call(which, *draw(st.sampled_from(removals))))
            continue
        method, arguments = argument_of(draw, declaration, numbers, exemplars)
        if not gauge_set and method in ("set", "info", "state"):
            continue
        calls.append(Call(which, method, arguments, labelvalues))
    return Program(tuple(made), tuple(calls))


# ---- running -------------------------------------------------------------------------------------


class World:
    """A program's declarations in one library, in a registry of its own."""

    def __init__(self, library, declarations):
        self.library = library
        self.registry = library.CollectorRegistry()
        self.metrics = []
        self.outcomes = []
        for declaration in declarations:
            try:
                self.metrics.append(declaration.declare(library, self.registry))
                self.outcomes.append(None)
            except ValueError as error:
                self.metrics.append(None)
                self.outcomes.append((type(error), without_order(str(error))))

    def run(self, calls):
        self.outcomes += [call.run(self.metrics) for call in calls]

    def samples(self):
        """What `collect()` gives: every sample of every family, in order."""
        return [
            (metric.name, metric.documentation, metric.type, metric.unit, plain(metric.samples))
            for metric in self.registry.collect()
        ]

    def text(self):
        return without_created(self.library.generate_latest(self.registry).decode())

    def openmetrics(self):
        if self.library is prometheus_client:
            page = openmetrics.generate_latest(self.registry)
        else:
            page = render(self.registry, Encoding(Format.OPENMETRICS, "underscores"))
        return without_created(page.decode())


def ours_and_theirs(program):
    """The program run on both libraries."""
    worlds = World(mpmetrics, program.declarations), World(prometheus_client, program.declarations)
    for world in worlds:
        world.run(program.calls)
    return worlds


def plain(samples):
    """Samples as comparable tuples: NaN is itself, and `_created` and exemplars hide when."""
    return [
        (
            s.name,
            dict(s.labels),
            "when" if s.name.endswith("_created") else repr(float(s.value)),
            s.exemplar and (s.exemplar.labels, repr(float(s.exemplar.value))),
        )
        for s in samples
    ]


def in_any_order(families):
    """The same, with the series of each family sorted."""
    return [(*head, sorted(samples, key=repr)) for *head, samples in families]


def without_created(text):
    text = re.sub(r"(?m)^(\S*_created(?:\{.*\})?) [0-9.e+]+$", r"\1 when", text)
    return re.sub(r"(?m)( # \{.*\} \S+) [0-9.e+]+$", r"\1 when", text)


def without_order(message):
    """Duplicates are named by a set, in any order."""
    head, brace, names = message.partition("{")
    return head + brace + ",".join(sorted(names.strip("}").split(", ")))
