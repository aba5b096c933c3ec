"""Debian's Pushgateway is pushed what all processes counted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.programs import Program, environment, run
from tests.readers.expected import expected, shown
from tests.readers.servers import Pushgateway

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]

READING = "tests.readers.reading:"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Pushgateway]:
    with Pushgateway(tmp_path) as running:
        yield running


@pytest.mark.parametrize("patched", [False, True], ids=["theirs", "patched"])
def test_push(gateway: Pushgateway, method: str, patched: bool) -> None:
    """Each registry is pushed with the totals of all processes, plain and compressed.

    By prometheus_client's own functions, and with our renderer in its place."""
    run(READING + "push_all", method, gateway.url, patched)
    page = gateway.page()

    for which in ("default", "named"):
        for how in ("plain", "gzip"):
            job = f"{which} {how}"
            assert expected(which, job=job, instance="") == shown(page, f'job="{job}"')


def test_push_by_a_process_that_declared_nothing(gateway: Pushgateway, store: Path) -> None:
    """Who only names the registry pushes all that others declared in it, or the names asked for."""
    crew = "from tests.readers import crew; crew.count('fork'); print(flush=True); input()"
    with Program(["-c", crew], environment(store)) as counting:
        counting.read_line()
        run("tests.readers.stranger:push", gateway.url, store=store)
        counting.say("")
        counting.finish()
    page = gateway.page()

    whole = expected("named", job="whole", instance="")
    assert whole == shown(page, 'job="whole"')
    assert {'crew_late_total{instance="",job="restricted"}': 6.0} == shown(page, 'job="restricted"')


def test_push_add_and_delete(gateway: Pushgateway) -> None:
    """Adding replaces families of the same name, pushing the whole group, deleting ends it."""
    first, added, pushed, deleted = run(READING + "push_add_delete", "fork", gateway.url)

    labels = {"job": "job", "instance": "", "shift": "night"}
    crew = expected("named", **labels)
    other = {'crew_other_total{instance="",job="job",shift="night"}': 7.0}
    assert crew == shown(first)
    assert crew | other == shown(added)
    assert other == shown(pushed)
    assert {} == shown(deleted)
