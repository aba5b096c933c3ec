"""docs/frameworks.md: each configuration runs as it stands there, and every worker is right."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from examples.rig import page as pages
from examples.rig.processes import Child, wait_until
from tests.answering import Watched
from tests.guides.guide import FRAMEWORKS, guide
from tests.programs import Program
from tests.readers.servers import need as need_program
from tests.servers.driver import (
    PATIENCE,
    Model,
    command_of,
    free_port,
    need,
    serving,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]

ORDERS = 60
WEB = {
    "Flask": ("flask", "gunicorn"),
    "FastAPI": ("fastapi", "uvicorn"),
    "Starlette": ("starlette", "uvicorn"),
    "Django": ("django", "gunicorn"),
    "aiohttp": ("aiohttp", "gunicorn"),
}
QUEUES = {"Celery": ("celery", "celery"), "dramatiq": ("dramatiq", "dramatiq")}


def truth(orders: int) -> dict[str, float]:
    return {
        'orders_total{product="tea"}': float(orders),
        "order_seconds_count": float(orders),
        'order_seconds_bucket{le="+Inf"}': float(orders),
    }


def shown(text: str) -> dict[str, float]:
    """What a page says of the same."""
    page = pages.read(text)
    return {name: value for name, value in page.items() if name in truth(0)}


def installed(framework: str, program: str) -> None:
    """Skips a test whose framework, or program, isn't there."""
    need(program)
    if importlib.util.find_spec(framework) is None:
        pytest.skip(f"{framework} isn't installed: pip install '.[frameworks]'")


@pytest.mark.parametrize("framework", WEB)
def test_web(framework: str, tmp_path: Path) -> None:
    """60 orders by two workers or more are 60 on every worker's page."""
    installed(*WEB[framework])
    told = guide(FRAMEWORKS[framework])
    # gunicorn 27's control socket has one path for a user; two runs of the tests would meet there.
    variables = {"GUNICORN_CMD_ARGS": "--no-control-socket"}
    model = Model(told.command, files=told.files, variables=variables)
    with serving(model, tmp_path, Watched) as served:
        served.work_by_two(ORDERS)
        for worker, text in served.pages().items():
            assert truth(ORDERS) == shown(text), worker


# ---- queues --------------------------------------------------------------------------------------

# Beside the guide's tasks: each worker writes its own page, when it is asked to.
PAGE = """
import os, pathlib, time
import mpmetrics

def write(folder):
    time.sleep(0.05)  # so that the other worker gets a turn
    path = pathlib.Path(folder, str(os.getpid()))
    path.with_suffix(".new").write_bytes(mpmetrics.generate_latest())
    os.replace(path.with_suffix(".new"), path)
"""
TASK = {
    "Celery": "from tasks import app\nfrom page import write\n\nshow = app.task(write)\n",
    "dramatiq": "import tasks, dramatiq\nfrom page import write\n\nshow = dramatiq.actor(write)\n",
}
TOO = {"Celery": " worker --include pages ", "dramatiq": " tasks pages "}  # is loaded
SEND = {"Celery": "delay", "dramatiq": "send"}
CLIENT = """
import sys
import tasks, pages

for line in sys.stdin:
    module, task, count, argument = line.split()
    for _ in range(int(count)):
        getattr(getattr(sys.modules[module], task), "{send}")(argument)
    print("sent", flush=True)
"""


@contextmanager
def redis(folder: Path) -> Iterator[int]:
    """A Redis on a free port of loopback, that keeps nothing."""
    port = free_port()
    while "8000" in str(port):  # in a guide's files that would be the server's
        port = free_port()
    command = [need_program("redis-server"), "--port", str(port), "--bind", "127.0.0.1"]
    command += ["--save", "", "--appendonly", "no", "--dir", str(folder)]
    with Child(command, log=folder / "redis.log") as server:
        assert wait_until(lambda: "Ready to accept" in server.last_words(), PATIENCE)
        yield port


@pytest.mark.parametrize("framework", QUEUES)
def test_queue(framework: str, tmp_path: Path) -> None:
    """60 tasks by two workers are 60 on the page that is served, and on each worker's own."""
    installed(*QUEUES[framework])
    told = guide(FRAMEWORKS[framework])
    port, shows = free_port(), tmp_path / "shows"
    shows.mkdir()
    with redis(tmp_path) as broker:
        files = {
            **told.files,
            "page.py": PAGE,
            "pages.py": TASK[framework],
            "client.py": CLIENT.format(send=SEND[framework]),
        }
        for name, text in files.items():
            (tmp_path / name).write_text(
                text.replace("6379", str(broker)).replace("8000", str(port))
            )
        too = TOO[framework]
        command = told.command.replace(f" {too.split()[0]} ", too)
        words, env = command_of(Model(command), port, tmp_path)
        here = ["sh", "-c", 'cd "$0" && exec "$@"', str(tmp_path), *words]
        with (
            Child(here, log=tmp_path / "log", env=env) as child,
            Program([tmp_path / "client.py"], env) as client,
        ):
            served = Watched(child, port, tmp_path)
            served.wait_ready()

            def send(task: str, count: int, argument: str) -> None:
                client.say(f"{task} {count} {argument}")
                assert "sent" == client.read_line()

            def page() -> dict[str, float]:
                return shown(served.get("/metrics")[1])

            send("tasks order", ORDERS, "tea")
            wait_until(lambda: page() == truth(ORDERS), PATIENCE)
            assert truth(ORDERS) == page(), child.last_words()

            def own_pages() -> list[Path]:
                send("pages show", 4, str(shows))
                return [path for path in shows.iterdir() if not path.suffix]

            assert wait_until(lambda: len(own_pages()) >= 2, PATIENCE), child.last_words()
            for path in own_pages():
                assert truth(ORDERS) == shown(path.read_text()), path
            client.finish()


def test_every_section_is_tried() -> None:
    """No framework on the page is forgotten here."""
    assert [*WEB, *QUEUES] == list(FRAMEWORKS)
