"""Two containers that share a store's folder: pid namespaces of their own, with the same pids."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path

import pytest
from examples.rig.processes import wait_until
from tests.conftest import MADE_UP
from tests.programs import LIMIT, Program, environment, pid_namespace
from tests.servers.driver import alive

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]

TURNS = 200

# Says its pid; then, as it is told: counts in itself and two children, or says what it sees.
MEMBER = """\
import json, multiprocessing, os, sys
from mpmetrics import Counter, Gauge, Histogram, generate_latest, store
from tests.sharing import share

JOBS = Counter("jobs", "Jobs done.", ["by"])
SECONDS = Histogram("seconds", "Time.", buckets=(1, 2))
BUSY = Gauge("busy", "Of the living.", multiprocess_mode="livesum")

def count(times):
    for _ in range(times):
        JOBS.labels("all").inc()
        SECONDS.observe(1.5)
    BUSY.set(1)
    share()

def page():
    lines = generate_latest().decode().splitlines()
    return {name: float(value) for name, _, value in (
        line.rpartition(" ") for line in lines if not line.startswith("#"))}

if __name__ == "__main__":
    print(os.getpid(), flush=True)
    for line in sys.stdin:
        method, times = line.split()
        if method == "look":
            shards = store.current().shards()
            print(json.dumps([page(), [(pid, alive) for _, pid, _, alive in shards]]), flush=True)
            continue
        context = multiprocessing.get_context(method)
        children = [context.Process(target=count, args=(int(times),)) for _ in range(2)]
        for child in children:
            child.start()
        count(int(times))
        pids = []
        for child in children:
            child.join()
            assert child.exitcode == 0
            pids.append(child.pid)
        print(*pids, flush=True)
"""

# Has a forkserver before it has a store; then says where it, and a child of that, have it.
FORKSERVER = """\
import multiprocessing, os, sys
from mpmetrics import processes

def nothing():
    pass

def where(connection):
    from mpmetrics import Counter, store
    Counter("theirs", "Of the child.").inc()
    connection.send(store.current().path)

if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    context.Process(target=nothing).start()
    print(processes.name_of(os.getpid()), flush=True)
    sys.stdin.readline()
    from mpmetrics import Counter, store
    Counter("mine", "Of the parent.").inc()
    print(store.current().path, flush=True)
    sys.stdin.readline()
    ours, theirs = context.Pipe()
    child = context.Process(target=where, args=(theirs,))
    child.start()
    print(ours.recv(), flush=True)
    child.join()
"""


@pytest.fixture
def container() -> list[str]:
    return pid_namespace()


def look(program: Program) -> tuple[dict[str, float], list[tuple[int, bool]]]:
    program.say("look 0")
    page, shards = json.loads(program.read_line())
    return page, [(pid, alive) for pid, alive in shards]


def kill(program: Program) -> None:
    """SIGKILL to a whole container; when it returns, not only its `unshare` has ended."""
    (inside,) = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
    program.kill()
    program.finish(check=False)
    assert wait_until(lambda: not alive(int(inside)), LIMIT)


def ask(program: Program, line: str) -> list[int]:
    program.say(line)
    return [int(word) for word in program.read_line().split()]


@pytest.fixture
def member(tmp_path: Path) -> Path:
    path = tmp_path / "member.py"
    path.write_text(MEMBER)
    return path


def test_one_store(store, container, member, method):
    """Processes of both with the same pids count together, exactly, and each sees it all."""
    env = environment(store)
    with (
        Program([member], env, prefix=container) as first,
        Program([member], env, prefix=container) as second,
    ):
        assert first.read_line() == second.read_line()
        first.say(f"{method} {TURNS}")
        second.say(f"{method} {TURNS}")
        pids = [each.read_line().split() for each in (first, second)]
        pages = [look(each)[0] for each in (first, second)]
        first.finish()
        second.finish()

    assert pids[0] == pids[1] or method != "fork"
    total = 6.0 * TURNS
    for page in pages:
        assert total == page['jobs_total{by="all"}'] == page["seconds_count"]
        assert 1.5 * total == page["seconds_sum"]


def test_killed_in_the_other(store, container, member):
    """Who is killed in one is dead for the other, at once; a third one goes on in its place."""
    env = environment(store)
    with Program([member], env, prefix=container) as first:
        pid = int(first.read_line())
        with Program([member], env, prefix=container) as second:
            second.read_line()
            ask(second, f"fork {TURNS}")
            before, living = look(first)
            kill(second)
        after, dead = look(first)
        with Program([member], env, prefix=container) as third:
            third.read_line()
            ask(third, f"fork {TURNS}")
            last, shards = look(first)
            third.finish()
        first.finish()

    assert [True, True] == [alive for each, alive in living if each == pid]
    assert [True, False] == [alive for each, alive in dead if each == pid]
    # As many as lived at once: in the second, a child may end before the other one begins.
    assert len(living) <= len(shards) <= 4
    assert before['jobs_total{by="all"}'] == after['jobs_total{by="all"}'] == 3.0 * TURNS
    assert 6.0 * TURNS == last['jobs_total{by="all"}']
    assert (1.0, 1.0) == (before["busy"], last["busy"])
    assert "busy" not in after


def test_made_up_stores(container, member):
    """Without a named store each has its own, though they make them up in one folder."""
    with (
        Program([member], environment(), prefix=container) as first,
        Program([member], environment(), prefix=container) as second,
    ):
        for each, method, times in ((first, "spawn", 1), (second, "forkserver", 2)):
            each.read_line()
            ask(each, f"{method} {times}")
        pages = [look(each)[0]['jobs_total{by="all"}'] for each in (first, second)]
        first.finish()
        second.finish()

    assert [3.0, 6.0] == pages


def test_made_up_store_of_the_other(container, member, tmp_path):
    """One whose maker had the same pid and began in the same instant is taken by nobody's child."""
    script = tmp_path / "forkserver.py"
    script.write_text(FORKSERVER)
    with Program([script], environment(), prefix=container) as program:
        pid, start, namespace = program.read_line().split("-")
        # The one before, the other after it in the folder, whichever way that is listed.
        others = [MADE_UP / f"{pid}-{start}-{int(namespace) + 1}-{i:08x}" for i in range(2)]
        mine, childs = "", ""
        with ExitStack() as stack:
            for other in others:
                stack.callback(other.unlink, missing_ok=True)
                holder = stack.enter_context(Program([member], environment(other)))
                holder.read_line()
                look(holder)  # it has its store
                program.say("")
                mine, childs = childs, program.read_line()
            program.finish()

    assert mine == childs
    assert str(MADE_UP) == os.path.dirname(mine)
