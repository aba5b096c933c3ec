"""The table of libraries in docs/libraries.md."""

from __future__ import annotations

from tests.frameworks.libraries import COMMANDS
from tests.programs import ROOT
from tests.tables import Table

TABLE = Table(
    ROOT / "docs" / "libraries.md",
    "tests/frameworks",
    ("library", "started by", "counted"),
    {row: f"mpmetrics run -- {command}" for row, command in COMMANDS.items()},
)
