"""patch(): programs and libraries that know only prometheus_client, and what they touch."""

from __future__ import annotations

import prometheus_client
import pytest
from tests.programs import run

pytestmark = pytest.mark.usefixtures("nothing_left")

PLAYS = "tests.plays.patching"
MODES = ("before", "after")


@pytest.mark.parametrize("before", [True, False], ids=["imported before", "imported after"])
def test_every_name_is_ours(before):
    """Each name that is replaced is ours in every module that has it, and theirs after undo."""
    seen = run(f"{PLAYS}:replaced", before)

    assert seen.pop("modules") > 20
    assert {
        "not ours": [],
        "left": [],
        "ours after undo": [],
        "changed after undo": [],
        "said": [],
    } == seen


def test_second_call_does_nothing():
    """A call while the patch is in force does nothing, and undoing that one neither."""
    assert [False, True, True, True, False, True, False] == run(f"{PLAYS}:twice")["ours"]


def test_metrics_stay_ours():
    """A metric made under the patch counts on after it, beside those of prometheus_client."""
    assert [2.0, 3.0] == run(f"{PLAYS}:made_while_patched")


def test_server_of_the_patched_name():
    """start_http_server serves under the patch, by prometheus_client's name and by ours."""
    assert [["served_total 1.0"]] * 3 == run(f"{PLAYS}:served")


# ---- too late ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["module", "collector"])
def test_too_late_for_a_module(kind):
    """One line names the modules that took a class, or the collector of files, by name before."""
    (line,) = run(f"{PLAYS}:late", kind)

    assert "too late for the modules" in line
    assert "a_library" in line
    assert "metrics, each" not in line


def test_too_late_for_metrics():
    """One line names the metrics that were made of prometheus_client's classes, wherever they are.

    The children aren't named beside their metric."""
    (line,) = run(f"{PLAYS}:late", "metric")

    assert line.endswith("metrics, each of which counts for one process only: early, hidden, mine")


def test_not_too_late():
    """Nothing is said of names that do no harm: their registries and pages show our metrics."""
    assert [] == run(f"{PLAYS}:late", "harmless")


def test_unfinished_things():
    """Half-made metrics and modules that are still to be loaded are left as they are.

    patch() looks through both for what it came too late for."""
    replaced, undone, (line,), loaded = run(f"{PLAYS}:unfinished")

    assert [True, False, False] == [replaced, undone, loaded]
    assert line.endswith("each of which counts for one process only: whole")


def test_all_or_nothing():
    """If a name can't be replaced none is, and the next patch() says so again."""
    assert [["frozen", "frozen"], True] == run(f"{PLAYS}:all_or_nothing")


# ---- PROMETHEUS_MULTIPROC_DIR --------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("exists", [True, False])
def test_multiprocess_mode(mode, exists, tmp_path):
    """With the variable set, before or by the program, all is there and nothing is written.

    The folder need not exist: that is what the application that just made it does right, and what
    one whose folder is missing now needs not to care about."""
    folder = tmp_path / "folder"
    if exists:
        folder.mkdir()
    seen = run(f"{PLAYS}:use_everything", mode, str(folder))

    (page,) = seen["pages"]
    for line in (
        'jobs_total{a="x"} 2.0',
        "level 3.0",
        "seconds_count 1.0",
        "bytes_sum 1.0",
        'build_info{version="1"} 1.0',
        'state{state="b"} 1.0',
    ):
        assert line in page.splitlines()
    assert ([] if exists else None) == seen["files"]
    assert [] == seen["merged"]
    assert [] == seen["said"]


@pytest.mark.parametrize("variable", ["PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"])
def test_left_over_variable(variable, tmp_path):
    """Without patch() one line says what to delete, once there is a metric of ours."""
    seen = run(f"{PLAYS}:left_over", False, variable, str(tmp_path))

    (line,) = seen["said"]
    for what in ("PROMETHEUS_MULTIPROC_DIR", "mark_process_dead", "MultiProcessCollector"):
        assert what in line
    assert [] == seen["at import"]
    assert [] == seen["files"]


def test_variable_with_patch(tmp_path):
    """With patch() it is no left-over: nothing is said."""
    seen = run(f"{PLAYS}:left_over", True, "PROMETHEUS_MULTIPROC_DIR", str(tmp_path))

    assert {"at import": [], "said": [], "files": []} == seen


@pytest.mark.parametrize("patched", [True, False])
def test_created_series(patched, tmp_path):
    """With the variable set disable_created_metrics() works as ever, ours and the one patched."""
    assert [True, False, True] == run(f"{PLAYS}:created", patched, str(tmp_path))
    assert [] == list(tmp_path.iterdir())


