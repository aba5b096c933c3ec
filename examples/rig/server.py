"""gunicorn with the shop, and scrapes of its /metrics that say which worker answered."""

import http.client
import os
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from . import page
from .processes import Child, wait_until

CONFIGURATION = Path(__file__).resolve().parent.parent / "shop" / "gunicorn.conf.py"


@dataclass(frozen=True)
class Scrape:
    """One page, and the worker that answered it."""

    worker: int
    text: str

    @property
    def values(self) -> dict[page.Sample, float]:
        return page.read(self.text)


class Server(Child):
    """gunicorn with the shop, on a loopback port that is ours before it starts."""

    def __init__(self, folder: Path, *, workers: int = 4, port: int = 0) -> None:
        self.workers = workers
        environment = {
            # A store that goes on, or gunicorn options of the user's, would spoil the comparison.
            key: value
            for key, value in os.environ.items()
            if key not in ("MPMETRICS_STORE", "MPMETRICS_PERSIST", "GUNICORN_CMD_ARGS")
        }
        # Handed over as a descriptor: no other program can take the port in between, and who
        # connects early waits in the queue.
        with socket.create_server(("127.0.0.1", port)) as listener:
            self.address: tuple[str, int] = listener.getsockname()[:2]
            command = [sys.executable, "-m", "gunicorn", "-c", str(CONFIGURATION)]
            command += ["--bind", f"fd://{listener.fileno()}", "--workers", str(workers)]
            super().__init__(
                command,
                log=folder / "gunicorn.log",
                env=environment,
                pass_fds=[listener.fileno()],
            )

    @property
    def url(self) -> str:
        return f"http://{self.address[0]}:{self.address[1]}"

    def wait_ready(self, seconds: float = 20.0, stop: threading.Event | None = None) -> None:
        """Returns once the shop answers; RuntimeError, with what gunicorn wrote, if it doesn't."""

        def answers() -> bool:
            if not self.is_running():
                raise RuntimeError(f"gunicorn has ended:\n{self.last_words()}")
            try:
                return self.scrape(timeout=1.0) is not None
            except (OSError, http.client.HTTPException):
                return False

        if not wait_until(answers, seconds, stop=stop):
            raise RuntimeError(f"no answer from gunicorn in {seconds} s:\n{self.last_words()}")

    def scrape(self, timeout: float = 10.0) -> Scrape:
        """/metrics, over a new connection: whichever worker takes it."""
        connection = http.client.HTTPConnection(*self.address, timeout=timeout)
        try:
            connection.request("GET", "/metrics")
            response = connection.getresponse()
            text = response.read().decode()
            if response.status != 200:
                raise RuntimeError(f"/metrics was answered {response.status}: {text[:500]}")
            return Scrape(int(response.headers["X-Worker-Pid"]), text)
        finally:
            connection.close()

    def scrape_all(self, at_least: int = 20, seconds: float = 15.0) -> list[Scrape]:
        """Scrapes, until every worker has answered one or `seconds` are over."""
        scrapes: list[Scrape] = []

        # Many at once: of workers that are all idle, the kernel always wakes the same one.
        with ThreadPoolExecutor(2 * self.workers) as pool:

            def everybody_answered() -> bool:
                scrapes.extend(pool.map(lambda _: self.scrape(), range(2 * self.workers)))
                return len(scrapes) >= at_least and len({s.worker for s in scrapes}) >= self.workers

            wait_until(everybody_answered, seconds, every=0.01)
        return scrapes
