"""The life of a store's file: made, held, swept, kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import MADE_UP, is_attached
from tests.programs import LIMIT, Program, environment, mounts, need_root, readable_folder, run

pytestmark = pytest.mark.usefixtures("nothing_left")

# Says where its store is, then does what it is told on each line.
HOLDER = """\
import multiprocessing, os, signal, sys
from mpmetrics import Counter, generate_latest, store

JOBS = Counter("jobs", "Jobs done.")

def hold(connection):
    JOBS.inc()
    connection.send(os.getpid())
    connection.poll(None)  # until the parent has ended

if __name__ == "__main__":
    JOBS.inc()
    print(store.current().path, flush=True)
    kept = []
    for line in sys.stdin:
        word = line.strip()
        if word == "fork":
            kept.append(os.pipe())
            pid = os.fork()
            if pid == 0:
                os.read(kept[-1][0], 1)  # holds the other end, too: outlives its parent
                sys.exit(0)
        elif word == "leave":
            os.write(kept[-1][1], b"x")
            pid = os.wait()[0]
        elif word == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif word == "exit without a word":
            os._exit(0)
        else:
            context = multiprocessing.get_context(word)
            ours, theirs = context.Pipe()
            child = context.Process(target=hold, args=(theirs,), daemon=False)
            child.start()
            kept.append((ours, theirs))
            pid = ours.recv()
        print(pid, flush=True)
        if word in ("spawn", "forkserver"):
            theirs.close()
    # Spawned children see the end of this pipe; a forked one has both ends.
    for each in kept:
        if not isinstance(each[0], int):
            each[0].close()
            each[1].close()
"""


def exists(path: str) -> bool:
    return Path(path).exists()


@pytest.fixture
def holder(tmp_path: Path) -> Path:
    path = tmp_path / "holder.py"
    path.write_text(HOLDER)
    return path


def test_file_goes_with_the_last_one(holder):
    """A store made up for a run is there as long as its process, and then no more."""
    with Program([holder], environment()) as program:
        path = program.read_line()
        assert MADE_UP == Path(path).parent
        assert exists(path)
        assert 0o600 == Path(path).stat().st_mode & 0o777
        program.finish()

    assert not exists(path)


def test_file_goes_after_a_forked_child(holder):
    """A forked child that leaves first leaves the file to its parent."""
    with Program([holder], environment()) as program:
        path = program.read_line()
        for word in ("fork", "leave"):
            program.say(word)
            program.read_line()
        assert exists(path)
        program.finish()

    assert not exists(path)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_file_goes_after_a_spawned_child(holder, method):
    """A multiprocessing child that ends after its parent's own code takes the file with it."""
    with Program([holder], environment()) as program:
        path = program.read_line()
        program.say(method)
        program.read_line()
        assert exists(path)
        program.finish()

    assert not exists(path)


def test_outlived_by_a_child(tmp_path):
    """Who is left when the maker has gone takes the file with it."""
    script = tmp_path / "outlived.py"
    script.write_text(
        "import os, sys\n"
        "from mpmetrics import Counter, store\n"
        "Counter('jobs', 'h').inc()\n"
        "print(store.current().path, flush=True)\n"
        "here, there = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    os.close(there)\n"
        "    os.read(here, 1)  # until the parent has ended\n"
        "    assert os.path.exists(store.current().path)\n"
        "    print('outlived', flush=True)\n"
    )
    with Program([script], environment()) as program:
        path = program.read_line()
        assert "outlived" == program.read_line()
        program.finish()  # its output ends when the child does

    assert not exists(path)


def killed_and_swept(holder: str) -> None:
    with Program([holder], environment()) as program:
        path = program.read_line()
        program.say("die")
        program.finish(check=False)
    assert exists(path)
    assert not is_attached(Path(path))

    with Program([holder], environment()) as program:
        mine = program.read_line()
        assert not exists(path)
        assert exists(mine)
        program.finish()


def test_swept_after_sigkill(holder):
    """What a killed program left behind is gone when the next one has started."""
    code = "import sys; from tests import test_store as t; t.killed_and_swept(sys.argv[1])"
    # Where /dev/shm is their own: every other test that makes a store up sweeps, too.
    alone = mounts("mount -t tmpfs tmpfs /dev/shm")
    with Program(["-c", code, holder], environment(), prefix=alone) as program:
        program.finish()


def test_not_swept_while_somebody_lives(holder):
    """A store whose maker was killed stays as long as a child of it lives, and then is swept."""
    with Program([holder], environment()) as program:
        path = program.read_line()
        program.say("fork")
        program.read_line()
        os.kill(program.pid, signal.SIGKILL)
        os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT)
        with Program([holder], environment()) as other:
            other.read_line()
            assert exists(path)
            assert is_attached(Path(path))
            other.finish()
    with Program([holder], environment()) as other:
        other.read_line()
        assert not exists(path)
        other.finish()


def test_named_store_stays(holder, store):
    """A named store is not removed at exit; who comes next begins afresh, unless it persists."""
    for _ in range(2):
        with Program([holder], environment(store)) as program:
            assert str(store) == program.read_line()
            program.finish()
        assert store.exists()
    assert 1.0 == run("tests.family_trees:nested", [], store=store)
    assert 2.0 == run("tests.family_trees:nested", [], store=store, MPMETRICS_PERSIST="1")


