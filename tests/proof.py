"""What a long run has shown, written down for the table in docs/guarantees.md.

`make crash`, `make mutants` and their like set MPM_PROOF; then each of their tests that has a row
leaves it in build/proof/NAME.json, and `python docs/make_proof.py` puts it into the page.
"""

from __future__ import annotations

import json
import os

from .programs import ROOT

FOLDER = ROOT / "build" / "proof"


def record(name: str, *, row: str, seen: str, command: str) -> None:
    """The row `name`: what was done, what was seen, and what to type to see it again."""
    if os.environ.get("MPM_PROOF"):
        FOLDER.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"row": row, "seen": seen, "command": command}, indent=4)
        (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")
