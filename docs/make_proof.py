"""Puts what the long runs have shown into the table of docs/guarantees.md.

    make crash mutants models        # leave what they saw in build/proof/NAME.json
    python docs/make_proof.py        # puts that into the row NAME; the other rows stay

A result has three texts: `row`, what was done; `seen`; and `command`, which shows it again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "guarantees.md"
RESULTS = ROOT / "build" / "proof"
BEGIN, END = "<!-- made by docs/make_proof.py -->\n", "<!-- end -->\n"
HEADER = "| run | what | seen | command |\n|---|---|---|---|\n"

Row = tuple[str, str, str]  # what, seen, command


def rows(page: str) -> dict[str, Row]:
    """The table as it stands in the page, by the run's name."""
    table = page.partition(BEGIN)[2].partition(END)[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return {name: (what, seen, command) for name, what, seen, command in cells}


def results() -> dict[str, Row]:
    """What the last runs left, by name."""
    found = {}
    for path in sorted(RESULTS.glob("*.json")):
        texts = json.loads(path.read_text(encoding="utf-8"))
        row = (texts["row"], texts["seen"], f"`{texts['command']}`")
        if any("|" in cell or "\n" in cell for cell in row):
            raise ValueError(f"{path}: a cell of a table has no | and no end of line")
        found[path.stem] = row
    return found


def filled(page: str, new: Mapping[str, Row]) -> str:
    """The page with these rows made anew, or added at the end."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise LookupError(f"{PAGE} has no place for the table")
    table = {**rows(page), **new}
    lines = [f"| {name} | {' | '.join(row)} |\n" for name, row in table.items()]
    return before + BEGIN + HEADER + "".join(lines) + END + after


def main() -> int:
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), results()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
