"""uwsgi: every worker's page shows what all of them counted, also after one was killed."""

from __future__ import annotations

import pytest
from tests.servers import driver, models

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("model", models.UWSGI.values(), ids=models.UWSGI)
def test_exact(model, tmp_path, proved):
    """300 requests are 300 on the page of each worker; 100 after a SIGKILL make 400."""
    driver.need("uwsgi")
    proved(driver.prove(model, tmp_path))
