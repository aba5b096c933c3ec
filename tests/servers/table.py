"""The table of models in docs/servers.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.servers import models

PAGE = Path(__file__).resolve().parents[2] / "docs" / "servers.md"
BEGIN, END = "<!-- made by tests/servers -->\n", "<!-- end -->\n"
HEADER = "| model | started by | counted |\n|---|---|---|\n"

MODELS = {row: model for family in models.FAMILIES.values() for row, model in family.items()}


def filled(text: str, results: Mapping[str, str]) -> str:
    """The page with its table made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    rows = [
        f"| {row} | `{MODELS[row].command}` | {results.get(row, 'not run')} |\n" for row in MODELS
    ]
    return before + BEGIN + HEADER + "".join(rows) + END + after


def read(text: str) -> dict[str, list[str]]:
    """The cells of each row of the page's table."""
    table = text.partition(BEGIN)[2].partition(END)[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return {row[0]: row[1:] for row in cells}