def test_merge_reads_files(tmp_path):
    """MultiProcessCollector.merge still reads files of prometheus_client's that it is given."""
    assert [["old_total", 7.0]] == run(f"{PLAYS}:files_of_an_earlier_run", str(tmp_path))


@pytest.mark.parametrize("variable", [True, False])
def test_registries_of_functions(variable, store):
    """In the multi-process mode a registry made in a function of each worker is one, as there.

    What a worker counted that has ended is in the next one's page. Without the mode, a registry
    made in a function is its process's own."""
    pages = [
        run(f"{PLAYS}:count_in_a_function", by, variable, store=store, MPMETRICS_PERSIST="1")
        for by in (1, 10)
    ]

    total = 11.0 if variable else 10.0
    assert ["jobs_total 1.0", "alone_total 1.0"] == totals(pages[0])
    assert [f"jobs_total {total}", f"alone_total {total}"] == totals(pages[1])


def test_metrics_of_one_factory():
    """So is one that a factory makes: what is declared alike is one, what differs is shown, too."""
    assert ['jobs_total{a="x"} 1.0', 'jobs_total{b="y"} 5.0'] == run(f"{PLAYS}:factory")


def totals(page: str) -> list[str]:
    return [line for line in page.splitlines() if "_total " in line and line[0] != "#"]


# ---- what libraries touch ------------------------------------------------------------------------


def test_classes():
    """isinstance and class attributes are as ever; a user's subclass counts, its children too."""
    seen = run(f"{PLAYS}:classes")

    assert {
        "mine": [5.0, 2.0],
        "of mine": True,
        "is": [True, True, True, False, True],
        "modes": sorted(prometheus_client.Gauge._MULTIPROC_MODES),
        "buckets": list(prometheus_client.Histogram.DEFAULT_BUCKETS),
    } == seen


def test_attributes():
    """The private attributes that libraries and tests use read, and change, what is counted."""
    assert {
        "counter": ["c", "counter", "Text.", ["a", "b"], [["x", "y"]], ["x", "y"]],
        "values": [2.0, 4.0, 3.0],
        "set": [2.0, 10.0],
        "info and enum": [{}, 0, {"k": "v"}, "b"],
        "popped": [None, [["w", "z"], ["x", "y"]]],
        "cleared": [0, None],
    } == run(f"{PLAYS}:attributes")


def test_flower():
    """flower's way of removing: `_metrics` is looked through, and each label set removed."""
    assert [
        [["b"]],
        [["b", "sent"]],
        ['flower_worker_online{worker="b"} 1.0', 'flower_events_total{type="sent",worker="b"} 1.0'],
    ] == run(f"{PLAYS}:remove_as_flower")


def test_vllm():
    """vLLM's way of starting afresh: its metrics are found in the registry and unregistered."""
    assert [
        ['vllm:num_requests_running{model="m"} 1.0'],
        [["1.0", 1.0], ["2.0", 1.0], ["+Inf", 1.0]],
    ] == run(f"{PLAYS}:loop_as_vllm")


def test_django_prometheus():
    """A deep copy of what a registry collects keeps its numbers."""
    assert [[1.0], 6.0] == run(f"{PLAYS}:copy_as_django_prometheus")


def test_instrumentator():
    """A name declared twice is an error with prometheus_client's words."""
    assert [True] == run(f"{PLAYS}:duplicates_as_instrumentator")


def test_constructors():
    """Every class takes prometheus_client's arguments, by position, by keyword, and no registry."""
    kinds = ["counter", "gauge", "summary", "histogram", "info", "enum"]

    assert [
        [f"space_sub_{kind}_one", f"space_sub_{kind}_two", f"{kind}_one"] for kind in kinds
    ] == (run(f"{PLAYS}:constructed"))


def test_get_or_create(method):
    """A family that another process declared, found by its name in the registry, is a metric.

    So programs do that declare only what the registry hasn't; a scrape puts the name there."""
    seen = run(f"{PLAYS}:get_or_create", method)
    x, y = 'theirs_total{a="x"} ', 'theirs_total{a="y"} '

    assert {
        "is": [True, True],
        "pages": [[x + "3.0", y + "6.0"]] * 2,
        "values": [6.0, 3.0],
        "metrics": [["x"], ["y"]],
        "child": [3.0],
        "removed": [[y + "6.0"]] * 2,
        "declared": [[y + "8.0"]] * 2,
    } == seen
