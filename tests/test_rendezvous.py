"""The variable that a process sets for its children: who obeys it, and who doesn't.

Children of multiprocessing of every kind are in test_start_methods.py.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.programs import LIMIT, Program, environment, name_of, run
from tests.servers import driver

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]

PARENT = "MPMETRICS_PARENT_STORE"

# What a process finds: its store's path.
WHERE = """\
from mpmetrics import Counter, store
Counter("jobs", "Jobs done.").inc()
print(store.current().path, flush=True)
"""
# A program that has a store, and starts another as its first argument says.
STARTER = (
    WHERE
    + """\
import subprocess, sys
subprocess.run(sys.argv[1:], check=True)
"""
)


def paths(*words: str, store: Path | None = None) -> list[str]:
    """The stores of a process and of the program that it starts, as they say."""
    ended = subprocess.run(
        [sys.executable, "-c", STARTER, *words],
        env=environment(store),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
    )
    return ended.stdout.split()


def need(module: str) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} isn't installed: pip install '.[servers]'")


def billiard_spawn() -> list[str | None]:
    """The stores of this process and of one that billiard, Celery's multiprocessing, spawned."""
    import billiard

    from mpmetrics import Counter, store as stores

    Counter("mine", "Of the parent.").inc()
    pool = billiard.get_context("spawn").Pool(1)
    try:
        theirs = pool.apply(path_of_store)
    finally:
        pool.terminate()
        pool.join()
    current = stores.current()
    return [current.path, theirs]


def loky_spawn() -> list[str | None]:
    """The same with loky."""
    from loky import ProcessPoolExecutor

    from mpmetrics import Counter, store as stores

    Counter("mine", "Of the parent.").inc()
    with ProcessPoolExecutor(1) as pool:
        theirs = pool.submit(path_of_store).result(LIMIT)
    return [stores.current().path, theirs]


def path_of_store() -> str | None:
    from mpmetrics import Counter, store as stores

    Counter("theirs", "Of the child.").inc()
    return stores.current().path


def test_billiard():
    """A child that billiard spawns has its parent's store."""
    need("billiard")
    mine, theirs = run("tests.test_rendezvous:billiard_spawn")

    assert mine is not None
    assert mine == theirs


def test_loky():
    """So has one of loky's."""
    need("loky")
    mine, theirs = run("tests.test_rendezvous:loky_spawn")

    assert mine is not None
    assert mine == theirs


def test_subprocess():
    """An ordinary subprocess has a store of its own, though it inherits the variable."""
    mine, theirs = paths(sys.executable, "-c", WHERE)

    assert mine != theirs


def test_subprocess_of_a_named_one(store):
    """A store that MPMETRICS_STORE names is a subprocess's, too: it sees the name."""
    assert [str(store)] * 2 == paths(sys.executable, "-c", WHERE, store=store)


def test_exec(tmp_path):
    """A program that another one becomes by exec has its pid and start, but not its store."""
    code = "import os, sys\n" + WHERE + "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    with Program(["-c", code, "-c", WHERE], environment()) as program:
        before, after = program.read_line(), program.read_line()
        program.finish()

    assert before != after


def test_spawning_subprocess():
    """A multiprocessing child of a subprocess has that one's store, not its grandparent's."""
    code = (
        "import multiprocessing\n"
        "from tests.test_rendezvous import path_of_store\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.apply(path_of_store))\n"
    )
    mine, theirs = paths(sys.executable, "-c", code)

    assert "None" != theirs
    assert mine != theirs


def test_server_of_another_application(tmp_path):
    """The workers of a server that application A starts never count in A's store."""
    driver.need("uvicorn")
    model = driver.Model("mpmetrics run -- uvicorn --port 8000 --workers 2 app:asgi")
    starter = WHERE + "import os\nprint(os.environ['MPMETRICS_PARENT_STORE'], flush=True)\n"
    with Program(["-c", starter + "import sys; sys.stdin.read()"], environment()) as a:
        path, variable = a.read_line(), a.read_line()
        stranger = driver.Model(
            model.command.removeprefix("mpmetrics run -- "), variables={PARENT: variable}
        )
        with driver.serving(stranger, tmp_path) as served:
            served.work_by_two(50)
            dumped = subprocess.run(
                [sys.executable, "-m", "mpmetrics", "dump", path],
                env=environment(),
                capture_output=True,
                text=True,
                timeout=LIMIT,
                check=True,
            ).stdout
        a.finish()

    assert "jobs_total 1.0" in dumped
    assert "requests_total" not in dumped


@pytest.mark.parametrize("value", ["", "|", "x", "/no/such|1-2-3", "/dev/null|{me}", "|-"])
def test_variable_that_makes_no_sense(value):
    """A variable that is damaged, or somebody else's, changes nothing and is no error."""
    text = value.format(me=name_of(os.getpid()))
    with Program(["-c", WHERE], environment(**{PARENT: text})) as program:
        path = program.read_line()
        assert "" == program.finish()

    assert path.startswith("/dev/shm/mpmetrics-")
