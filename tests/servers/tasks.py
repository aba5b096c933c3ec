"""The application's work as Celery tasks; the broker and the results are folders."""

from __future__ import annotations

import os
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
    worker_pool_start_method=os.environ.get("TASKS_START_METHOD", "fork"),
)


@celery.task
def work() -> int:
    return app.work()


@celery.task
def page() -> tuple[int, str]:
    time.sleep(0.05)
    return app.page()
