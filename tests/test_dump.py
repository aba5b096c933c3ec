"""`mpmetrics dump`: of the living and the dead, as a whole and by process."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import prometheus_client.openmetrics.parser as openmetrics
import prometheus_client.parser as text_format
import pytest
from examples.rig import page as pages
from tests.programs import LIMIT, Program, environment, run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]

FORMATS = {
    "text": text_format.text_string_to_metric_families,
    "openmetrics": openmetrics.text_string_to_metric_families,
}
COUNTS = (1, 5, 7)  # what the processes of a family count
SHARD = "mpmetrics_shard"


def dump(*options: str, env: dict[str, str] | None = None) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", "mpmetrics", "dump", *options],
        env=environment() if env is None else env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert (0, "") == (ended.returncode, ended.stderr)
    return ended.stdout


@contextmanager
def family(store: Path, method: str, *, die: bool = False) -> Iterator[list[str]]:
    """Three processes that have counted; their pids."""
    main = f"if __name__ == '__main__': family({method!r}, {die})"
    script = store.with_name("family.py")
    script.write_text("from tests.shard_counts import family\n" + main)
    with Program([script], environment(store)) as program:
        pids = program.read_line().split()
        if die:
            program.finish(check=False)
        yield pids
        if not die:
            program.say("")
            program.finish()


def by_pid(text: str, format: str) -> dict[str, dict[str, float]]:
    """The samples of each process, by its pid; without the label that says whose they are."""
    samples = [sample for metric in FORMATS[format](text) for sample in metric.samples]
    info = f"{SHARD}_info"
    pids = {each.labels[SHARD]: each.labels["pid"] for each in samples if each.name == info}
    found: dict[str, dict[str, float]] = {pid: {} for pid in pids.values()}
    for sample in samples:
        if sample.name != info:
            labels = {key: value for key, value in sample.labels.items() if key != SHARD}
            name = pages.sample(sample.name, **labels)
            found[pids[sample.labels[SHARD]]][name] = sample.value
    return found


def counted(times: int, *, alive: bool) -> dict[str, float]:
    """What a process that counted so often shows."""
    n = float(times)
    busy = {"busy": n} if alive else {}
    return busy | {
        'jobs_total{kind="all"}': n,
        f'jobs_total{{kind="{times}"}}': 1.0,
        'seconds_bucket{le="1.0"}': 0.0,
        'seconds_bucket{le="2.0"}': n,
        'seconds_bucket{le="+Inf"}': n,
        "seconds_count": n,
        "seconds_sum": 1.5 * n,
        "size_count": n,
        "size_sum": 2 * n,
        "load": n,
        "peak": n,
        "each": n,
        "__total": n,  # of "é", escaped
    }


# ---- by process ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "format"),
    [("fork", "openmetrics"), ("fork", "text"), ("forkserver", "text"), ("spawn", "text")],
)
def test_each_process(store, method, format):
    """Every process shows exactly what it counted itself, on a page that a parser takes."""
    with family(store, method) as pids:
        text = dump("--by-process", "--format", format, str(store))

    expected = {pid: counted(n, alive=True) for pid, n in zip(pids, COUNTS, strict=True)}
    assert expected == by_pid(text, format)
    assert 3 == text.count('alive="1"')
    assert " # {" not in text  # exemplars are no counts


def test_each_process_post_mortem(store):
    """So it does after a SIGKILL of all of them, but for gauges of the living."""
    with family(store, "fork", die=True) as pids:
        text = dump("--by-process", str(store))

    expected = {pid: counted(n, alive=False) for pid, n in zip(pids, COUNTS, strict=True)}
    assert expected == by_pid(text, "text")
    assert 3 == text.count('alive="0"')


def test_parts_add_up(store):
    """The processes' counts are the whole page's, and a gauge of all of them is on neither."""
    with family(store, "fork") as pids:
        whole = pages.read(dump(str(store)))
        parts = by_pid(dump("--by-process", str(store)), "text")

    for name in ('jobs_total{kind="all"}', "seconds_sum", 'seconds_bucket{le="2.0"}', "size_count"):
        assert whole[name] == sum(part[name] for part in parts.values()), name
    assert 13.0 == whole["level"] == whole['jobs_total{kind="all"}']
    assert all(not name.startswith(("level", "state", "about")) for name in parts[pids[0]])


def test_heir(store, method):
    """A process that took a dead one's place shows what that one counted, too, and its own pid."""
    killed, heir, *living = run("tests.shard_counts:succession", method, store=store)
    parts = by_pid(dump("--by-process", str(store)), "text")

    assert heir in living
    assert killed not in living
    assert 7.0 == parts[str(heir)]['jobs_total{kind="all"}']
    assert str(killed) not in parts


