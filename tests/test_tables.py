"""Tables in docs/ name what is tried, as the tests start it, and nothing else."""

from __future__ import annotations

import pytest
from tests.frameworks.table import TABLE as LIBRARIES
from tests.servers.table import TABLE as SERVERS

TABLES = pytest.mark.parametrize("table", [SERVERS, LIBRARIES], ids=lambda table: table.made_by)


@TABLES
def test_rows(table):
    """The table has one row for each model, started as the test starts it."""
    rows = table.read(table.page.read_text())

    assert [f"`{command}`" for command in table.commands.values()] == [
        row[0] for row in rows.values()
    ]
    assert list(table.commands) == list(rows)


@TABLES
def test_every_row_was_run(table):
    """Each row says what a run has shown."""
    rows = table.read(table.page.read_text())

    assert [] == [name for name, cells in rows.items() if " of " not in cells[-1]]


@TABLES
def test_filled_is_stable(table):
    """Written with what it says, the page stays as it is."""
    text = table.page.read_text()
    results = {name: cells[-1] for name, cells in table.read(text).items()}

    assert text == table.filled(text, results)
