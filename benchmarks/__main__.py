"""The command: `python -m benchmarks [--quick] [--json FILE] [--only CONCERN]`."""

import argparse
import dataclasses
import json
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from . import child, machine, memory, scrape, series, update
from .settings import QUICK, Settings
from .table import Row, markdown

CONCERNS: dict[str, tuple[str, Callable[[Settings], list[Row]]]] = {
    update.SECTION: ("One update, net of the loop", update.rows),
    series.SECTION: ("Making a label set", series.rows),
    scrape.SECTION: ("One scrape", scrape.rows),
    memory.SECTION: ("Memory per label set, one process", memory.rows),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the machine and a table for each concern; 1 if a library failed or miscounted."""
    options = _parser().parse_args(arguments)
    settings = QUICK if options.quick else Settings()
    if options.runs:
        settings = dataclasses.replace(settings, runs=options.runs, slow_runs=options.runs)
    facts = machine.facts()
    _print_head(facts, settings, options.quick)
    rows: list[Row] = []
    for name, (title, measure) in CONCERNS.items():
        if options.only not in (None, name):
            continue
        print(f"measuring: {name}", file=sys.stderr, flush=True)
        try:
            found = measure(settings)
        except (child.MeasurementFailed, scrape.OutputsDiffer) as error:
            print(f"benchmarks: {name}: {error}", file=sys.stderr)
            return 1
        print(f"\n## {title}\n\n{markdown(found)}", flush=True)
        rows += found
    if options.json is not None:
        options.json.write_text(_json(facts, settings, options.quick, rows))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="mpmetrics beside prometheus_client in both its modes, in one run.",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a few seconds; shows that it runs, its figures mean nothing",
    )
    parser.add_argument("--only", choices=list(CONCERNS), help="one concern instead of all")
    parser.add_argument(
        "--runs", type=int, help="fresh processes per figure (6, of series and scrapes 3)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    return parser


def _print_head(facts: dict[str, str], settings: Settings, quick: bool) -> None:
    for name, value in facts.items():
        print(f"{name + ':':<19} {value}")
    print(
        f"{'settings:':<19} "
        + ", ".join(f"{k}={v}" for k, v in dataclasses.asdict(settings).items()),
        flush=True,
    )
    if quick:
        print("\n--quick: this shows that the benchmarks run. Don't quote its figures.")


def _json(facts: dict[str, str], settings: Settings, quick: bool, rows: list[Row]) -> str:
    return (
        json.dumps(
            {
                "machine": facts,
                "quick": quick,
                "settings": dataclasses.asdict(settings),
                "rows": [{**dataclasses.asdict(row), "ratios": row.ratios()} for row in rows],
            },
            indent=2,
        )
        + "\n"
    )


if __name__ == "__main__":
    # As Ctrl-C: children are ended and temporary folders removed on the way out.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    sys.exit(main())