def test_while_it_counts(store):
    """Each process's histogram is of one instant, as everywhere."""
    busy = "from tests.shard_counts import observe_until_told\nobserve_until_told()"
    looking = (
        "import sys, time\n"
        "from mpmetrics import reader\n"
        "from mpmetrics.exposition import render\n"
        "from mpmetrics.negotiation import Encoding, Format\n"
        "view = reader.ShardView(reader.look(sys.argv[1]))\n"
        "n, counts, until = 0, set(), time.monotonic() + 30\n"
        "while n < 200 or (len(counts) < 2 and time.monotonic() < until):\n"
        "    if n >= 200: time.sleep(0.01)  # who counts hasn't got to run yet\n"
        "    n, page = n + 1, render(view, Encoding(Format.TEXT)).decode()\n"
        "    counts |= {line for line in page.splitlines() if line.startswith('seconds_count')}\n"
        "    print(page, end='# end\\n')\n"
    )
    with Program(["-c", busy], environment(store)) as program:
        program.read_line()
        with Program(["-c", looking, str(store)], environment()) as reader:
            texts = reader.finish().split("# end\n")[:-1]
        program.say("")
        program.finish()
    parts = [next(iter(by_pid(text, "text").values())) for text in texts]

    assert 200 <= len(parts)
    assert all(part["seconds_count"] == part['seconds_bucket{le="+Inf"}'] for part in parts)
    assert all(part["seconds_sum"] == 1.5 * part["seconds_count"] for part in parts)
    assert 2 <= len({part["seconds_count"] for part in parts})


def test_label_that_is_taken(store):
    """An application with a label of that name keeps it: ours gets a longer one."""
    code = f"from mpmetrics import Counter\nCounter('a', 'h', ['{SHARD}']).labels('mine').inc()"
    with Program(["-c", code], environment(store)) as program:
        program.finish()
    text = dump("--by-process", str(store))

    assert f'a_total{{{SHARD}_="1",{SHARD}="mine"}} 1.0' in text


def test_python_reads_the_same(store):
    """Whoever looks at the samples finds those that the core renders."""
    code = (
        "import sys\n"
        "from mpmetrics import reader\n"
        "from mpmetrics.exposition import render\n"
        "from mpmetrics.negotiation import Encoding, Format\n"
        "from prometheus_client import generate_latest\n"
        "view = reader.ShardView(reader.look(sys.argv[1]))\n"
        "print(render(view, Encoding(Format.TEXT)).decode())\n"
        "print('theirs')\n"
        "print(generate_latest(view).decode())\n"
    )
    with (
        family(store, "fork", die=True),
        Program(["-c", code, str(store)], environment()) as program,
    ):
        ours, _, theirs = program.finish().partition("theirs\n")

    assert pages.read(ours) == pages.read(theirs)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_takes_it(store):
    """Prometheus' own checker reads the page by process, and only has to say what linters say."""
    with family(store, "fork", die=True):
        page = dump("--by-process", str(store))
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=page, capture_output=True, text=True, timeout=LIMIT
    )

    assert checked.returncode in (0, 3), checked.stderr
    assert "error while" not in checked.stderr


# ---- the store stays what it is ------------------------------------------------------------------


def test_post_mortem_by_variable(store):
    """MPMETRICS_STORE names what is to be read; nothing of it is begun afresh by that."""
    with family(store, "fork", die=True):
        before = store.read_bytes()
        by_variable = dump(env=environment(store))

    assert 'jobs_total{kind="all"} 13.0\n' in by_variable
    assert before == store.read_bytes()


def test_truncated_while_it_is_looked_at(store):
    """What a dead application left is read before it is rendered: no SIGBUS if it is truncated."""
    code = (
        "import os, sys\n"
        "from mpmetrics import reader\n"
        "from mpmetrics.exposition import render\n"
        "from mpmetrics.negotiation import Encoding, Format\n"
        "looked = reader.look(sys.argv[1])\n"
        "os.truncate(sys.argv[1], 0)\n"
        "print(render(reader.StoreView(looked), Encoding(Format.TEXT)).decode())\n"
    )
    with (
        family(store, "fork", die=True),
        Program(["-c", code, str(store)], environment()) as program,
    ):
        text = program.finish()

    assert 'jobs_total{kind="all"} 13.0\n' in text


def test_used_store_is_no_copy(store):
    """What is used is looked at as it is: numbers that move are seen, and no cell is torn."""
    with family(store, "fork"):
        code = "import sys\nfrom mpmetrics import reader\nprint(reader.look(sys.argv[1]).path)\n"
        with Program(["-c", code, str(store)], environment()) as program:
            assert f"{store}\n" == program.finish()
