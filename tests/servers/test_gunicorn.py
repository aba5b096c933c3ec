"""gunicorn: every worker's page shows what all of them counted, also after one was killed."""

from __future__ import annotations

import os
import signal

import pytest
from examples.rig import page as pages
from tests.programs import need_root, readable_folder
from tests.servers import driver, models

pytestmark = pytest.mark.slow

RELOADED = "gunicorn, HUP"
BY_ROOT = {name: model for name, model in models.GUNICORN.items() if "--user" in model.command}
OTHERS = {
    name: model
    for name, model in models.GUNICORN.items()
    if name not in BY_ROOT and name != RELOADED
}


@pytest.mark.parametrize("model", OTHERS.values(), ids=OTHERS)
def test_exact(model, tmp_path, proved):
    """300 requests are 300 on the page of each worker; 100 after a SIGKILL make 400."""
    driver.need("gunicorn")
    if "uvicorn_worker" in model.command:
        pytest.importorskip("uvicorn_worker", reason="pip install '.[servers]'")
    proved(driver.prove(model, tmp_path))


def hup(served: driver.Served, old: set[int]) -> None:
    """The server's workers are of another version of the application from now on."""
    app = served.folder / "app.py"
    app.write_text(app.read_text().replace("buckets=(0.2, 0.5)", "buckets=(0.1, 0.3, 0.5)"))
    os.kill(served.child.pid, signal.SIGHUP)
    gone = driver.wait_until(lambda: not any(map(driver.alive, old)), driver.PATIENCE)
    assert gone, served.child.last_words()
    served.settle()


@pytest.mark.parametrize("model", [models.GUNICORN[RELOADED]], ids=[RELOADED])
def test_exact_after_hup(model, tmp_path, proved):
    """300 requests, HUP with other declarations, 100 more: what both versions declare has 400."""
    driver.need("gunicorn")
    total = driver.FIRST + driver.LATER
    seconds = {'seconds_bucket{le="0.1"}': 0.0}
    seconds |= {
        f'seconds_bucket{{le="{le}"}}': float(driver.LATER) for le in ("0.3", "0.5", "+Inf")
    }
    seconds |= {"seconds_count": float(driver.LATER), "seconds_sum": 0.25 * driver.LATER}
    with driver.serving(model, tmp_path) as served:
        old = served.work_by_two(driver.FIRST)
        for pid, text in served.pages().items():
            driver.assert_true(driver.FIRST, pid, text)
        hup(served, old)
        new = served.work_by_two(driver.LATER)
        assert old.isdisjoint(new)
        for text in served.pages().values():
            values = pages.read(text)
            assert {"requests_total": total, "level": 2.0 * total} == {
                name: values[name] for name in ("requests_total", "level")
            }
            assert seconds == {
                name: value
                for name, value in values.items()
                if name.startswith("seconds_") and name != "seconds_created"
            }
    proved(f"{driver.FIRST} of {driver.FIRST}, then {total} of {total}; the histogram 100 of 100")


@pytest.mark.parametrize("model", BY_ROOT.values(), ids=BY_ROOT)
def test_exact_as_another_user(model, proved):
    """So they are where root starts the server, and its workers are of another user."""
    driver.need("gunicorn")
    need_root()
    with readable_folder() as folder:
        proved(driver.prove(model, folder))
