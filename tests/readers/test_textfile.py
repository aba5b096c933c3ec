"""Debian's node exporter shows what write_to_textfile wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
from examples.rig import page as pages
from tests.programs import run
from tests.readers.expected import expected, shown
from tests.readers.servers import NodeExporter

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]


@pytest.mark.parametrize("patched", [False, True], ids=["theirs", "patched"])
@pytest.mark.parametrize("which", ["default", "named"])
def test_written(tmp_path: Path, method: str, which: str, patched: bool) -> None:
    """The textfile collector reads the file, and shows the totals of all processes."""
    run("tests.readers.reading:write", method, str(tmp_path), patched)
    # Both registries have families of one name: the exporter is given one file.
    for file in tmp_path.glob("*.prom"):
        if file.stem != which:
            file.unlink()
    with NodeExporter(tmp_path) as exporter:
        page = exporter.page()

    assert 0 == pages.read(page)["node_textfile_scrape_error"]
    assert expected(which) == shown(page)
