"""The table of models in docs/servers.md."""

from __future__ import annotations

from tests.programs import ROOT
from tests.servers import models
from tests.tables import Table

TABLE = Table(
    ROOT / "docs" / "servers.md",
    "tests/servers",
    ("model", "started by", "counted"),
    {row: model.command for family in models.FAMILIES.values() for row, model in family.items()},
)
