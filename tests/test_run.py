"""`mpmetrics run`: a command, and everything below it, with one store."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import pytest
from examples.rig.processes import wait_until
from tests.programs import LIMIT, Program, environment, need_root, pid_namespace
from tests.servers.driver import alive, free_port

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]

RUN = ["-m", "mpmetrics", "run"]
FORWARDED = ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "WINCH"]
NOBODY = 65534

# Says which store it has and counts; then lives until its input ends.
MEMBER = """\
import os, sys
from mpmetrics import Counter, store
Counter("jobs", "Jobs done.").inc()
print(store.current().path, flush=True)
sys.stdin.read()
"""
# Names each signal that it gets, and ends at the end of its input.
# Says which signals it gets, until its input ends. By the descriptor that wakes it: Python itself
# looks for a signal before it reads, and one that comes between the two would wait for the input.
LISTENER = """\
import select, signal, socket, sys
heard, wake = socket.socketpair()
wake.setblocking(False)
signal.set_wakeup_fd(wake.fileno())
for name in sys.argv[1:]:
    signal.signal(getattr(signal, "SIG" + name), lambda number, frame: None)
print("ready", flush=True)
while heard in select.select([heard, sys.stdin], [], [])[0]:
    for number in heard.recv(100):
        print(signal.Signals(number).name, flush=True)
"""


def run(*words: str, options: Sequence[str] = (), env: dict[str, str] | None = None) -> Program:
    return Program([*RUN, *options, "--", *words], environment() if env is None else env)


def python(code: str, *words: str) -> list[str]:
    return [sys.executable, "-c", code, *words]


def status_of(*words: str, options: Sequence[str] = ()) -> tuple[int, str]:
    """How a run ends, and what it writes to stderr."""
    ended = subprocess.run(
        [sys.executable, *RUN, *options, "--", *words],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    return ended.returncode, ended.stderr


def dump(path: str | Path) -> str:
    return subprocess.run(
        [sys.executable, "-m", "mpmetrics", "dump", str(path)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
    ).stdout


def scrape(port: int) -> str:
    """A page of the endpoint there, which may just be starting."""
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=LIMIT) as response:
                return str(response.read().decode())
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


# ---- the command -------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [0, 1, 7, 255])
def test_status(status):
    """The run ends with the command's status."""
    assert (status, "") == status_of("sh", "-c", f"exit {status}")


@pytest.mark.parametrize("name", ["KILL", "TERM", "SEGV"])
def test_status_of_a_signal(name):
    """A command that signal n ended gives 128 + n, as in a shell."""
    number = getattr(signal, f"SIG{name}")

    assert 128 + number == status_of("sh", "-c", f"ulimit -c 0; kill -{name} $$")[0]


def test_no_such_command(tmp_path):
    """A command that isn't there is 127, one that can't be executed 126, as in a shell."""
    plain = tmp_path / "plain"
    plain.write_text("no program")

    assert (127, "mpmetrics: /no/such: No such file or directory\n") == status_of("/no/such")
    assert (126, f"mpmetrics: {plain}: Permission denied\n") == status_of(str(plain))


def test_options_of_the_command():
    """What stands after the command is the command's own, also if it looks like an option."""
    with Program([*RUN, "echo", "--listen", "x"], environment()) as program:
        assert "--listen x" == program.read_line()
        program.finish()


def test_signals_are_passed_on():
    """Each of the signals that servers listen to reaches the command, and does not end the run."""
    with run(*python(LISTENER, *FORWARDED)) as program:
        assert "ready" == program.read_line()
        heard = []
        for name in FORWARDED:
            os.kill(program.pid, getattr(signal, f"SIG{name}"))
            heard.append(program.read_line())
        program.finish()

    assert [f"SIG{name}" for name in FORWARDED] == heard


def test_signals_with_an_endpoint():
    """The endpoint's threads take no signal away."""
    with run(
        *python(LISTENER, "USR1"), options=["--listen", f"127.0.0.1:{free_port()}"]
    ) as program:
        assert "ready" == program.read_line()
        for _ in range(20):
            os.kill(program.pid, signal.SIGUSR1)
            assert "SIGUSR1" == program.read_line()
        program.finish()


