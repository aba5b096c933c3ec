"""A row of the table in docs/guarantees.md: what a long run has seen.

python tests/proved.py NAME ROW SEEN COMMAND    writes build/proof/NAME.json

`make crash` and its like set MPM_PROOF; then each of their tests that has a row writes it, and
`python docs/make_proof.py` puts the rows into the page.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "build" / "proof"


def note(name: str, row: str, seen: str, command: str) -> None:
    """Puts the row in the place of what the last run of that name saw."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"row": row, "seen": seen, "command": command}, indent=2)
    (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def record(name: str, *, row: str, seen: str, command: str) -> None:
    """The same, from a test: only of a run that is for the table, since others are shorter."""
    if os.environ.get("MPM_PROOF"):
        note(name, row, seen, command)


if __name__ == "__main__":
    note(*sys.argv[1:])
