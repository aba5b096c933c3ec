"""What the application of today tells gunicorn: the folder is wiped, the dead are marked."""

import os
import shutil

from prometheus_client import multiprocess


def on_starting(server):
    folder = os.environ["PROMETHEUS_MULTIPROC_DIR"]
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)


def child_exit(server, worker):
    multiprocess.mark_process_dead(worker.pid)
