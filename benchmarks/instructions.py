"""Instructions of one update, counted by valgrind: a figure without noise.

`python -m benchmarks.instructions` runs each statement under callgrind in loops of two lengths;
the difference, divided by that of the lengths and less that of `pass`, is the cost of one call.
It includes the interpreter's own instructions for the call. It says nothing about caches.
"""

import argparse
import itertools
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from timeit import Timer
from typing import Any

from . import child, machine
from .contenders import ALL, Contender, Library
from .table import Row, markdown
from .update import UPDATES

CONCERN = "instructions"
SHORT, LONG = 1_000, 6_000
_STATEMENTS = (
    "counter.inc()",
    "child.inc(), child kept",
    "gauge.set(1.5)",
    "histogram.observe(.3)",
)


def measure(library: Library, request: Mapping[str, Any], store: Path) -> None:
    """Run in the child, under valgrind: the loop and nothing else that depends on its length."""
    update = next((u for u in UPDATES if u.name == request["name"]), None)
    if update is None:
        Timer("pass").timeit(request["loops"])
        return
    metric = library.metric(update.kind, "bench", update.labels, library.registry())
    if update.child:
        metric = metric.labels(*update.child)
    Timer(update.statement, "metric = target", globals={"target": metric}).timeit(request["loops"])


def count(contender: Contender, name: str) -> float:
    """Instructions of one turn of the loop."""
    short, long = (_collected(contender, name, loops) for loops in (SHORT, LONG))
    return (long - short) / (LONG - SHORT)


def _collected(contender: Contender, name: str, loops: int) -> int:
    with tempfile.TemporaryDirectory(prefix="mpmetrics-bench-") as folder:
        out = Path(folder) / "callgrind.out"
        prefix = ("valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={out}")
        child.run(
            contender,
            CONCERN,
            {"name": name, "loops": loops},
            prefix=prefix,
            variables={"PYTHONHASHSEED": "0"},
        )
        totals = re.findall(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE)
        return int(totals[-1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the machine and a table; some three minutes."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.instructions", description=__doc__.partition("\n")[0]
    )
    parser.add_argument(
        "--contender",
        choices=[c.title for c in ALL],
        help="one library instead of all, to compare two builds of it",
    )
    only = parser.parse_args(arguments).contender
    for fact, value in machine.facts().items():
        print(f"{fact + ':':<19} {value}")
    chosen = [c for c in ALL if only in (None, c.title)]
    counts = {
        (c, name): count(c, name) for c, name in itertools.product(chosen, ("pass", *_STATEMENTS))
    }
    rows = [
        Row(
            CONCERN,
            name,
            "instructions",
            tuple(counts[c, name] - counts[c, "pass"] if c in chosen else None for c in ALL),
        )
        for name in _STATEMENTS
    ]
    print(f"\n{markdown(rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
