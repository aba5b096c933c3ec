"""Instrumentation libraries, unmodified, under `mpmetrics run` and several workers: exact."""

from __future__ import annotations

import pytest
from tests.frameworks.libraries import LIBRARIES
from tests.frameworks.proof import need, prove

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)
def test_exact(library, tmp_path):
    """60 requests are 60 on every worker's page; 20 after a SIGKILL make 80.

    So they are on the page of `run --listen`; Info, Enum and exemplars are there. With the settings
    for the multi-process mode, nothing is written to the folder."""
    need(library.package)
    prove(library, tmp_path)
