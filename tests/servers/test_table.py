"""docs/servers.md names what is tried here, and nothing else."""

from __future__ import annotations

from tests.servers.table import MODELS, PAGE, filled, read


def test_rows():
    """The table has one row for each model, started as the test starts it."""
    rows = read(PAGE.read_text())

    assert [f"`{model.command}`" for model in MODELS.values()] == [row[0] for row in rows.values()]
    assert list(MODELS) == list(rows)


def test_every_row_was_run():
    """Each row says what a run has shown."""
    rows = read(PAGE.read_text())

    assert [] == [name for name, cells in rows.items() if " of " not in cells[-1]]


def test_filled_is_stable():
    """Written with what it says, the page stays as it is."""
    text = PAGE.read_text()
    results = {name: cells[-1] for name, cells in read(text).items()}

    assert text == filled(text, results)
