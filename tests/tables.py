"""Tables in docs/ that a run of the tests fills: a row for each model, and what was seen of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_END = "<!-- end -->\n"


@dataclass(frozen=True)
class Table:
    """One table: where it stands, and how each row's model is started."""

    page: Path
    made_by: str  # the folder of tests
    heads: tuple[str, str, str]
    commands: Mapping[str, str]
    proved: dict[str, str] = field(default_factory=dict)  # by this run

    @property
    def _begin(self) -> str:
        return f"<!-- made by {self.made_by} -->\n"

    def filled(self, text: str, results: Mapping[str, str]) -> str:
        """The page with the table made anew."""
        before, _, rest = text.partition(self._begin)
        _, _, after = rest.partition(_END)
        rows = [
            f"| {row} | `{command}` | {results.get(row, 'not run')} |\n"
            for row, command in self.commands.items()
        ]
        head = f"| {' | '.join(self.heads)} |\n|---|---|---|\n"
        return before + self._begin + head + "".join(rows) + _END + after

    def read(self, text: str) -> dict[str, list[str]]:
        """The cells of each row of the page's table."""
        table = text.partition(self._begin)[2].partition(_END)[0].splitlines()[2:]
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
        return {row[0]: row[1:] for row in cells}

    def write(self) -> None:
        """Puts what this run has proved into the page, if it has."""
        if self.proved:
            text = self.page.read_text()
            known = {row: cells[-1] for row, cells in self.read(text).items()}
            self.page.write_text(self.filled(text, {**known, **self.proved}))
