"""Updates from threads, signal handlers, the collector, arguments, forks and at the very end.

Nothing is lost, nothing is counted twice, nothing waits for itself.
"""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from tests.concurrency.shutting_down import DAEMONS
from tests.programs import Program, environment, run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]

MODULE = "tests.concurrency.reentrant"
# In a store that may not grow most of the time, so that private numbers are poured in, too.
tight = pytest.mark.parametrize("tight", [False, True], ids=["roomy", "tight"])


@tight
def test_threads(tight, store):
    """Threads that update, make, remove, reset and scrape at once leave exact totals."""
    outcome = run(f"{MODULE}:many_threads", tight, store=store)

    assert ([], {}) == (outcome["failed"], outcome["wrong"])
    assert outcome["updates"] > 10
    assert (outcome["dropped"] > 0) == tight


@tight
def test_signal_handlers(tight, store):
    """A handler that interrupts updates, new label sets, removals and scrapes counts exactly."""
    outcome = run(f"{MODULE}:from_signal_handlers", tight, store=store)

    assert {} == outcome["wrong"]
    assert outcome["handled"] > 10
    assert outcome["updates"] > 10
    assert (outcome["dropped"] > 0) == tight


@tight
def test_collector(tight, store):
    """`__del__` and gc.callbacks count exactly, with a collection at nearly every allocation."""
    outcome = run(f"{MODULE}:from_the_collector", tight, store=store)

    assert {} == outcome["wrong"]
    assert min(outcome["died"], outcome["called"], outcome["updates"]) > 10
    assert (outcome["dropped"] > 0) == tight


def test_arguments():
    """Arguments that update, remove, scrape or collect while they are converted count once."""
    outcome = run(f"{MODULE}:arguments")

    assert 0.0 == outcome.pop("reset")
    assert dict.fromkeys(("update", "remove", "scrape", "collect"), [0.0] * 3) == outcome


def test_arguments_that_fork():
    """An argument that forks while it is converted lets the update count once in each process."""
    outcome = run(f"{MODULE}:arguments_that_fork")

    # A number is converted once, an exemplar's labels are asked twice, a state is compared twice.
    assert {
        "statuses": [0],
        "forks": 10,
        "counted": [5.0, 5.0, 5.0],
        "level": 2.0,
        "labelled": 2.0,
        "state": 1.0,
    } == outcome


def test_forks_among_threads():
    """Forks while other threads update and scrape: no child hangs, each takes over one shard."""
    outcome = run(f"{MODULE}:forks_among_threads", 40)

    assert ([], [], {}) == (outcome["failed"], outcome["bad"], outcome["wrong"])
    assert 2 == outcome["shards"]


def ended(store: Path, *words: str) -> dict[str, float]:
    """What a program counted that ends by itself, silently."""
    command = ["-m", "tests.concurrency.shutting_down", *words]
    with Program(command, environment(store)) as program:
        assert "" == program.finish()
    return counted(store)


def test_at_the_end(store):
    """What counts in atexit and while modules and cycles are torn down is counted."""
    assert {"atexit": 1.0, "module": 1.0, "cycle": 1.0} == ended(store, "teardown")


def test_threads_at_the_end(store, tmp_path):
    """Threads that nobody joins count until the end, which nothing holds up."""
    done = tmp_path / "done"
    done.write_bytes(bytes(8 * DAEMONS))
    page = ended(store, "daemons", str(done))
    acknowledged = struct.unpack(f"={DAEMONS}Q", done.read_bytes())

    assert 1.0 == page["atexit"]
    for i, n in enumerate(acknowledged):
        assert n <= page[f"daemon-{i}"] <= n + 1


def counted(store: Path) -> dict[str, float]:
    """Of each label set the counter, as the store has it by now."""
    with Program(["-m", "mpmetrics", "dump", str(store)], environment()) as program:
        text = program.finish()
    return {
        line.split('"')[1]: float(line.split()[-1])
        for line in text.splitlines()
        if line.startswith("jobs_total{")
    }
