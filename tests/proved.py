"""A row of the table in docs/guarantees.md: what a long run has seen.

python tests/proved.py NAME ROW SEEN COMMAND    writes build/proof/NAME.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "build" / "proof"


def note(name: str, row: str, seen: str, command: str) -> None:
    """Puts the row in the place of what the last run of that name saw."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"row": row, "seen": seen, "command": command}, indent=2)
    (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    note(*sys.argv[1:])
