"""docs/deploy.md: what it says of containers is true here, and its snippets are well-formed."""

from __future__ import annotations

import configparser
import json
import os
import re
import resource
import shlex
import sys
import urllib.request
from pathlib import Path

import pytest
from tests.programs import (
    LIMIT,
    ROOT,
    Program,
    becoming,
    environment,
    mounts,
    need_root,
    pid_namespace,
    readable_folder,
    run,
)
from tests.servers.driver import free_port

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]

PAGE = ROOT / "docs" / "deploy.md"
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# Counts in itself and in a forked child, and says where and how much.
MEMBER = """\
import os, sys
from mpmetrics import Counter, generate_latest, store
JOBS = Counter("jobs", "Jobs done.")
JOBS.inc()
if os.fork() == 0:
    JOBS.inc()
    os._exit(0)
os.wait()
total = [line for line in generate_latest().decode().splitlines() if line.startswith("jobs_total")]
print(store.current().path, *total, flush=True)
sys.stdin.read()
"""


# ---- what it says --------------------------------------------------------------------------------


def test_small_dev_shm():
    """When /dev/shm is full, what finds no room counts apart, and a new process counts on."""
    code = """\
import os, sys
from mpmetrics import Counter, StoreCollector, generate_latest
JOBS, KINDS = Counter("jobs", "h"), Counter("kinds", "h", ["kind"])
StoreCollector()
def page():
    lines = [line.rpartition(" ") for line in generate_latest().decode().splitlines()]
    return {name: float(value) for name, _, value in lines if not name.startswith("#")}
JOBS.inc()
for i in range(5000):
    KINDS.labels(str(i)).inc()
if os.fork() == 0:
    JOBS.inc()
    os._exit(0)
os.wait()
found = page()
kinds = [value for name, value in found.items() if name.startswith("kinds_total{")]
print(found["jobs_total"], set(kinds), len(kinds) + found["mpmetrics_private_metrics"])
"""
    prefix = mounts("mount -t tmpfs -o size=512k tmpfs /dev/shm")
    with Program(["-c", code], environment(), prefix=prefix) as program:
        said = program.read_line()
        logged = program.finish()

    assert "2.0 {1.0} 5000.0" == said
    assert 1 == len(logged.splitlines()), logged
    assert "no room is left in the store or on its file system" in logged


def test_read_only_root():
    """Nothing but /dev/shm is written to."""
    prefix = mounts("mount -o remount,ro,bind /")
    command = ["-m", "mpmetrics", "run", "--", sys.executable, "-c", MEMBER]
    with Program(command, environment(), prefix=prefix) as program:
        path, name, total = program.read_line().split()
        program.finish()

    assert path.startswith("/dev/shm/mpmetrics-")
    assert ("jobs_total", "2.0") == (name, total)


def test_without_dev_shm(tmp_path):
    """Where it can't be written, a named store on another tmpfs does, and forks share without."""
    folder = tmp_path / "metrics"
    folder.mkdir()
    script = f"mount -t tmpfs -o mode=0700 tmpfs {folder} && mount -t tmpfs -o ro tmpfs /dev/shm"
    prefix = mounts(script)
    env = environment(XDG_RUNTIME_DIR="")
    with Program(["-c", MEMBER], env, prefix=prefix) as program:
        assert "None jobs_total 2.0" == program.read_line()
        assert "" == program.finish()
    with Program(["-c", MEMBER], environment(folder / "store"), prefix=prefix) as program:
        assert f"{folder}/store jobs_total 2.0" == program.read_line()
        assert "" == program.finish()


def test_user_without_a_name():
    """A user that /etc/passwd doesn't know needs nothing."""
    need_root()
    user = 54_321
    with Program(["-c", becoming(user) + MEMBER], environment()) as program:
        path, name, total = program.read_line().split()
        owner = os.stat(path).st_uid
        assert "" == program.finish()
    os.rmdir(os.path.dirname(path))

    assert (user, "jobs_total", "2.0") == (owner, name, total)


