"""Debian's node exporter shows what write_to_textfile wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
from examples.rig import page as pages
from tests.programs import run
from tests.readers.expected import expected, shown
from tests.readers.servers import NodeExporter

READING = "tests.readers.reading:write"

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]


@pytest.mark.parametrize("patched", [False, True], ids=["theirs", "patched"])
def test_written(tmp_path: Path, method: str, patched: bool) -> None:
    """The textfile collector reads the file, and shows the totals of all processes."""
    folders = {which: tmp_path / which for which in ("default", "named")}
    for folder in folders.values():
        folder.mkdir()
    run(READING, method, {which: str(folder) for which, folder in folders.items()}, patched)

    for which, folder in folders.items():
        with NodeExporter(folder) as exporter:
            page = exporter.page()
        assert 0 == pages.read(page)["node_textfile_scrape_error"]
        assert expected(which) == shown(page)
