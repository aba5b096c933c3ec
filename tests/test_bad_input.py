"""Paths that lead to no store, or to one that is not ours: refused in words, and never fatal."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.programs import (
    Program,
    becoming,
    environment,
    mounts,
    need_root,
    readable_folder,
    run,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]

NOBODY = 65534

# Says where its store is and counts; then once more for each line of input.
MEMBER = """\
import os, sys
from mpmetrics import Counter, Histogram, StoreCollector, generate_latest, store
JOBS = Counter("jobs", "Jobs done.")
SECONDS = Histogram("seconds", "Time.", buckets=(1, 2))
StoreCollector()
JOBS.inc()
SECONDS.observe(1.5)
print(store.current().path, flush=True)
for line in sys.stdin:
    if line.strip() == "page":
        names = ("jobs_total ", "mpmetrics_store_has_name ")
        lines = generate_latest().decode().splitlines()
        print(*[each for each in lines if each.startswith(names)], flush=True)
        continue
    JOBS.inc()
    print("done", flush=True)
"""


# What each of these says of the path, in one interpreter.
ASKING = """\
import contextlib, io, json, os, sys
import mpmetrics
from mpmetrics.__main__ import main

path = sys.argv[1]
said = {}
for command in ("check", "dump", "serve"):
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        status = main([command, path])
    said[command] = [status, errors.getvalue()]
try:
    mpmetrics.Store(path)
except OSError as error:
    said["Store"] = [1, f"mpmetrics: {error}\\n"]
else:
    said["Store"] = [0, ""]
print(json.dumps(said))
"""


def member(store: Path | str) -> Program:
    return Program(["-c", MEMBER], environment(store))


def left_by_the_dead(store: Path) -> None:
    """A store whose only process was killed."""
    with member(store) as program:
        program.read_line()
        program.kill()


def answers(path: Path, user: int | None = None) -> dict[str, list[object]]:
    """Status and complaint of each command."""
    become = "" if user is None else becoming(user)
    with Program(["-c", become + ASKING, str(path)], environment()) as program:
        return dict(json.loads(program.finish()))


# ---- what may be there ---------------------------------------------------------------------------


def a_directory(path: Path) -> None:
    path.mkdir()


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def a_link(path: Path) -> None:
    path.symlink_to("elsewhere")


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def readable_by_all(path: Path) -> None:
    left_by_the_dead(path)
    path.chmod(0o644)


def of_somebody(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    left_by_the_dead(path)
    os.chown(path, NOBODY, NOBODY)


def truncated(path: Path) -> None:
    left_by_the_dead(path)
    os.truncate(path, 5000)


def empty(path: Path) -> None:
    path.touch(0o600)


def of_another_layout(path: Path) -> None:
    left_by_the_dead(path)
    bytes_ = bytearray(path.read_bytes())
    bytes_[8] += 1
    path.write_bytes(bytes_)


def of_another_byte_order(path: Path) -> None:
    left_by_the_dead(path)
    bytes_ = bytearray(path.read_bytes())
    bytes_[:16] = bytes_[7::-1] + bytes_[15:7:-1]
    path.write_bytes(bytes_)


def random_bytes(path: Path) -> None:
    path.touch(0o600)
    path.write_bytes(os.urandom(70_000))


def random_for_all(path: Path) -> None:
    random_bytes(path)
    path.chmod(0o644)


@dataclass(frozen=True)
class Bad:
    """What is made at the path; what is said of it, and what is said to do."""

    make: Callable[[Path], None]
    what: str
    to_do: str
    replaced: bool = False  # put aside by the application, which starts afresh


ANOTHER = "name another path"
BAD = {
    "directory": Bad(a_directory, "a directory", ANOTHER),
    "socket": Bad(a_socket, "a socket", ANOTHER),
    "link": Bad(a_link, "a symbolic link", ANOTHER),
    "pipe": Bad(a_pipe, "a named pipe", ANOTHER),
    "readable-by-all": Bad(readable_by_all, "anybody may read or write it", "chmod o="),
    "truncated": Bad(truncated, "damaged", "mpmetrics remove"),
    "other-layout": Bad(of_another_layout, "another layout", "mpmetrics remove", replaced=True),
    "other-byte-order": Bad(of_another_byte_order, "another byte order", "mpmetrics remove"),
    "random": Bad(random_bytes, "no store", ANOTHER),
    "random-readable-by-all": Bad(random_for_all, "no store", ANOTHER),
}
# Of a file system that nobody knows to share memory, and there on every Linux.
UNMAPPABLE = Path("/proc/self/mem")


def assert_refused(said: dict[str, list[object]], path: Path, what: str, to_do: str) -> None:
    """Each says in one line which path, what is the matter, and what to do."""
    assert {"check", "dump", "serve", "Store"} == said.keys()
    for command, (status, text) in said.items():
        assert 1 == status, command
        assert 1 == len(str(text).splitlines()), command
        assert str(text).startswith("mpmetrics: "), command
        for part in (str(path), what, to_do):
            assert part in str(text), command


def assert_alone(path: Path | str, what: str) -> None:
    """An application that is to use it logs that once, counts by itself, and ends well."""
    with member(path) as program:
        where = program.read_line()
        program.say("page")
        page = program.read_line()
        logged = program.finish()

    assert "None" == where
    assert "jobs_total 1.0 mpmetrics_store_has_name 0.0" == page
    assert 1 == len(logged.splitlines()), logged
    assert "counting by itself" in logged
    assert str(path) in logged
    assert what in logged


# ---- the tests -----------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_refused(bad, store):
    """check, dump, serve and mpmetrics.Store() say which path it is, what it is, and what to do."""
    bad.make(store)
    said = answers(store)

    if bad.replaced:
        assert [0, ""] == said["Store"]
        said["Store"] = said["check"]
    assert_refused(said, store, bad.what, bad.to_do)
    assert bad.replaced == store.with_name("store.old").exists()


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_application_goes_on(bad, store):
    """An application whose MPMETRICS_STORE it is counts by itself, or begins afresh beside it."""
    bad.make(store)
    if not bad.replaced:
        assert_alone(store, bad.what)
        return
    with member(store) as program:
        assert str(store) == program.read_line()
        assert "" == program.finish()


def test_empty_file(store):
    """An empty file, as of mktemp, is none to look at, and as good as none to make a store at."""
    empty(store)
    said = answers(store)

    assert [0, ""] == said["Store"]
    said["Store"] = said["check"]
    assert_refused(said, store, "no store", ANOTHER)


def test_empty_file_that_several_take(store):
    """Of many processes that find it at one time each has the store that the first has made."""
    empty(store)
    assert 8.0 == run("tests.plays.rush:at_once", 8, store=store)


def test_unmappable():
    """So it is with a file system that may not share memory: NFS, 9p, FUSE, overlays."""
    assert_refused(answers(UNMAPPABLE), UNMAPPABLE, "may not share memory", "use tmpfs")
    assert_alone(UNMAPPABLE, "may not share memory")


def test_unmappable_folder(tmp_path):
    """No store is made on one, and nothing is left there."""
    for name in ("lower", "upper", "work", "over"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    over = tmp_path / "over"
    prefix = mounts(f"mount -t overlay overlay -o {options} {over}")
    with Program(["-c", MEMBER], environment(over / "store"), prefix=prefix) as program:
        assert "None" == program.read_line()
        logged = program.finish()

    assert 1 == logged.count("may not share memory")
    assert [] == os.listdir(tmp_path / "upper")


def test_somebody_elses():
    """Another user's store is refused, by who can't read it as well as by who could change it."""
    need_root()
    with readable_folder() as folder:
        store = folder / "store"
        left_by_the_dead(store)
        said = answers(store, NOBODY)
        os.chown(store, NOBODY, NOBODY)
        assert_alone(store, f"belongs to user {NOBODY}, this process is user 0")

    what = f"belongs to user 0, this process is user {NOBODY}"
    assert_refused(said, store, what, "run it as that user")


# ---- gone under its processes --------------------------------------------------------------------


def delete(store: Path) -> None:
    store.unlink()


def replace(store: Path) -> None:
    """Another program's store takes the name."""
    store.unlink()
    left_by_the_dead(store)


