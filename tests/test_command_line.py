"""The command line, on stores that are used, left behind, damaged, or none at all."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import is_attached
from tests.programs import LIMIT, Program, environment, pid_namespace
from tests.servers.driver import free_port

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


def call(
    *words: str, env: dict[str, str] | None = None, prefix: tuple[str, ...] = ()
) -> tuple[int, str, str]:
    """A command's status, what it prints, and its complaints."""
    ended = subprocess.run(
        [*prefix, sys.executable, "-m", "mpmetrics", *words],
        env=environment() if env is None else env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr


def member(store: Path | None, **more: str) -> Program:
    return Program(["-c", MEMBER], environment(store, **more))


def left_by_the_dead(store: Path) -> None:
    """A store whose only process was killed."""
    with member(store) as program:
        program.read_line()
        program.kill()


def get(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=LIMIT) as response:
        return str(response.read().decode())


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# ---- dump, serve ---------------------------------------------------------------------------------


def test_dump_of_the_living(store):
    """One scrape, by path or by MPMETRICS_STORE, while the application counts."""
    with member(store) as program:
        program.read_line()
        by_path = call("dump", str(store))
        by_variable = call("dump", env=environment(store))
        program.finish()

    assert by_path == by_variable
    assert (0, "") == (by_path[0], by_path[2])
    assert "jobs_total 1.0\n" in by_path[1]


def test_dump_post_mortem(store):
    """After a SIGKILL of everything the store is still read, and not changed by that."""
    left_by_the_dead(store)
    before = store.read_bytes()
    status, text, _ = call("dump", str(store))

    assert 0 == status
    assert "jobs_total 1.0\n" in text
    assert 'seconds_bucket{le="2.0"} 1.0\n' in text
    assert before == store.read_bytes()


def test_dump_as_openmetrics(store):
    """--format openmetrics writes that format, to its end."""
    left_by_the_dead(store)
    text = call("dump", "--format", "openmetrics", str(store))[1]

    assert text.endswith("# EOF\n")
    assert "# TYPE jobs counter\n" in text


@pytest.mark.parametrize("name", ["TERM", "INT"])
def test_serve_as_process_1(name, store):
    """In a container, where it is process 1, it ends by SIGTERM and by Ctrl-C, with 128 + n."""
    number = getattr(signal, f"SIG{name}")
    command = ["-m", "mpmetrics", "serve", "--listen", f"127.0.0.1:{free_port()}", str(store)]
    with Program(command, environment(), prefix=pid_namespace()) as server:
        server.read_line()
        (first,) = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        os.kill(int(first), number)
        said = server.finish(check=False)

        assert (128 + number, "") == (server.status, said)


def test_serve_on_ipv6(store):
    """The address that it says is one that a browser takes: that of IPv6 is in brackets."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("there is no IPv6 here")
    command = ["-m", "mpmetrics", "serve", "--listen", "[::1]:0", str(store)]
    with Program(command, environment()) as server:
        url = server.read_line().rpartition(" ")[2]
        assert re.fullmatch(r"http://\[::1\]:\d+/metrics", url)
        with urllib.request.urlopen(url, timeout=LIMIT) as response:
            assert 200 == response.status


def test_version():
    """--version names the package's version, and the layout that its stores have."""
    status, text, complaint = call("--version")

    assert (0, "") == (status, complaint)
    assert re.fullmatch(r"mpmetrics \d+\.\d+\.\d+, stores of layout \d+\n", text)


def test_serve_follows_the_path(store):
    """An exporter goes on with the store of the application's next start; it needs no restart."""
    port = free_port()
    command = ["-m", "mpmetrics", "serve", "--listen", f"127.0.0.1:{port}", str(store)]
    with Program(command, environment()) as server:
        assert f"serving {store} on http://127.0.0.1:{port}/metrics" == server.read_line()
        assert "jobs_total" not in get(port)  # nothing is there yet
        with member(store) as first:
            first.read_line()
            first.say("")
            first.read_line()
            assert "jobs_total 2.0" in get(port)
            first.kill()
        assert "jobs_total 2.0" in get(port)
        with member(store) as second:
            second.read_line()
            assert "jobs_total 1.0" in get(port)
            second.finish()


def test_serve_of_a_truncated_store(store):
    """Truncated between two scrapes it is served no more, and that is said; the next one is."""
    left_by_the_dead(store)
    port = free_port()
    command = ["-m", "mpmetrics", "serve", "--listen", f"127.0.0.1:{port}", str(store)]
    with Program(command, environment()) as server:
        server.read_line()
        assert "jobs_total 1.0" in get(port)
        os.truncate(store, 5000)
        assert "" == get(port) == get(port)
        store.unlink()
        with member(store) as program:
            program.read_line()
            assert "jobs_total 1.0" in get(port)
            program.finish()
        os.kill(server.pid, signal.SIGINT)
        said = server.finish(check=False)

    assert 1 == said.count("nothing is served: ")
    assert "damaged" in said


def test_serve_joins_nothing(store):
    """A server to which MPMETRICS_STORE names the store is no process of it."""
    port = free_port()
    command = ["-m", "mpmetrics", "serve", "--listen", f"127.0.0.1:{port}"]
    with Program(command, environment(store)) as server:
        server.read_line()
        get(port)
        with member(store) as program:
            program.read_line()
            assert "jobs_total 1.0" in get(port)
            program.finish()
        assert not is_attached(store)


def test_serve_from_another_pid_namespace(store):
    """A side-car container sees the same, though the processes' numbers mean nothing to it."""
    namespace = tuple(pid_namespace())
    with member(store) as program:
        program.read_line()
        status, text, _ = call("dump", str(store), prefix=namespace)
        checked = call("check", str(store), prefix=namespace)[1]
        program.finish()

    assert 0 == status
    assert "jobs_total 1.0\n" in text
    assert "1 living processes" in checked


def test_dump_changes_nothing(store):
    """Who dumps isn't counted among the processes, and changes no byte."""
    with member(store) as program:
        program.read_line()
        before = store.read_bytes()
        assert 0 == call("dump", str(store))[0]
        assert before == store.read_bytes()
        program.finish()


def test_serve_on_a_taken_port(store):
    """A port that is taken is an error, not a server that nobody reaches."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, _, said = call("serve", "--listen", f"127.0.0.1:{port}", str(store))

    assert 1 == status
    assert "Address already in use" in said


# ---- check ---------------------------------------------------------------------------------------


def test_check(store):
    """A store that is whole: how many processes, shards, families, series and bytes."""
    with member(store) as program:
        program.read_line()
        status, text, _ = call("check", str(store))
        program.finish()

    assert 0 == status
    assert f"{store}: whole\n" in text
    assert "1 living processes, 0 free shards" in text
    assert "2 families shown, 2 series" in text
    assert re.search(r"[\d,]+ bytes, [\d,]+ used", text)


def test_check_post_mortem(store):
    """The same of one that a killed process left, without changing it."""
    left_by_the_dead(store)
    before = store.read_bytes()
    status, text, _ = call("check", str(store))

    assert 0 == status
    assert "0 living processes, 1 free shards" in text
    assert before == store.read_bytes()


def test_check_names_hidden_shapes(store):
    """Two shapes of one name: the one that isn't shown is named, and what hides it."""
    other = 'import sys\nfrom mpmetrics import Gauge\nGauge("jobs_total", "Others.", ["size"])\n'
    with member(store) as program:
        program.read_line()
        command = ["-c", other + "print(flush=True)\nsys.stdin.read()"]
        with Program(command, environment(store)) as newer:
            newer._process.stdout.readline()  # type: ignore[union-attr]
            status, text, _ = call("check", str(store))
            newer.finish()
        program.finish()

    assert 0 == status
    hidden = "hidden: the counter jobs, labels (); shown: the gauge jobs_total, labels ('size',)"
    assert hidden in text


def test_check_of_damage(store):
    """Damage is named in words, and is status 1."""
    left_by_the_dead(store)
    whole = bytearray(store.read_bytes())
    for start in range(4096, len(whole), 8):
        whole[start : start + 8] = b"\xff" * 8
    store.write_bytes(bytes(whole))
    status, text, said = call("check", str(store))

    assert 1 == status
    assert "DAMAGED" in text or "mpmetrics: " in said
    assert "Traceback" not in said


# ---- remove, list --------------------------------------------------------------------------------


def test_remove(store):
    """A store that nobody has is removed; one in use is not."""
    with member(store) as program:
        program.read_line()
        status, _, said = call("remove", str(store))
        assert (1, True) == (status, store.exists())
        assert "in use" in said
        program.kill()
    assert (0, "", "") == call("remove", str(store))
    assert not store.exists()


def test_remove_nothing(store):
    """Nothing there is an error that says so."""
    status, _, said = call("remove", str(store))

    assert 1 == status
    assert "No such file" in said


def test_remove_what_is_no_store(store):
    """A file that is something else is not removed, whoever names it by mistake."""
    store.touch(0o600)
    store.write_text("somebody's letter")
    status, _, said = call("remove", str(store))

    assert (1, "somebody's letter") == (status, store.read_text())
    assert "no store" in said


def test_list():
    """Which stores this user's programs have made up, since when, and for how many processes."""
    with member(None) as program:
        path = program.read_line()
        listed = call("list")[1]
        program.finish()
    after = call("list")[1]

    line = next(line for line in listed.splitlines() if line.startswith(path))
    assert re.search(r"  since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  1 processes$", line)
    assert path not in after


def test_which_store():
    """Without a path and without the variable, it asks for one of them."""
    for command in ("serve", "dump", "check", "remove"):
        status, _, said = call(command)
        assert (1, "mpmetrics: name a PATH, or set MPMETRICS_STORE\n") == (status, said)


def test_script():
    """The `mpmetrics` program, where it is installed, is the same."""
    script = Path(sys.executable).parent / "mpmetrics"
    if not script.exists():
        pytest.skip(f"this environment has no script {script}")
    ended = subprocess.run([script, "list"], env=environment(), capture_output=True, check=False)

    assert 0 == ended.returncode
