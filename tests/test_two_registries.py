"""Registries beside the default one, in several processes, and those of batch jobs."""

from __future__ import annotations

from typing import Any

import pytest
from tests.programs import run

pytestmark = pytest.mark.usefixtures("nothing_left")

WORKERS = 4


@pytest.fixture(scope="module", params=["fork", "spawn"])
def served(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What four workers show of three registries, each on a port of each worker."""
    outcome: dict[str, Any] = run("tests.plays.registries:served", request.param, WORKERS)
    return outcome


def page(which: str, number: int) -> dict[str, float]:
    return {
        'shared_total{who="worker 0"}': 2.0 * 10**number,
        'shared_total{who="worker 1"}': 2.0 * 10**number,
        f'own_{which}_bucket{{le="1.0"}}': 0.0 if number == 2 else 4.0,
        f'own_{which}_bucket{{le="+Inf"}}': 4.0,
        f"own_{which}_count": 4.0,
        f"own_{which}_sum": 4.0 * number,
    }


def test_each_shows_its_own(served):
    """Each registry shows its own families alone, and every worker the totals of all workers."""
    assert {
        "default": page("default", 0),
        # Declared since by one worker, in one registry.
        "named": page("named", 1) | {"late": 5.0, "build_info": 1.0},
        "unnamed": page("unnamed", 2),
    } == served["pages"]


def test_filters(served):
    """name[] finds a registry's own samples in every worker, also of what another one declared."""
    shared = ['shared_total{who="worker 0"}', 'shared_total{who="worker 1"}']
    assert {
        "default shared_total": shared,
        "named shared_total": shared,
        "unnamed shared_total": shared,
        "default own_named_count late": [],
        "named own_named_count late": ["late", "own_named_count"],
        "unnamed own_named_count late": [],
        "default late": [],
        "named late": ["late"],
        "unnamed late": [],
        "default own_unnamed_sum shared_total": shared,
        "named own_unnamed_sum shared_total": shared,
        "unnamed own_unnamed_sum shared_total": ["own_unnamed_sum", *shared],
        "default nothing": [],
        "named nothing": [],
        "unnamed nothing": [],
    } == served["filtered"]


@pytest.fixture(scope="module")
def jobs() -> dict[str, Any]:
    outcome: dict[str, Any] = run("tests.plays.registries:batch", 100, 10_000)
    return outcome


@pytest.mark.slow
def test_job_is_pushed(jobs):
    """push_to_gateway by prometheus_client sends the job's own numbers."""
    body = jobs["body"]

    assert "last 9999.0" in body
    assert 'rows_total{table="a"} 9999.0' in body
    assert "took_count 1.0" in body
    assert 'job_info{number="9999"} 1.0' in body
    assert 'state{state="b"} 1.0' in body
    assert "live 1.0" in body
    assert not [line for line in body if "shared" in line]
    assert [] == jobs["default"]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["used_bytes", "series", "blocks", "file_bytes"])
def test_jobs_leave_nothing_in_the_store(jobs, what):
    """10,000 registries, made, filled, pushed and dropped, leave as much in the store as 100."""
    few, many = jobs["measured"]

    assert few[what] == many[what]
    assert 0 == jobs["families"]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["objects", "memory"])
def test_jobs_leave_nothing_in_python(jobs, what):
    """Nor do they leave objects in the process, or blocks of its memory."""
    few, many = jobs["measured"]

    assert many[what] - few[what] < 500


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_jobs_of_the_dead(method):
    """What jobs of processes that end, or are killed, declared goes with the next process."""
    outcome = run("tests.plays.registries:batch_in_workers", method, 5)

    for before, after in outcome.values():
        assert before == after