def test_command_begins_with_ordinary_signals():
    """Nothing is blocked for the command, and nothing ignored that Python ignores."""
    code = "grep -E 'Sig(Blk|Ign)' /proc/self/status"
    with run("sh", "-c", code) as program:
        text = program.finish()
    blocked, ignored = (int(line.split()[1], 16) for line in text.splitlines())
    pythons = sum(1 << (number - 1) for number in (signal.SIGPIPE, signal.SIGXFSZ))
    inherited = int(re.search(r"SigIgn:\s*(\w+)", Path("/proc/self/status").read_text())[1], 16)

    assert 0 == blocked
    assert inherited & ~pythons == ignored


def test_ctrl_c_is_heard_once():
    """Ctrl-C reaches the command from the terminal alone: a second one would make servers hurry."""
    code = (
        "import os, pty, sys, time\n"
        "pid, terminal = pty.fork()\n"
        "if pid == 0:\n"
        f"    os.execv(sys.executable, [sys.executable, *{RUN}, '--', sys.executable, '-c', "
        "sys.argv[1], 'INT'])\n"
        "text = b''\n"
        "while b'ready' not in text: text += os.read(terminal, 1000)\n"
        "os.write(terminal, b'\\x03')\n"
        "while b'SIGINT' not in text: text += os.read(terminal, 1000)\n"
        "os.kill(pid, 10)\n"  # comes after any second SIGINT
        "try:\n"
        "    while b'SIGUSR1' not in text: text += os.read(terminal, 1000)\n"
        "except OSError: pass\n"
        "print(text.count(b'SIGINT'))\n"
        "os.write(terminal, b'\\x04')\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    listener = LISTENER.replace("sys.argv[1:]", "['INT', 'USR1']")
    with Program(["-c", code, listener], environment()) as program:
        assert "1" == program.read_line()
        assert "0" == program.read_line()
        program.finish()


def test_ctrl_c_reaches_another_session():
    """A command that has left the terminal's group hears of Ctrl-C from the run."""
    code = (
        "import os, pty, sys\n"
        "pid, terminal = pty.fork()\n"
        "if pid == 0:\n"
        f"    os.execv(sys.executable, [sys.executable, *{RUN}, '--', 'setsid', "
        "sys.executable, '-c', sys.argv[1], 'INT'])\n"
        "text = b''\n"
        "while b'ready' not in text: text += os.read(terminal, 1000)\n"
        "os.write(terminal, b'\\x03')\n"
        "while b'SIGINT' not in text: text += os.read(terminal, 1000)\n"
        "print('heard')\n"
        "os.write(terminal, b'\\x04')\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    with Program(["-c", code, LISTENER], environment()) as program:
        assert "heard" == program.read_line()
        assert "0" == program.read_line()
        program.finish()


def test_orphans_are_reaped():
    """As process 1 of a container it reaps what others left behind."""
    namespace = pid_namespace()
    # Ten orphans that end; then as many processes as before, and none of them a zombie.
    code = (
        "import os, subprocess, time\n"
        "for _ in range(10): subprocess.run(['sh', '-c', 'true & exit'])\n"
        "def state(pid):\n"
        "    try: return open(f'/proc/{pid}/stat').read().rpartition(')')[2].split()[0]\n"
        "    except OSError: return None\n"  # reaped just now
        "def zombies():\n"
        "    return [state(n) for n in os.listdir('/proc') if n.isdecimal()].count('Z')\n"
        "until = time.monotonic() + 10\n"
        "while zombies() and time.monotonic() < until: time.sleep(0.02)\n"
        "print(os.getppid(), zombies())\n"
        "raise SystemExit(3)\n"
    )
    ended = subprocess.run(
        [*namespace, sys.executable, *RUN, "--", *python(code)],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )

    assert (3, "1 0\n") == (ended.returncode, ended.stdout)


# ---- the store -----------------------------------------------------------------------------------


def test_made_up_store_goes_with_the_run():
    """All processes of the command have one store; it is gone when the command has ended."""
    with run(*python(MEMBER)) as program:
        path = program.read_line()
        assert Path(path).is_file()
        program.finish()

    assert path.startswith("/dev/shm/mpmetrics-")
    assert not Path(path).exists()


def test_made_up_store_stays_for_who_outlives_the_command(tmp_path):
    """A daemon that the command leaves behind keeps the store, and removes nobody's file."""
    pid_file = tmp_path / "pid"
    member = tmp_path / "member.py"
    member.write_text(MEMBER)
    wait = f'echo $! >{pid_file}; until [ -s "$3" ]; do sleep 0.05; done'
    shell = f'"$0" "$1" <"$2" >"$3" 2>/dev/null & {wait}'
    fifo, said = tmp_path / "fifo", tmp_path / "said"
    os.mkfifo(fifo)
    keep = os.open(fifo, os.O_RDWR)
    try:
        command = ["sh", "-c", shell, sys.executable, str(member), str(fifo), str(said)]
        with run(*command) as program:
            program.finish()
        path = said.read_text().strip()
        assert "jobs_total 1.0" in dump(path)
    finally:
        daemon = int(pid_file.read_text())
        os.kill(daemon, signal.SIGKILL)
        os.close(keep)
    assert wait_until(lambda: not alive(daemon), LIMIT)
    with run("true") as program:  # the next to make one up sweeps it
        program.finish()
    assert not Path(path).exists()


def test_named_store_stays(store):
    """A store with a name of one's own is there after the command, to be looked at."""
    with run(*python(MEMBER), options=["--store", str(store)]) as program:
        assert str(store) == program.read_line()
        program.finish()

    assert "jobs_total 1.0" in dump(store)


def test_relative_path(tmp_path, store):
    """A relative path means the same file for a command that changes its folder."""
    words = ["--store", "store", "--", "sh", "-c", 'cd / && exec "$0" "$@"', *python(MEMBER)]
    ended = subprocess.run(
        [sys.executable, *RUN, *words],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
    )

    assert f"{store}\n" == ended.stdout


def test_everything_is_killed(method):
    """SIGKILL of the run and all below it leaves one file, which the next to start removes."""
    code = (
        "import multiprocessing, sys\n"
        "from tests.test_run import count_and_wait\n"
        "from mpmetrics import store\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context(sys.argv[1])\n"
        "    ours, theirs = context.Pipe()\n"
        "    for _ in range(2):\n"
        "        context.Process(target=count_and_wait, args=(theirs,)).start()\n"
        "        print(ours.recv(), flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with run(*python(code, method)) as program:
        path, again = Path(program.read_line()), Path(program.read_line())
        before = set(path.parent.iterdir())
        program.kill()
        program.finish(check=False)
    assert path == again
    assert path in before

    with run("true") as following:
        following.finish()
    left = {each for each in path.parent.iterdir() if each.name.startswith(f"{program.pid}-")}
    assert set() == left


def count_and_wait(connection) -> None:
    from mpmetrics import Counter, store as stores

    Counter("jobs", "Jobs done.").inc()
    connection.send(stores.current().path)
    threading.Event().wait()


def test_two_runs_with_one_store(store):
    """A store that is in use is joined by a second run, not begun afresh."""
    options = ["--store", str(store)]
    with run(*python(MEMBER), options=options) as one:
        one.read_line()
        with run(*python(MEMBER), options=options) as two:
            two.read_line()
            assert "jobs_total 2.0" in dump(store)
            two.finish()
        assert "jobs_total 2.0" in dump(store)
        one.finish()


def test_nested():
    """A run inside a run has the outer one's store, and leaves it alone at its end."""
    inner = [sys.executable, *RUN, "--", *python(MEMBER)]
    code = f"import subprocess; subprocess.run({inner!r}, check=True)\n" + MEMBER
    with run(*python(code.replace("import subprocess;", "import subprocess, sys;"))) as program:
        program.say("")
        program._process.stdin.close()  # type: ignore[union-attr]
        program._process.stdin = None
        inner_path = program.read_line()
        outer_path = program.read_line()
        program.finish()

    assert inner_path == outer_path


def test_nothing_to_run():
    """Without a command it says how it is used."""
    status, said = status_of()

    assert 1 == status
    assert "mpmetrics run [OPTIONS] -- COMMAND" in said


# ---- --listen ------------------------------------------------------------------------------------


def test_listen_while_nobody_works():
    """/metrics is served while every worker is stopped, and after all of them were killed."""
    port = free_port()
    shell = '"$0" -c "$1" & echo $!; wait; echo over; read line'
    command = ["sh", "-c", shell, sys.executable, MEMBER.replace("sys.stdin.read()", "1")]
    # The worker waits for a pipe that nobody closes.
    command[-1] = MEMBER.replace("sys.stdin.read()", "import time; time.sleep(1000)")
    with run(*command, options=["--listen", f"127.0.0.1:{port}"]) as program:
        worker = int(program.read_line())
        program.read_line()
        os.kill(worker, signal.SIGSTOP)
        assert "jobs_total 1.0" in scrape(port)
        os.kill(worker, signal.SIGKILL)
        assert "over" == program.read_line()
        assert "jobs_total 1.0" in scrape(port)
        program.say("end")
        program.finish(check=False)


def test_listen_on_a_taken_port():
    """A port that is taken is an error that names it, before the command begins."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, said = status_of("echo", "begun", options=["--listen", f"127.0.0.1:{port}"])

    assert 1 == status
    assert "Address already in use" in said


# ---- --user, --group -----------------------------------------------------------------------------


# Imports first: this Python may lie where only root can read.
AS_NOBODY = f"""\
import os, sys
from mpmetrics import Counter, generate_latest, store
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid({NOBODY})
JOBS = Counter("jobs", "Jobs done.")
JOBS.inc()
generate_latest()
numbers = store.current().statistics()
print(store.current().path, numbers["private"], flush=True)
sys.stdin.read()
"""


def test_user():
    """The store belongs to the user that the server will run its workers as; they share it."""
    need_root()
    with run(*python(AS_NOBODY, str(NOBODY)), options=["--user", "nobody"]) as program:
        path, private = program.read_line().split()
        status = os.stat(path)
        assert (NOBODY, 0o600) == (status.st_uid, status.st_mode & 0o777)
        assert NOBODY == os.stat(os.path.dirname(path)).st_uid
        assert "jobs_total 1.0" in dump(path)
        program.finish()

    assert "0" == private
    assert not Path(path).exists()


def test_user_and_root():
    """A master that is still root counts in the same store: it was told whom it belongs to."""
    need_root()
    code = MEMBER.replace("sys.stdin.read()", "")
    both = f"import subprocess\nsubprocess.run({python(AS_NOBODY, '65534')!r}, check=True)\n{code}"
    with run(*python(both), options=["--user", str(NOBODY)]) as program:
        program._process.stdin.close()  # type: ignore[union-attr]
        program._process.stdin = None
        workers, masters = program.read_line(), program.read_line()
        program.finish()

    assert f"{masters} 0" == workers
    assert masters.startswith(f"/dev/shm/mpmetrics-{NOBODY}/")


def test_group():
    """With --group alone, workers of any user in that group share the store."""
    need_root()
    with run(*python(AS_NOBODY, "12345"), options=["--group", "12345"]) as program:
        path, private = program.read_line().split()
        status = os.stat(path)
        assert (0, 12345, 0o660) == (status.st_uid, status.st_gid, status.st_mode & 0o777)
        assert 0o710 == os.stat(os.path.dirname(path)).st_mode & 0o777
        assert "jobs_total 1.0" in dump(path)
        program.finish()

    assert "0" == private
    assert not Path(path).exists()
    os.rmdir(os.path.dirname(path))


def test_not_in_the_group():
    """A process outside the group can't have the store: it says so once, and counts by itself."""
    need_root()
    with run(*python(AS_NOBODY, "54321"), options=["--group", "12345"]) as program:
        path, _ = program.read_line().split()
        said = program.finish()

    assert "None" == path
    assert 1 == said.count("counting by itself")
    assert "Permission denied" in said
    os.rmdir("/dev/shm/mpmetrics-g12345-0")


def test_unknown_user():
    """A user that isn't there is an error before anything begins."""
    status, said = status_of("true", options=["--user", "no-such-user"])

    assert 2 == status
    assert "there is no user 'no-such-user'" in said
