"""The first program of the documentation, and every other way that Python makes a process."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.programs import LIMIT, Program, environment, run

pytestmark = pytest.mark.usefixtures("nothing_left")

# With what a test needs added: how to start processes, a port, and an end.
FIRST_PROGRAM = """\
import multiprocessing
import sys

from mpmetrics import Summary
from prometheus_client import start_http_server

REQUEST_TIME = Summary('request_processing_seconds', 'Time spent processing request')

@REQUEST_TIME.time()
def process_request():
    pass

def process_requests(n):
    for _ in range(n):
        process_request()

if __name__ == '__main__':
    multiprocessing.set_start_method(sys.argv[1])
    server, thread = start_http_server(0, '127.0.0.1')
    child = multiprocessing.Process(target=process_requests, args=(30,))
    child.start()
    process_requests(4)
    child.join()
    print(server.server_port, flush=True)
    sys.stdin.read()
"""


# Totals before and after a last child: by what grew before.
TREES = {
    "fork": [1.0, 2.0],
    "double fork": [1.0, 2.0],
    "fork of a fork": [3.0, 4.0],
    "fork in a thread": [1.0, 2.0],
    "fork before the first write": [4.0, 5.0],
    "forks of forks": [5.0, 6.0],
    "exec after fork": [1.0, 2.0],
}


def scrape(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=LIMIT) as response:
        text = response.read().decode()
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def first_program(tmp_path: Path) -> Path:
    path = tmp_path / "first_program.py"
    path.write_text(FIRST_PROGRAM)
    return path


def test_first_program(first_program, method):
    """A summary called in a parent and in its child is one summary, whoever is scraped."""
    with Program([first_program, method], environment()) as program:
        samples = scrape(int(program.read_line()))
        program.finish()

    assert 34.0 == samples["request_processing_seconds_count"]
    assert samples["request_processing_seconds_sum"] > 0.0


def test_first_program_imported_late(first_program, method):
    """It makes no difference that multiprocessing was imported first: the store goes at the end."""
    # The opposite order of the two packages' atexit functions: ours runs while children live.
    text = FIRST_PROGRAM.replace("import multiprocessing\n", "import multiprocessing.util\n", 1)
    text = text.replace("    child.join()\n", "")  # joined by multiprocessing, at exit
    first_program.write_text(text)
    with Program([first_program, method], environment()) as program:
        program.read_line()
        program.finish()


@pytest.mark.parametrize("tree", TREES)
def test_fork_in_every_form(tree):
    """Every process of the tree counts, and every one of them sees the whole at its end."""
    assert TREES[tree] == run("tests.family_trees:grow", tree)


def test_spawned_by_forked():
    """A child that a forked child spawned joins its store, though the variable is its parent's."""
    assert 3.0 == run("tests.family_trees:nested", ["fork", "spawn"])


@pytest.mark.parametrize("outer", ["fork", "forkserver", "spawn"])
@pytest.mark.parametrize("inner", ["fork", "forkserver", "spawn"])
def test_grandchildren(outer, inner):
    """Children of children join the same store, whatever made either of them."""
    assert 3.0 == run("tests.family_trees:nested", [outer, inner])


def test_four_generations():
    """So do the children of those."""
    assert 5.0 == run("tests.family_trees:nested", ["spawn", "forkserver", "fork", "spawn"])


def test_pool(method):
    """A Pool's workers count in one store, those that maxtasksperchild replaces, too."""
    assert 40.0 == run("tests.family_trees:pool", method)


def test_executor(method):
    """So do a ProcessPoolExecutor's."""
    assert 40.0 == run("tests.family_trees:executor", method)


def test_forkserver_older_than_the_store():
    """A forkserver that began before there was a store makes children that join it."""
    assert 2.0 == run("tests.family_trees:old_forkserver")


def test_forkserver_that_preloads():
    """A forkserver that imported the metrics itself makes children that count with all others."""
    assert 3.0 == run("tests.family_trees:preloading_forkserver")


def test_child_declares_first(method):
    """What only children declare is in the parent's scrape, if the parent has a store."""
    assert [1.0, 1.0] == run("tests.family_trees:child_declares", method)


def test_epoch_changes_at_fork():
    """A forked child takes a lease and a shard of its own, before it counts."""
    assert {"epochs": 2, "leases": [1, 2], "processes": 2} == run("tests.family_trees:epochs")


def test_subprocess_stays_away():
    """An ordinary subprocess has a store of its own, and so has a multiprocessing child of it."""
    assert [1.0, [1.0, 3.0]] == run("tests.family_trees:subprocess_of_its_own")


def test_unrelated_processes_share_a_named_store(store):
    """Whoever sees MPMETRICS_STORE counts in that file: one after the other, or side by side."""
    assert [1.0, 2.0, 3.0] == run("tests.family_trees:siblings", store=store)


def test_named_store_and_start_methods(store, method):
    """A multiprocessing child obeys MPMETRICS_STORE as its parent does."""
    assert 3.0 == run("tests.family_trees:nested", [method, method], store=store)
    assert store.exists()


@pytest.mark.slow
def test_fork_while_threads_update():
    """A child forked by one thread while others update has its own shard, and no number is lost."""
    assert run("tests.family_trees:fork_among_threads")


def test_forks_leave_nothing_in_the_parent():
    """A hundred children leave no descriptor and no mapping behind, and one shard."""
    assert {"descriptors": 0, "mappings": 0, "shards": 2} == run("tests.family_trees:many_forks")
