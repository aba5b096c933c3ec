"""MPMETRICS_LISTEN: processes that count in one store serve it at one address, one at a time."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest
from tests.programs import LIMIT, Program, environment
from tests.servers.driver import free_port

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]

# Declares, counts, says who it is; then does what it is told on each line.
MEMBER = """\
import multiprocessing, os, sys, threading
import mpmetrics

def threads():
    return len(os.listdir("/proc/self/task"))

imported = threads()
JOBS = mpmetrics.Counter("jobs", "Jobs done.")

def live(connection):
    before = threads()
    JOBS.inc()
    connection.send((os.getpid(), before))
    threading.Event().wait()  # until it is killed

if __name__ == "__main__":
    JOBS.inc()
    print(os.getpid(), imported, flush=True)
    kept = []
    for line in sys.stdin:
        word = line.strip()
        if word == "count":
            JOBS.inc()
            print("counted", flush=True)
        else:
            context = multiprocessing.get_context(word)
            ours, theirs = context.Pipe()
            context.Process(target=live, args=(theirs,)).start()
            kept.append((ours, theirs))
            print(*ours.recv(), flush=True)
    for each in multiprocessing.active_children():
        each.kill()
"""


@pytest.fixture
def member(tmp_path: Path) -> Path:
    path = tmp_path / "member.py"
    path.write_text(MEMBER)
    return path


def listen(port: int, store: Path | None = None, **more: str) -> dict[str, str]:
    return environment(store, MPMETRICS_LISTEN=f"127.0.0.1:{port}", **more)


def scrape(port: int) -> str:
    """A page, as soon as somebody serves."""
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as response:
                return str(response.read().decode())
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def jobs(port: int) -> float:
    (line,) = (line for line in scrape(port).splitlines() if line.startswith("jobs_total "))
    return float(line.split()[1])


def having(port: int, pids: Iterable[int]) -> list[int]:
    """Which of these processes have a socket that listens there (proc(5), net/tcp)."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"}
    return [pid for pid in pids if not inodes.isdisjoint(sockets_of(pid))]


def sockets_of(pid: int) -> set[str]:
    """The inodes of the sockets that a process has open."""
    found = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # it has just closed it
            found.add(os.readlink(f"/proc/{pid}/fd/{fd}").removeprefix("socket:[").rstrip("]"))
    return found


def test_siblings(store, member):
    """One of the processes of a named store serves what all count; when it is killed, another."""
    port = free_port()
    with (
        Program([member], listen(port, store)) as first,
        Program([member], listen(port, store)) as second,
        Program([member], listen(port, store)) as third,
    ):
        programs = {int(each.read_line().split()[0]): each for each in (first, second, third)}
        assert 3.0 == jobs(port)
        while len(programs) > 1:
            (serving,) = having(port, programs)
            killed = programs.pop(serving)
            killed.kill()
            killed.finish(check=False)
            assert 3.0 == jobs(port)
        assert [*programs] == having(port, programs)


def test_children(method, member):
    """So do a process and its children: killed, it leaves the port to a child that counts."""
    port = free_port()
    with Program([member], listen(port)) as program:
        mine = int(program.read_line().split()[0])
        assert 1.0 == jobs(port)  # it serves before there are others who could
        children = []
        for _ in range(2):
            program.say(method)
            children.append(int(program.read_line().split()[0]))
        assert 3.0 == jobs(port)
        assert [mine] == having(port, [mine, *children])
        os.kill(mine, 9)
        os.waitid(os.P_PID, mine, os.WEXITED | os.WNOWAIT)
        assert 3.0 == jobs(port)
        assert 1 == len(having(port, children))
    with Program([member], environment()) as sweeper:  # of what the killed left
        sweeper.read_line()
        sweeper.finish()


def test_no_thread_before_it_counts(member):
    """Neither the import nor a fork starts a thread; declaring and counting do."""
    port = free_port()
    with Program([member], listen(port)) as program:
        _, imported = program.read_line().split()
        scrape(port)
        program.say("fork")
        _, forked = program.read_line().split()
        program.finish()

    assert "1" == imported
    assert "1" == forked


def log_line(program: Program) -> str:
    assert program._process.stderr is not None
    return program._process.stderr.readline()


def test_taken_port(member):
    """Where somebody else has the port, the application runs as ever; one log line says so."""
    logging = "import logging\nlogging.basicConfig(level='INFO', format='%(message)s')\n"
    member.write_text(logging + MEMBER)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Program([member], listen(port)) as program:
            said = log_line(program)
            program.read_line()
            program.say("count")
            assert "counted" == program.read_line()
            assert "" == program.finish()

    assert f"127.0.0.1:{port} is taken: this process serves there when it is free\n" == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("9100", "'9100' is not HOST:PORT"),
        ("127.0.0.1:x", "'127.0.0.1:x' is not HOST:PORT"),
        ("127.0.0.1:65536", "'127.0.0.1:65536' is not HOST:PORT"),
        ("192.0.2.1:9100", "Cannot assign requested address"),
    ],
)
def test_no_such_address(value, said):
    """An address that makes no sense, or isn't ours, is one line of the log, and no exception."""
    code = (
        "import time\n"
        "import mpmetrics\n"
        "jobs = mpmetrics.Counter('jobs', 'h')\n"
        "jobs.inc()\n"
        "input()\n"
        "print(jobs.collect()[0].samples[0].value)\n"
    )
    with Program(["-c", code], environment(MPMETRICS_LISTEN=value)) as program:
        logged = log_line(program)
        program.say("")
        assert "1.0\n" == program.finish()

    assert logged.startswith("nothing is served")
    assert "MPMETRICS_LISTEN" in logged
    assert said in logged


