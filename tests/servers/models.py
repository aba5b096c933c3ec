"""Every server and pool that is tried, as docs/servers.md says how to start it."""

from __future__ import annotations

import signal

from tests.servers.driver import Model

# gunicorn 27's control socket has one path for a user; two runs of the tests would meet there.
G = "gunicorn --no-control-socket --bind 127.0.0.1:8000 --workers 2"

# This Python may lie where only root can read: what the workers import is imported before.
IMPORTS = "import gunicorn.workers.sync, mpmetrics.endpoints, wsgiref.simple_server\n"


def by_program(imports: str, serve: str, *, replaces: bool = True) -> Model:
    """A server that a program of one's own starts, which names the store first."""
    lines = ["import mpmetrics", imports, "", "if __name__ == '__main__':"]
    lines += ["    mpmetrics.Store('/dev/shm/shop')", f"    {serve}", ""]
    return Model("python serve.py", replaces=replaces, files={"serve.py": "\n".join(lines)})


GUNICORN = {
    "gunicorn sync": Model(f"mpmetrics run -- {G} app:wsgi"),
    "gunicorn gthread": Model(f"mpmetrics run -- {G} --threads 2 app:wsgi"),
    "gunicorn uvicorn worker": Model(
        f"mpmetrics run -- {G} -k uvicorn_worker.UvicornWorker app:asgi"
    ),
    "gunicorn sync, preload": Model(f"{G} --preload app:wsgi"),
    "gunicorn gthread, preload": Model(f"{G} --preload --threads 2 app:wsgi"),
    "gunicorn uvicorn worker, preload": Model(
        f"{G} --preload -k uvicorn_worker.UvicornWorker app:asgi"
    ),
    "gunicorn, max_requests": Model(f"mpmetrics run -- {G} --max-requests 40 app:wsgi"),
    "gunicorn, max_requests, preload": Model(f"{G} --preload --max-requests 40 app:wsgi"),
    # The new application declares a histogram with other buckets.
    "gunicorn, HUP": Model(f"mpmetrics run -- {G} app:wsgi"),
    "gunicorn, by a variable": Model(f"MPMETRICS_STORE=/dev/shm/shop {G} app:wsgi"),
    "gunicorn, by its configuration": Model(
        f"{G} app:wsgi",
        files={"gunicorn.conf.py": 'import mpmetrics\n\nmpmetrics.Store("/dev/shm/shop")\n'},
    ),
    # Both as root, which starts the workers as nobody.
    "gunicorn as another user, preload": Model(
        f"{G} --user nobody --group 65534 --preload app:wsgi"
    ),
    "gunicorn as another user": Model(
        f"mpmetrics run --user nobody -- {G} --user nobody --group 65534 app:wsgi",
        files={"gunicorn.conf.py": IMPORTS},
    ),
}
UVICORN = {
    "uvicorn": Model("mpmetrics run -- uvicorn --port 8000 --workers 2 app:asgi"),
    "uvicorn, by a program": by_program(
        "import uvicorn",
        # The timeout: see driver.command_of.
        'uvicorn.run("app:asgi", port=8000, workers=2, timeout_worker_healthcheck=15)',
    ),
}
HYPERCORN = {
    "hypercorn": Model(
        "mpmetrics run -- hypercorn --bind 127.0.0.1:8000 --workers 2 app:asgi", replaces=False
    ),
    "hypercorn, by a program": by_program(
        "from hypercorn.config import Config\nfrom hypercorn.run import run",
        'run(Config.from_mapping(application_path="app:asgi", bind="127.0.0.1:8000", workers=2))',
        replaces=False,
    ),
}
GR = "granian --port 8000 --workers 2"
GRANIAN = {
    "granian asgi": Model(f"mpmetrics run -- {GR} --interface asgi app:asgi", replaces=False),
    "granian wsgi": Model(f"mpmetrics run -- {GR} --interface wsgi app:wsgi", replaces=False),
    "granian, respawning": Model(
        f"mpmetrics run -- {GR} --respawn-failed-workers --interface wsgi app:wsgi"
    ),
    "granian, by a program": by_program(
        "from granian import Granian",
        'Granian("app:wsgi", port=8000, interface="wsgi", workers=2, '
        "respawn_failed_workers=True).serve()",
    ),
}
U = "uwsgi --http-socket 127.0.0.1:8000 --master --processes 2 --enable-threads"
UWSGI_INI = """\
[uwsgi]
http-socket = 127.0.0.1:8000
master = true
processes = 2
enable-threads = true
lazy-apps = true
env = MPMETRICS_STORE=/dev/shm/shop
module = app:wsgi
"""
UWSGI = {
    "uWSGI": Model(f"{U} --module app:wsgi", stop=signal.SIGINT),
    "uWSGI, lazy-apps": Model(
        f"mpmetrics run -- {U} --lazy-apps --module app:wsgi", stop=signal.SIGQUIT
    ),
    "uWSGI, lazy-apps, by its configuration": Model(
        "uwsgi --ini uwsgi.ini", stop=signal.SIGQUIT, files={"uwsgi.ini": UWSGI_INI}
    ),
}

# The metrics' module is imported by the main process too, so the children find its store.
C = "celery -A tasks worker --concurrency 2 --without-mingle --without-gossip"
CELERY = {
    "Celery prefork": Model(C),
    "Celery spawn": Model(C, variables={"TASKS_START_METHOD": "spawn"}),
    "Celery prefork, maxtasksperchild": Model(f"{C} --max-tasks-per-child 40"),
    "Celery --detach": Model(
        f"MPMETRICS_STORE=/dev/shm/shop {C} --detach --pidfile worker.pid --logfile log"
    ),
}
POOLS = {
    f"{kind}, {method}": Model(f"{call}")
    for kind, call in {
        "Process": "Process(target=…)",
        "Pool": "Pool(2)",
        "ProcessPoolExecutor": "ProcessPoolExecutor(2, mp_context=…)",
    }.items()
    for method in ("fork", "forkserver", "spawn")
}
LOKY = {
    "joblib": Model("Parallel(n_jobs=2)(delayed(work)() …)"),
    "loky": Model("get_reusable_executor(max_workers=2)"),
}

FAMILIES = {
    "gunicorn": GUNICORN,
    "uvicorn": UVICORN,
    "hypercorn": HYPERCORN,
    "granian": GRANIAN,
    "uwsgi": UWSGI,
    "celery": CELERY,
    "multiprocessing": POOLS,
    "joblib": LOKY,
}
