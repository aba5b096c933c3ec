"""WSGI libraries under gunicorn, unmodified, by `mpmetrics run`: exact over two workers."""

from __future__ import annotations

import pytest
from tests.frameworks.libraries import WSGI
from tests.frameworks.proof import prove

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", WSGI)
def test_exact(name, tmp_path):
    """40 requests are 40 on every worker's page; 20 after a SIGKILL make 60.

    So they are on the page of `run --listen`; Info, Enum and exemplars are there. With the settings
    for prometheus_client's multi-process mode nothing is written to the folder."""
    prove(name, WSGI[name], tmp_path)
