"""Debian's VictoriaMetrics scrapes a program of several processes, and answers queries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from examples.rig.processes import wait_for
from tests.programs import Program, environment
from tests.readers.expected import expected
from tests.readers.servers import PATIENCE, VictoriaMetrics, need

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]

# A query, and which of our samples it gives.
QUERIES = {
    'crew_jobs_total{outcome="ok"}': 'crew_jobs_total{outcome="ok"}',
    "crew_level": "crew_level",
    "crew_size_sum": "crew_size_sum",
    'crew_seconds_bucket{le="+Inf"}': 'crew_seconds_bucket{le="+Inf"}',
    'crew_phase{crew_phase="busy"}': 'crew_phase{crew_phase="busy"}',
    "crew_late_total": "crew_late_total",
}


def test_answers(tmp_path: Path) -> None:
    """What it scrapes is the total of all processes, and so is what they count later."""
    need(VictoriaMetrics.program)
    with Program(["-m", "tests.readers.serving", "spawn"], environment()) as program:
        port = json.loads(program.read_line())["ours"]["default"]
        with VictoriaMetrics(tmp_path, f"127.0.0.1:{port}") as victoria:

            def answers() -> dict[str, float]:
                return {query: value for query in QUERIES for _, value in victoria.ask(query)}

            def assert_answers(workers: int) -> None:
                truth = expected("default", workers)
                wanted = {query: truth[sample] for query, sample in QUERIES.items()}
                assert wanted == wait_for(answers, wanted, PATIENCE, every=0.2)

            assert_answers(2)
            program.say("")
            assert "counted" == program.read_line()
            assert_answers(3)
        program.finish()
