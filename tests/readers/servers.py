"""What Debian has to read, or to be read by: each on a free port of loopback, its data in a folder.

A test of one that isn't installed is skipped.
"""

from __future__ import annotations

import json
import shutil
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Self

import pytest
from examples.rig.processes import Child, wait_until
from tests.servers.driver import free_port

PATIENCE = 40.0  # seconds


def need(program: str) -> str:
    """The path of a program of Debian's package of the same name."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"no `{program}` program on PATH (Debian: apt-get install {program})")
    return path


def get(url: str, timeout: float = 10.0) -> str:
    with urllib.request.urlopen(url, timeout=timeout) as response:
        return str(response.read().decode())


class Server(Child):
    """One that answers HTTP; `with` waits until it does."""

    program: str
    ready: str

    def __init__(self, folder: Path, *arguments: str, listen: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [need(self.program), *arguments, f"{listen}=127.0.0.1:{port}"]
        super().__init__(command, log=folder / f"{self.program}.log")

    def __enter__(self) -> Self:
        assert wait_until(self._answers, PATIENCE), self.last_words()
        return self

    def _answers(self) -> bool:
        assert self.is_running(), self.last_words()
        try:
            return bool(get(self.url + self.ready, timeout=2.0))
        except OSError:
            return False


class Pushgateway(Server):
    """Keeps what is pushed in its memory."""

    program = "prometheus-pushgateway"
    ready = "/-/ready"

    def __init__(self, folder: Path) -> None:
        # Debian's default is a file that is the same for all.
        super().__init__(folder, "--persistence.file=", listen="--web.listen-address")

    def page(self) -> str:
        return get(self.url + "/metrics")


class NodeExporter(Server):
    """Shows the .prom files of the folder, and nothing of the machine."""

    program = "prometheus-node-exporter"
    ready = "/"

    def __init__(self, folder: Path) -> None:
        only = ["--collector.disable-defaults", "--collector.textfile"]
        super().__init__(
            folder,
            *only,
            f"--collector.textfile.directory={folder}",
            listen="--web.listen-address",
        )

    def page(self) -> str:
        return get(self.url + "/metrics")


class VictoriaMetrics(Server):
    """Scrapes one address each second."""

    program = "victoria-metrics"
    ready = "/health"

    def __init__(self, folder: Path, target: str) -> None:
        configuration = folder / "scrape.yml"
        configuration.write_text(
            "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
            "scrape_configs:\n"
            "- job_name: crew\n"
            f"  static_configs: [{{targets: ['{target}']}}]\n"
        )
        super().__init__(
            folder,
            f"-storageDataPath={folder / 'data'}",
            f"-promscrape.config={configuration}",
            "-search.latencyOffset=0s",  # else what is younger than 30 s is hidden
            listen="-httpListenAddr",
        )

    def ask(self, query: str) -> list[tuple[dict[str, str], float]]:
        """The series that answer a query now, each with its labels."""
        get(self.url + "/internal/force_flush")  # else what is new is seen after 10 s
        arguments = urllib.parse.urlencode({"query": query})
        answer = json.loads(get(f"{self.url}/api/v1/query?{arguments}"))
        return [
            (series["metric"], float(series["value"][1])) for series in answer["data"]["result"]
        ]
