"""Every endpoint that prometheus_client has shows what all processes counted, and so does ours."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.conftest import METHODS
from tests.programs import Program, environment
from tests.readers.expected import expected, shown
from tests.sharing import WARNING

pytestmark = pytest.mark.slow

WAYS = ("ours", "theirs", "wsgi", "asgi", "django", "aiohttp", "twisted")
TLS_WAYS = ("ours TLS", "theirs TLS")
FORMATS = {
    "text": "text/plain;version=0.0.4",
    "openmetrics": "application/openmetrics-text;version=1.0.0",
}


@dataclass(frozen=True)
class Certificates:
    """One authority, and what it has signed; a stranger's is signed by himself."""

    folder: Path

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def make(self, name: str, *more: str) -> None:
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
        files = ["-out", self.path(f"{name}.pem"), "-keyout", self.path(f"{name}.key")]
        subprocess.run(
            [*command.split(), "-days", "2", "-subj", f"/CN={name}", *files, *more],
            check=True,
            capture_output=True,
            timeout=20,
        )

    def client(self, name: str | None = None) -> ssl.SSLContext:
        """Who trusts the authority, and shows this certificate."""
        context = ssl.create_default_context(cafile=self.path("authority.pem"))
        if name is not None:
            context.load_cert_chain(self.path(f"{name}.pem"), self.path(f"{name}.key"))
        return context


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if not shutil.which("openssl"):
        pytest.skip("no `openssl` program on PATH (Debian: apt-get install openssl)")
    made = Certificates(tmp_path_factory.mktemp("tls"))
    # Python 3.13 wants to see that it may sign.
    made.make("authority", "-addext", "keyUsage=critical,keyCertSign")
    signed = ["-CA", made.path("authority.pem"), "-CAkey", made.path("authority.key")]
    signed += ["-addext", "basicConstraints=critical,CA:FALSE"]
    made.make("server", *signed, "-addext", "subjectAltName=IP:127.0.0.1")
    made.make("prometheus", *signed)
    made.make("stranger")
    return made


@dataclass
class Serving:
    """The program, and the pages of each way and registry: of two workers, then of all."""

    ports: dict[str, dict[str, int] | str]
    certificates: Certificates
    before: dict[tuple[str, str, str], str]
    after: dict[tuple[str, str, str], str]
    filtered: dict[tuple[str, str], str]

    def get(
        self, way: str, which: str, query: str = "", format: str = "text", shows: str = "prometheus"
    ) -> str:
        ports = self.ports[way]
        assert isinstance(ports, dict)
        tls = way in TLS_WAYS
        url = f"http{'s' if tls else ''}://127.0.0.1:{ports[which]}/metrics{query}"
        request = urllib.request.Request(url, headers={"Accept": FORMATS[format]})
        context = self.certificates.client(shows) if tls else None
        with urllib.request.urlopen(request, timeout=10, context=context) as response:
            return str(response.read().decode())

    def everything(self) -> dict[tuple[str, str, str], str]:
        return {
            (way, which, format): self.get(way, which, format=format)
            for way, ports in self.ports.items()
            if isinstance(ports, dict)
            for which in ports
            for format in FORMATS
        }

    def need(self, way: str) -> None:
        missing = self.ports[way]
        if isinstance(missing, str):
            pytest.skip(f"{missing} isn't installed: pip install '.[servers,frameworks]'")


@pytest.fixture(scope="module", params=METHODS)
def serving(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[Serving]:
    """One program for each way to make its processes."""
    files = [certificates.path(name) for name in ("server.pem", "server.key", "authority.pem")]
    command = ["-m", "tests.readers.serving", str(request.param), *files]
    with Program(command, environment()) as program:
        ports = json.loads(program.read_line())
        served = Serving(ports, certificates, {}, {}, {})
        # First: no scrape has shown yet what only others declared.
        served.filtered = {
            (way, which): served.get(way, which, "?name[]=crew_late_total")
            for way in ports
            if isinstance(ports[way], dict)
            for which in ports[way]
        }
        served.before = served.everything()
        program.say("")
        assert "counted" == program.read_line()
        served.after = served.everything()
        yield served
        said = program.finish().splitlines()
        assert [] == [line for line in said if not line.startswith(WARNING)]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("which", ["default", "named"])
@pytest.mark.parametrize("way", [*WAYS, *TLS_WAYS])
def test_merged(serving: Serving, way: str, which: str, format: str) -> None:
    """Two processes' totals, and once a third has counted those of all three."""
    serving.need(way)

    assert expected(which, 2) == shown(serving.before[way, which, format])
    assert expected(which, 3) == shown(serving.after[way, which, format])


# prometheus_client's Django view takes the one name for a list of letters (0.26.0).
@pytest.mark.parametrize("which", ["default", "named"])
@pytest.mark.parametrize("way", [way for way in (*WAYS, *TLS_WAYS) if way != "django"])
def test_filtered(serving: Serving, way: str, which: str) -> None:
    """`name[]` finds what only other processes declared."""
    serving.need(way)
    value = expected(which, 2)["crew_late_total"]

    assert {"crew_late_total": value} == shown(serving.filtered[way, which])


@pytest.mark.parametrize("shows", [None, "stranger"])
@pytest.mark.parametrize("way", TLS_WAYS)
def test_refused(serving: Serving, way: str, shows: str | None) -> None:
    """Who shows no certificate, or one that the authority hasn't signed, is served nothing."""
    with pytest.raises(OSError):  # an alert, an end or a reset: that is a race
        serving.get(way, "default", shows=shows)