def test_side_car():
    """An exporter of another user, in another pid namespace, with the volume read only."""
    need_root()
    port = free_port()
    serve = (
        becoming(12345, group=2000)
        + "import sys\n"
        + f"mpmetrics.__main__.main(['serve', '--listen', '127.0.0.1:{port}', sys.argv[1]])\n"
    )
    with readable_folder() as folder:
        read_only = f"mount --bind {folder} {folder} && mount -o remount,ro,bind {folder}"
        prefix = [*pid_namespace(), *mounts(read_only)]
        store = folder / "store"
        command = ["-m", "mpmetrics", "run", "--store", str(store), "--group", "2000", "--"]
        with Program([*command, sys.executable, "-c", MEMBER], environment()) as program:
            program.read_line()
            with Program(["-c", serve, str(store)], environment(), prefix=prefix) as exporter:
                exporter.read_line()
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=LIMIT) as page:
                    text = page.read().decode()
            program.finish()

    assert "jobs_total 2.0\n" in text


def test_limited_addresses():
    """The store's reserve is an eighth of what RLIMIT_AS leaves, or less."""
    limit = 1 << 30
    reserve, addresses = run("tests.test_deploy:reserve_under", limit)

    assert reserve <= limit / 8
    assert addresses < limit


def reserve_under(limit: int) -> list[int]:
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    from mpmetrics import Counter, store

    Counter("jobs", "h").inc()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return [store.current().statistics()["reserve_bytes"], pages * resource.getpagesize()]


def test_one_worker(store):
    """One worker after the other counts on while somebody holds the store, and else afresh."""
    worker = f"{shlex.quote(sys.executable)} -c {shlex.quote(MEMBER)} </dev/null"
    with Program(
        ["-m", "mpmetrics", "run", "--store", str(store), "--", "sh", "-c", f"{worker}; {worker}"],
        environment(),
    ) as program:
        held = [program.read_line(), program.read_line()]
        program.finish()
    alone = []
    for _ in range(2):
        with Program(["-c", MEMBER], environment(store)) as program:
            alone.append(program.read_line())
            program.finish()

    assert [f"{store} jobs_total {total}" for total in ("2.0", "4.0")] == held
    assert [f"{store} jobs_total 2.0"] * 2 == alone


# ---- its snippets --------------------------------------------------------------------------------


def snippets(language: str) -> list[str]:
    found = [text for kind, text in FENCED.findall(PAGE.read_text()) if kind == language]
    assert found, f"no block of {language} in {PAGE.name}"
    return found


def assert_command(words: list[str]) -> None:
    """`mpmetrics` takes these arguments, and says what is wrong otherwise."""
    from mpmetrics.__main__ import parser

    assert "mpmetrics" == words[0]
    try:
        parser().parse_args(words[1:])
    except SystemExit:
        pytest.fail(f"not accepted: {shlex.join(words)}")


def test_yaml():
    """The manifests are YAML, their volumes are mounted, and mpmetrics takes their commands."""
    yaml = pytest.importorskip("yaml", reason="pip install '.[test]'")
    for text in snippets("yaml"):
        spec = yaml.safe_load(text)
        volumes = {volume["name"] for volume in spec["volumes"]}
        for container in spec["containers"]:
            assert volumes == {mount["name"] for mount in container["volumeMounts"]}
            assert_command(container["command"])


def test_dockerfile():
    """An ENTRYPOINT is a list in JSON."""
    for text in snippets("dockerfile"):
        for line in text.splitlines():
            instruction, _, rest = line.partition(" ")
            assert "ENTRYPOINT" == instruction
            assert_command(json.loads(rest))


def test_units():
    """A unit of systemd is made of sections, keys and values."""
    for text in snippets("ini"):
        unit = configparser.ConfigParser(strict=False, interpolation=None, delimiters=["="])
        unit.optionxform = str  # type: ignore[assignment,method-assign]
        unit.read_string(text)
        assert {"ExecStart", "User"} <= set(unit["Service"])


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_command_lines(page):
    """Each `mpmetrics` that stands in a block is a command that there is, with its arguments."""
    for line in re.findall(r"^(?: {4}|\$ )+(mpmetrics .*)$", page.read_text(), re.MULTILINE):
        assert_command(shlex.split(line.replace("COMMAND ...", "COMMAND"), comments=True))
