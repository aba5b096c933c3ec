"""What a store is made of is missing: descriptors, /proc. A declaration works all the same."""

from __future__ import annotations

import pytest
from tests.programs import Program, environment, mounts, run

pytestmark = pytest.mark.usefixtures("nothing_left")

EXPECTED = {'jobs_total{a="1"}': 2.0, 'jobs_total{a="2"}': 1.0}


def test_no_descriptor():
    """At RLIMIT_NOFILE a process and its forks share a store without a file; one line says so."""
    outcome = run("tests.plays.scarce:declared")

    assert (EXPECTED, None) == (outcome["page"], outcome["path"])
    (line,) = outcome["log"]
    assert line.startswith("no descriptor for a store can be had, so it does without: ")


def test_no_descriptor_for_a_named_store(store):
    """Where the store was named, another line says why that one isn't used."""
    outcome = run("tests.plays.scarce:declared", store=store)

    assert (EXPECTED, None) == (outcome["page"], outcome["path"])
    why, without = outcome["log"]
    assert why.startswith("counting by itself, since MPMETRICS_STORE can't be used: ")
    assert without.startswith("no descriptor for a store can be had, so it does without: ")


def test_no_proc():
    """Without /proc, as in some chroots, a process and its forks have a store."""
    code = """\
import os
from mpmetrics import Counter, generate_latest
JOBS = Counter("jobs", "h")
if os.fork() == 0:
    JOBS.inc()
    os._exit(0)
os.wait()
print(*[line for line in generate_latest().decode().splitlines() if line.startswith("jobs_total")])
"""
    with Program(
        ["-c", code],
        environment(),
        prefix=mounts("mount -t tmpfs tmpfs /dev/shm && umount -l /proc"),
    ) as program:
        assert "jobs_total 1.0" == program.read_line()
        assert "" == program.finish()
