"""gunicorn: every worker's page shows what all of them counted, also after one was killed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from tests.servers import driver, models

pytestmark = pytest.mark.slow

BY_ROOT = {name: model for name, model in models.GUNICORN.items() if "--user" in model.command}
OTHERS = {name: model for name, model in models.GUNICORN.items() if name not in BY_ROOT}


@pytest.mark.parametrize("model", OTHERS.values(), ids=OTHERS)
def test_exact(model, tmp_path, proved):
    """300 requests are 300 on the page of each worker; 100 after a SIGKILL make 400."""
    driver.need("gunicorn")
    if "uvicorn_worker" in model.command:
        pytest.importorskip("uvicorn_worker", reason="pip install '.[servers]'")
    proved(driver.prove(model, tmp_path))


@pytest.mark.parametrize("model", BY_ROOT.values(), ids=BY_ROOT)
def test_exact_as_another_user(model, proved):
    """So they are where root starts the server, and its workers are of another user."""
    driver.need("gunicorn")
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # pytest's own folders are for root alone
        proved(driver.prove(model, Path(folder)))