def rename_over(store: Path) -> None:
    """Some other file does."""
    letter = store.with_name("letter")
    letter.write_text("somebody's letter")
    letter.rename(store)


@pytest.mark.parametrize("lose", [delete, replace, rename_over])
def test_name_lost(lose, store):
    """Processes whose store has lost its name count on together; each says so once."""
    with member(store) as first, member(store) as second:
        for program in (first, second):
            program.read_line()
        first.say("page")
        assert "jobs_total 2.0 mpmetrics_store_has_name 1.0" == first.read_line()
        lose(store)
        for program in (first, second, first):
            program.say("")
            assert "done" == program.read_line()
        for program in (second, first, second):
            program.say("page")
            assert "jobs_total 5.0 mpmetrics_store_has_name 0.0" == program.read_line()
        said = [program.finish().splitlines() for program in (first, second)]

    lost = "its file was deleted or replaced; its processes count on together, new ones"
    assert [[f"the store {store}: {lost} don't find it"]] * 2 == said


def test_name_lost_is_noticed_without_a_scrape(store):
    """A worker that nobody scrapes says so when it makes its next series."""
    code = (
        "import sys\n"
        "from mpmetrics import Counter\n"
        "jobs = Counter('jobs', 'h', ['kind'])\n"
        "jobs.labels('a').inc()\n"
        "for line in sys.stdin:\n"
        "    jobs.labels(line).inc()\n"
        "    print('done', flush=True)\n"
    )
    with Program(["-c", code], environment(store)) as program:
        for kind in ("b", "c", "d"):
            program.say(kind)
            assert "done" == program.read_line()
            if kind == "b":
                store.unlink()
        said = program.finish()

    assert 1 == said.count("its file was deleted or replaced")


def test_made_up_store_goes_silently():
    """The last process out removes its made-up store itself, and says nothing of it."""
    code = (
        "import atexit\n"
        "atexit.register(lambda: print(len(generate_latest()) > 0))\n"
        "from mpmetrics import Counter, generate_latest\n"
        "import multiprocessing.util\n"
        "jobs = Counter('jobs', 'h', ['kind'])\n"
        "jobs.labels('a').inc()\n"
    )
    with Program(["-c", code], environment()) as program:
        assert "True\n" == program.finish()
