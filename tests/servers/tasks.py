"""The application's work as Celery tasks; the broker and the results are folders."""

from __future__ import annotations

import os
import signal
import time

import app
from celery import Celery

FOLDER = os.environ["TASKS_FOLDER"]

celery = Celery("tasks", broker="filesystem://", backend=f"file://{FOLDER}/results")
celery.conf.update(
    broker_transport_options={
        "data_folder_in": f"{FOLDER}/queue",
        "data_folder_out": f"{FOLDER}/queue",
        "control_folder": f"{FOLDER}/control",
        "polling_interval": 0.05,
    },
    worker_prefetch_multiplier=1,
    worker_lost_wait=0.5,  # not 10 s, for the task that kills its process
    worker_pool_start_method=os.environ.get("TASKS_START_METHOD", "fork"),
)


@celery.task
def work() -> int:
    return app.work()


@celery.task
def end() -> None:
    """Kills its process: between tasks, it could hold the pool's own lock."""
    os.kill(os.getpid(), signal.SIGKILL)


@celery.task
def page() -> tuple[int, str]:
    time.sleep(0.05)
    return app.page()