def test_named_store_of_the_killed(holder, store):
    """A named store whose processes were all killed is as good as one that they left."""
    with Program([holder], environment(store)) as program:
        program.read_line()
        program.say("die")
        program.finish(check=False)
    assert 2.0 == run("tests.family_trees:nested", [], store=store, MPMETRICS_PERSIST="1")


def test_killed_while_making(store):
    """What is left of a store whose maker was killed before it had its name is swept, too."""
    killed = (
        "import os, signal\n"
        "os.link = lambda *args: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from mpmetrics import Counter\n"
        "Counter('jobs', 'h')\n"
    )
    with Program(["-c", killed], environment(store)) as program:
        program.finish(check=False)
    (left,) = store.parent.iterdir()
    assert left.name.startswith("store.")
    other = left.with_name("store.old.new")  # somebody else's
    other.touch()
    fresh = left.with_name("store.0123456789abcdef.new")  # perhaps just being made
    fresh.touch()
    os.utime(left, (0, 0))

    assert 1.0 == run("tests.family_trees:nested", [], store=store)
    assert {store, other, fresh} == set(store.parent.iterdir())


# Counts before and after it has become nobody, in forks and new series, too; says what came of it.
SETUID = """\
import json, os, signal, sys
from mpmetrics import Counter, Gauge, generate_latest, store

JOBS = Counter("jobs", "Jobs done.", ["kind"])
BUSY = Gauge("busy", "Of the living.", multiprocess_mode="livesum")
JOBS.labels("root").inc()
generate_latest()  # imports what it takes, perhaps from where only root can read
os.setgroups([]); os.setgid(65534); os.setuid(65534)
BUSY.set(1)
JOBS.labels("nobody").inc()

def child(kind):
    BUSY.set(1)
    for i in range(300):
        JOBS.labels(f"{kind} {i}").inc()
    JOBS.labels("all").inc()

def forked(kind, end):
    here, there = os.pipe()
    pid = os.fork()
    if pid == 0:
        child(kind)
        os.write(there, b"x")
        end()
    os.read(here, 1)
    return pid

def total(name):
    lines = generate_latest().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

living = forked("a", signal.pause)
killed = forked("b", signal.pause)
before = [len(store.current().shards()), total("busy ")]
os.kill(killed, signal.SIGKILL)
os.waitpid(killed, 0)
after = [len(store.current().shards()), total("busy ")]
os.waitpid(forked("c", lambda: os._exit(0)), 0)
last = [len(store.current().shards()), total("busy ")]
os.kill(living, signal.SIGKILL)
os.waitpid(living, 0)
numbers = store.current().statistics()
print(json.dumps([before, after, last, total("jobs_total{"), numbers["private"]]))
"""


def test_file_that_cannot_be_opened_again():
    """After setuid counting goes on, in forks and in a file that grows; who is killed is dead."""
    need_root()
    with (
        readable_folder() as folder,
        Program(["-c", SETUID], environment(folder / "store")) as program,
    ):
        before, after, last, jobs, private = json.loads(program.finish())

    assert [3, 3.0] == before
    assert [3, 2.0] == after
    assert [3, 2.0] == last  # in the killed one's place
    assert 2 + 3 * 301 == jobs
    assert 0 == private


def test_unusable_name(tmp_path):
    """A path that can't be had costs one line in the log, and no exception."""
    source = "from tests import family_trees as t; t.count(); print(t.jobs())"
    for path in (tmp_path / "no folder" / "store", tmp_path, Path("/proc/self/mem")):
        done = subprocess.run(
            [sys.executable, "-c", source],
            env=environment(path),
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
        assert (0, "1.0\n") == (done.returncode, done.stdout), done.stderr
        assert 1 == done.stderr.count("MPMETRICS_STORE"), done.stderr


def test_readable_by_others(store):
    """A file that others may write is refused, and not touched."""
    store.write_bytes(b"x" * 100)
    store.chmod(0o666)

    assert 1.0 == run("tests.family_trees:nested", [], store=store)
    assert b"x" * 100 == store.read_bytes()


def test_symbolic_link(tmp_path, store):
    """A link in the place of the store is refused: it could be anybody's."""
    target = tmp_path / "target"
    target.write_bytes(b"")
    store.symlink_to(target)

    assert 1.0 == run("tests.family_trees:nested", [], store=store)
    assert b"" == target.read_bytes()


def test_many_start_at_once(store):
    """Twenty processes that make one named store at the same moment all count in it."""
    source = (
        "import sys\nsys.stdin.readline()\n"
        "from tests import family_trees as t\nt.count_and_share()\nprint(1, flush=True)\n"
        "sys.stdin.read()\n"
    )
    programs = [Program(["-c", source], environment(store)) for _ in range(20)]
    try:
        for program in programs:
            program.say("go")
        for program in programs:
            program.read_line()
        assert 22.0 == run("tests.family_trees:nested", ["fork"], store=store)
        for program in programs:
            program.finish()
    finally:
        for program in programs:
            program.__exit__(None, None, None)


def test_descriptors_closed(store):
    """A daemoniser that closes every descriptor loses no number: counting and scraping go on."""
    assert [2.0, 3.0, 4.0] == run("tests.family_trees:close_everything", store=store)


def test_scrapes_leave_nothing():
    """A thousand scrapes and declarations leave no descriptor and no mapping behind."""
    assert [0, 0] == run("tests.family_trees:many_scrapes")
