"""The ten modes of a gauge and the gauge without one, over processes that come and go."""

from __future__ import annotations

import random
from itertools import count
from typing import Any

import pytest
from tests.programs import run

pytestmark = pytest.mark.usefixtures("nothing_left")

FOLDS = ("all", "min", "max", "sum", "mostrecent")
MODES = (*FOLDS, *(f"live{fold}" for fold in FOLDS))
SEEDS = range(12)

# ---- the same program on prometheus_client -------------------------------------------------------


def random_program(seed: int) -> list[list[Any]]:
    """Up to four processes at a time; each writes, some end, and the next ones come."""
    draw = random.Random(seed)
    numbers, living, program = count(), list[str](), list[list[Any]]()
    while len(program) < 120:
        chance = draw.random()
        if not living or (chance < 0.08 and len(living) < 4):
            living.append(str(next(numbers)))
            program.append(["start", living[-1]])
        elif chance < 0.15:
            program += [[draw.choice(["kill", "exit"]), living.pop(draw.randrange(len(living)))]]
            program += [["scrape"]]
        elif chance < 0.2:
            program.append(["scrape"])
        else:
            mode = draw.choice(MODES)
            how = "set" if "mostrecent" in mode else draw.choice(["set", "inc", "dec"])
            program.append(["write", draw.choice(living), mode, how, draw.randrange(-800, 800) / 8])
    return [*program, ["scrape"]]


def dead_that_may_be_missing(program: list[list[Any]]) -> list[tuple[set[str], set[str]]]:
    """For each scrape who is dead by then, and who of them may have lost the shard to another.

    A process takes a shard at its first write: a dead one's, if there is any."""
    dead, gone, writers = set[str](), set[str](), set[str]()
    at_scrapes = []
    for verb, *args in program:
        if verb in ("kill", "exit"):
            dead.add(args[0])
        elif verb == "write" and args[0] not in writers:
            writers.add(args[0])
            gone |= dead
        elif verb == "scrape":
            at_scrapes.append((set(dead), set(gone)))
    return at_scrapes


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_modes_as_prometheus_client(seed, store, tmp_path):
    """Over processes that write and die each mode shows what prometheus_client's files would show.

    There a hook has to tell of each death. Of mode `all` those of the dead whose shard was taken
    over are missing, and nothing else."""
    program = random_program(seed)
    (folder := tmp_path / "multiproc").mkdir()
    theirs = run(
        "tests.plays.modes:play",
        "prometheus_client",
        program,
        PROMETHEUS_MULTIPROC_DIR=str(folder),
    )
    ours = run("tests.plays.modes:play", "mpmetrics", program, store=store)

    assert len(theirs) == len(ours)
    for expected, actual, (dead, may_miss) in zip(
        theirs, ours, dead_that_may_be_missing(program), strict=True
    ):
        missing = {key.removeprefix("all ") for key in expected.keys() - actual.keys()}
        assert missing <= dead & may_miss
        assert {
            key: value for key, value in expected.items() if key.removeprefix("all ") not in missing
        } == actual


# ---- forks, deaths, takeovers --------------------------------------------------------------------


def test_fork_resets_no_mode():
    """A fork changes nothing in any mode, until the child writes; then it begins from zero."""
    before, forked, written = run("tests.plays.gauges:forked", list(MODES))

    folded = [mode for mode in MODES if not mode.endswith("all")]
    assert dict.fromkeys(folded, 5.0) | {"all parent": 5.0, "liveall parent": 5.0} == before
    assert before == forked
    # The child adds 1, and sets 7 where adding isn't allowed.
    assert (
        before
        | {
            "all child": 1.0,
            "liveall child": 1.0,
            "min": 1.0,
            "livemin": 1.0,
            "sum": 6.0,
            "livesum": 6.0,
            "mostrecent": 7.0,
            "livemostrecent": 7.0,
        }
        == written
    )


@pytest.mark.parametrize("how", ["kill", "end"])
def test_dead_leave_live_modes(method, how):
    """Who is killed, or ends, is in no live mode at the very next scrape, and no hook is called."""
    pages = run("tests.plays.gauges:death", method, how, list(MODES))

    rest = {"sum": 9.0, "min": 2.0, "max": 7.0, "mostrecent": 7.0}
    assert (
        rest
        | {
            "all parent": 2.0,
            "all child": 7.0,
            "liveall parent": 2.0,
            "livesum": 2.0,
            "livemin": 2.0,
            "livemax": 2.0,
            "livemostrecent": 2.0,
        }
        == pages
    )


def test_takeover_keeps_what_the_dead_left(method):
    """Who takes a dead one's shard over adds to its sum, min, max and newest, but in live modes."""
    taken_over, written = run("tests.plays.gauges:takeover", method, list(MODES))

    # The first child wrote 4, a second one took its shard and has written something else.
    assert {
        "sum": 4.0,
        "min": 4.0,
        "max": 4.0,
        "mostrecent": 4.0,
    } == taken_over
    # Then it wrote 3.
    assert {
        "all child": 3.0,
        "liveall child": 3.0,
        "sum": 7.0,
        "livesum": 3.0,
        "min": 3.0,
        "livemin": 3.0,
        "max": 4.0,
        "livemax": 3.0,
        "mostrecent": 3.0,
        "livemostrecent": 3.0,
    } == written


