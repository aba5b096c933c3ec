"""Classes that extend prometheus_client's metrics by its private methods."""

from __future__ import annotations

import pytest
from tests.programs import run

pytestmark = pytest.mark.usefixtures("nothing_left")

PLAYS = "tests.plays.deriving"


def test_summary_with_quantiles():
    """prometheus-summary's class counts under the patch as without, and a line says for whom.

    The class is its own base's, for isinstance() and issubclass() as well."""
    alone, patched = (run(f"{PLAYS}:summary_with_quantiles", which) for which in (False, True))
    (line,) = patched.pop("said")

    assert [] == alone.pop("said")
    assert alone == patched
    assert [True, True, False, True, True, "Summary"] == patched["is"]
    assert 'seconds{a="x",quantile="0.9"} 3.0' in patched["page"]
    assert line.endswith(
        "Summary extends prometheus_client's Summary by _child_samples, _metric_init: "
        "its metrics count for one process only"
    )


def test_of_the_base_class():
    """A class derived from MetricWrapperBase counts as without us, and a line says so."""
    alone, patched = (run(f"{PLAYS}:of_the_base_class", which) for which in (False, True))
    (line,) = patched.pop("said")

    assert [] == alone.pop("said")
    assert alone == patched
    assert [3.0, 4.0] == patched["values"]
    assert "Latest extends prometheus_client's MetricWrapperBase" in line


def test_mixtures():
    """A metric's class mixed with an ABC, a Protocol or somebody's methods is as without us."""
    alone, patched = (run(f"{PLAYS}:mixtures", which) for which in (False, True))

    assert [2.0, 2.0, 7.0, 2.0] == patched[0]
    assert alone == patched


def test_class_between():
    """Where a class in between is shared already, an error names it and says what to do."""
    (said,) = run(f"{PLAYS}:between")

    assert "lib.Last extends prometheus_client's Counter by _child_samples" in said
    assert "Shared, counts for all processes" in said
    assert "Derive lib.Last from Counter itself" in said


def test_metaclass():
    """A class with private methods keeps its own metaclass, which makes it once, as without us."""
    alone, patched = (run(f"{PLAYS}:metaclass", which) for which in (False, True))

    assert [["M", "M"], ["G", "H"], [True, False]] == alone
    assert alone == patched


def test_register():
    """Counter to Enum refuse a class to be registered as one, and say so; a subclass takes it."""
    refused, taken = run(f"{PLAYS}:register")

    assert [
        f"<class 'int'> can't be registered as a subclass of {name}"
        for name in ("Counter", "Gauge", "Summary", "Histogram", "Info", "Enum")
    ] == [line.partition(": ")[0] for line in refused]
    assert [True, True] == taken


def test_class_made_again_and_again():
    """A class that a function makes at each call is named once in the log, two of them twice."""
    lines = run(f"{PLAYS}:made_again")

    assert [".<locals>.One", ".<locals>.Two", ".<locals>.Base"] == [
        line.partition(" extends")[0].partition("make")[2] for line in lines
    ]


def test_files_of_the_multiprocess_mode(tmp_path):
    """In prometheus_client's multi-process mode such a class counts in files, and is shown.

    MultiProcessCollector puts what the files have beside what the store has, and nothing twice."""
    assert [
        ["jobs_total 2.0", "sizes_count 1.0", "sizes_sum 5.0"],
        ["summary"],
    ] == run(f"{PLAYS}:in_files", str(tmp_path))


def test_separate_exporter(tmp_path, store):
    """A process that has no such class shows its files too: what the folder has, but for our names.

    An earlier run's are among them, as in prometheus_client's mode, until somebody empties the
    folder; mark_process_dead removes a dead process's live gauges, as there."""
    folder = tmp_path / "folder"
    folder.mkdir()
    more = {"store": store, "MPMETRICS_PERSIST": "1"}
    old = run(f"{PLAYS}:earlier_run", str(folder))
    before = run(f"{PLAYS}:exporter", str(folder), 0, **more)
    run(f"{PLAYS}:worker", str(folder), **more)

    assert ["jobs_total 7.0", "level 1.0", "old_total 7.0"] == before
    assert [
        "jobs_total 2.0",
        "old_total 7.0",
        "sizes_count 1.0",
        "sizes_sum 5.0",
    ] == run(f"{PLAYS}:exporter", str(folder), old, **more)
