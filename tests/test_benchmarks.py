"""The benchmark command runs and prints every row. No time is asserted: machines differ."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

ROWS = {
    "update": [
        "an empty method: ",
        "counter.inc()",
        "child.inc(), child kept",
        "counter.labels('a', 'b').inc()",
        "counter.labels(method='a', code='b').inc()",
        "gauge.set(1.5)",
        "summary.observe(.3)",
        "histogram.observe(.3)",
        "with histogram.time(): pass",
    ],
    "series": [
        f"{kind}: {what}"
        for kind in ("Counter", "Histogram")
        for what in ("the 10th", "the 100th", "the 500th", "500 in all", "500 while another")
    ],
    "scrape": [
        f"{what}, {figure}"
        for what in ("3 processes x 20 histograms", "1 process x 200 counters")
        for figure in ("least", "median", "text")
    ],
    "memory": [
        f"{kind} child: {measure}"
        for kind in ("Counter", "Histogram")
        for measure in ("private pages", "by tracemalloc")
    ],
}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_quick_benchmarks_print_every_row(tmp_path: Path) -> None:
    """`python -m benchmarks --quick` exits 0, with a figure of ours in each row."""
    result = tmp_path / "result.json"
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--json", str(result)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )

    assert 0 == process.returncode, process.stderr
    found = json.loads(result.read_text())["rows"]
    for section, names in ROWS.items():
        for name in names:
            rows = [r for r in found if r["section"] == section and r["name"].startswith(name)]
            assert rows, f"{section}: no row {name!r}"
            assert rows[0]["values"][0] is not None, f"{section}: no figure in {name!r}"
            assert f"| {name}" in process.stdout