def test_ten_takeovers_of_one_sum(method):
    """However many processes follow each other in one shard, `sum` has what all of them set."""
    assert {"sum": 55.0, "max": 10.0, "min": 1.0} == run(
        "tests.plays.gauges:one_by_one", method, 10
    )


# ---- without a mode ------------------------------------------------------------------------------


def test_last_writer_wins(method):
    """A gauge without a mode is one value: what any process set last, and what all have added."""
    assert [1.0, 2.0, 4.5, 4.0] == run("tests.plays.gauges:last_writer", method)


def test_no_mode_keeps_no_value_of_the_dead_twice(method):
    """What a killed process had set in a gauge without a mode stays, until another one sets it."""
    assert [8.0, 9.0] == run("tests.plays.gauges:modeless_death", method)


# ---- mostrecent ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["mostrecent", "livemostrecent"])
@pytest.mark.parametrize("how", ["inc", "dec", "track_inprogress"])
def test_mostrecent_refuses_to_add(mode, how):
    """With a mostrecent mode adding raises prometheus_client's RuntimeError, and adds nothing."""
    assert {
        "error": "RuntimeError",
        "value": 3.0,
    } == run("tests.plays.gauges:refused", mode, how)


# ---- MPMETRICS_GAUGE_MODES -----------------------------------------------------------------------


def modes_of(names: list[str], text: str) -> dict[str, int]:
    return run("tests.plays.gauges:modes", names, MPMETRICS_GAUGE_MODES=text)


def test_override():
    """MPMETRICS_GAUGE_MODES sets the mode of gauges by name or pattern; the first match counts."""
    text = "app_one=livesum,db_*=max, app_*=min ,lib_total=none"
    shown = modes_of(["app_one", "db_pool", "app_two", "lib_total", "other"], text)

    assert {
        "app_one": "livesum",
        "db_pool": "max",
        "app_two": "min",
        "lib_total": "none",
        "other": "all",
    } == shown


def test_override_of_the_full_name():
    """What is matched is the name that scrapes show, with namespace, subsystem and unit."""
    assert {"mode": "livemax"} == run(
        "tests.plays.gauges:full_name", MPMETRICS_GAUGE_MODES="app_http_wait_seconds=livemax"
    )


def test_override_works():
    """A gauge that was declared as `all` and is overridden shows one sample, folded."""
    assert {"g": 3.0} == run("tests.plays.gauges:overridden", MPMETRICS_GAUGE_MODES="g=livesum")


def test_label_pid(method):
    """A gauge that has a label `pid` itself is shown without its processes' pids, in any mode.

    Its label sets are all there, so is what each process adds; of the mode liveall only the living.
    """
    shown = run("tests.plays.gauges:labelled_pid", method, ["all", "liveall"])

    assert {
        "both": {"all parent": 1.0, "all child": 2.0, "all shared": 2.0}
        | {"liveall parent": 1.0, "liveall child": 2.0, "liveall shared": 2.0},
        "after": {"all parent": 1.0, "all child": 2.0, "all shared": 2.0}
        | {"liveall parent": 1.0, "liveall shared": 1.0},
        "log": ["all", "liveall"],
    } == shown


def test_override_of_a_gauge_with_a_label_pid():
    """A mode of MPMETRICS_GAUGE_MODES that would show a label twice is logged, and not obeyed."""
    shown = run("tests.plays.gauges:overridden_label_pid", MPMETRICS_GAUGE_MODES="*=all")

    assert {"page": {'g{pid="x"}': 1.0}, "mode": "max", "lines": 1} == shown


def test_bad_override():
    """What makes no sense in MPMETRICS_GAUGE_MODES is logged, once, and the rest obeyed."""
    text = "nonsense,g=livesumm,=max,x = sum,,h=max"
    shown = run("tests.plays.gauges:modes_and_log", ["g", "h", "x"], MPMETRICS_GAUGE_MODES=text)

    assert {"g": "all", "h": "max", "x": "sum"} == shown["modes"]
    assert ["'nonsense'", "'g=livesumm'", "'=max'"] == [
        next(word for word in line.replace(";", " ").split() if word.startswith("'"))
        for line in shown["log"]
    ]


def test_unknown_mode():
    """Another mode than the ten is a ValueError, as prometheus_client's; None is for no mode."""
    assert {"error": "ValueError", "modes": sorted(MODES)} == run("tests.plays.gauges:unknown_mode")


# ---- the first write after a fork ----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Counter", "Gauge", "Summary", "Histogram", "Enum"])
def test_first_write_of_all_in_a_fork(kind):
    """A forked child's very first call counts, of a metric that nobody had written before."""
    assert {"child": 1.0, "parent": 1.0} == run("tests.plays.gauges:first_write", kind)
