"""The application's work as Celery tasks; the broker and the results are folders.

kombu's file broker opens a message's file in the very folder that a worker takes messages from, and
writes it then: a worker that is faster reads half a message, and ends with a JSONDecodeError. Here
each process writes in a folder of its own and moves what is whole.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import app
from celery import Celery
from kombu.transport import TRANSPORT_ALIASES, filesystem

FOLDER = os.environ["TASKS_FOLDER"]
QUEUE = f"{FOLDER}/queue"
_putting = threading.Lock()


class Channel(filesystem.Channel):
    @property
    def data_folder_out(self) -> str:
        folder = f"{FOLDER}/written/{os.getpid()}"
        os.makedirs(folder, exist_ok=True)
        return folder

    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:
        with _putting:
            super()._put(queue, payload, **kwargs)
            for name in os.listdir(self.data_folder_out):
                os.rename(f"{self.data_folder_out}/{name}", f"{QUEUE}/{name}")


class Transport(filesystem.Transport):
    Channel = Channel


TRANSPORT_ALIASES["filesystem"] = "tasks:Transport"

celery = Celery("tasks", broker="filesystem://", backend=f"file://{FOLDER}/results")
celery.conf.update(
    broker_transport_options={
        "data_folder_in": QUEUE,
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