def test_stranger(member, tmp_path):
    """A program with a store of its own, which inherits the variable, never serves there."""
    port = free_port()
    starter = tmp_path / "starter.py"
    starter.write_text(
        "import os, subprocess, sys\n"
        "from mpmetrics import Counter\n"
        "Counter('mine', 'h').inc()\n"
        "print(os.getpid(), flush=True)\n"
        "subprocess.run([sys.executable, sys.argv[1]])\n"
    )
    with Program([starter, member], listen(port)) as program:
        mine = int(program.read_line())
        other = int(program.read_line().split()[0])
        assert "mine_total 1.0" in scrape(port)
        assert [mine] == having(port, [mine, other])
        assert 1 == len(os.listdir(f"/proc/{other}/task"))  # it doesn't wait for it, either
        program.finish()


def test_run_serves_instead(store):
    """`mpmetrics run` takes the address for itself; its command doesn't see the variable."""
    port = free_port()
    code = "import os, sys; print('MPMETRICS_LISTEN' in os.environ, flush=True); sys.stdin.read()"
    command = ["-m", "mpmetrics", "run", "--", sys.executable, "-c", code]
    with Program(command, listen(port, store)) as program:
        assert "False" == program.read_line()
        scrape(port)
        assert [program.pid] == having(port, [program.pid])
        program.finish()


@pytest.mark.parametrize("command", ["run", "serve"])
def test_command_with_no_such_address(command, store):
    """There it is an error that names the variable."""
    words = ["--store", str(store), "--", "true"] if command == "run" else [str(store)]
    ended = subprocess.run(
        [sys.executable, "-m", "mpmetrics", command, *words],
        env=environment(MPMETRICS_LISTEN="nowhere"),
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )

    assert 1 == ended.returncode
    assert "mpmetrics: MPMETRICS_LISTEN: 'nowhere' is not HOST:PORT\n" == ended.stderr


# Later Pythons warn of forks in a process with threads, which is what these are about.
QUIET = ["-W", "ignore::DeprecationWarning", "-c"]


def test_fork_waits_for_a_scrape():
    """A child forked while a scrape holds a lock doesn't get it locked for ever."""
    code = """\
import os, sys, threading, urllib.request
import mpmetrics
from mpmetrics import sharedport

inside, lock = threading.Event(), threading.Lock()

class Slow:
    def collect(self):
        with lock:
            inside.set()
            threading.Event().wait(0.05)
        return []
    def describe(self):
        return []

sharedport._FORK_WAITS = 60.0  # a scrape may take longer than a second here
mpmetrics.REGISTRY.register(Slow())
server, _ = mpmetrics.start_http_server(0, "127.0.0.1", shared=True)
url = f"http://127.0.0.1:{server.server_port}/"
for _ in range(20):
    inside.clear()
    scrape = threading.Thread(target=lambda: urllib.request.urlopen(url, timeout=10).read())
    scrape.start()
    assert inside.wait(10)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if lock.acquire(timeout=5) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    scrape.join()
print("done")
"""
    with Program([*QUIET, code], environment()) as program:
        assert "done\n" == program.finish()


def test_signal_handler_that_forks():
    """A handler that forks, whatever it interrupts, a fork included, waits for nobody for ever."""
    code = """\
import os, signal, threading, urllib.request
import mpmetrics

def fork(*args):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)

mpmetrics.Counter("jobs", "h").inc()
server, _ = mpmetrics.start_http_server(0, "127.0.0.1", shared=True)
url = f"http://127.0.0.1:{server.server_port}/"
signal.signal(signal.SIGALRM, fork)
for i in range(100):
    signal.setitimer(signal.ITIMER_REAL, 0.00001 + i * 0.00001)
    fork()
print(b"jobs_total 1.0" in urllib.request.urlopen(url, timeout=10).read())
"""
    with Program([*QUIET, code], environment()) as program:
        assert "True\n" == program.finish()


def test_collector_that_forks():
    """A collector may start a process itself: nobody waits for the scrape that it is in."""
    code = """\
import os, urllib.request
import mpmetrics

class Forking:
    def collect(self):
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        return []
    def describe(self):
        return []

mpmetrics.REGISTRY.register(Forking())
server, _ = mpmetrics.start_http_server(0, "127.0.0.1", shared=True)
for _ in range(20):
    urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/", timeout=10).read()
print("done")
"""
    with Program([*QUIET, code], environment()) as program:
        assert "done\n" == program.finish()
