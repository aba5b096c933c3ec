"""A Prometheus on loopback that scrapes the shop each second, and answers PromQL."""

import json
import math
import shutil
import textwrap
import threading
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from .processes import Child, free_port, wait_for, wait_until

ORDER_RATE = "sum(rate(shop_orders_total[5s]))"
LATENCY_90 = "histogram_quantile(0.9, sum by (le) (rate(shop_request_seconds_bucket[5s])))"


def find_prometheus() -> str | None:
    """The path of the `prometheus` program, if there is one."""
    return shutil.which("prometheus")


class Prometheus(Child):
    """
    Its own data folder, its own port, never another interface than loopback.

    A first sample can be queried 5 to 6 seconds after the start: it looks for targets every 5 s.
    """

    def __init__(self, program: str, target: tuple[str, int], folder: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        configuration = folder / "prometheus.yml"
        configuration.write_text(
            textwrap.dedent(f"""\
                global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
                scrape_configs:
                - job_name: shop
                  static_configs: [{{targets: ['{target[0]}:{target[1]}']}}]
                """)
        )
        command = [program, f"--config.file={configuration}"]
        command += [f"--storage.tsdb.path={folder / 'prometheus-data'}"]
        # Without it Prometheus listens on all interfaces.
        command += [f"--web.listen-address={self.url.removeprefix('http://')}"]
        super().__init__(command, log=folder / "prometheus.log")

    def wait_ready(self, seconds: float = 30.0, stop: threading.Event | None = None) -> None:
        """Returns once it answers; RuntimeError, with what it wrote, if it doesn't."""

        def answers() -> bool:
            if not self.is_running():
                raise RuntimeError(f"prometheus has ended:\n{self.last_words()}")
            try:
                with urllib.request.urlopen(self.url + "/-/ready", timeout=1):
                    return True
            except OSError:
                return False

        if not wait_until(answers, seconds, stop=stop):
            raise RuntimeError(f"no answer from prometheus in {seconds} s:\n{self.last_words()}")

    def ask(self, query: str) -> float | None:
        """The answer to a query of one number; None if there is none (yet)."""
        url = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                result = json.load(response)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"prometheus refused {query}: {error.read().decode()}") from error
        except OSError:
            return None
        value = float(result[0]["value"][1]) if result else math.nan
        return None if math.isnan(value) else value

    def wait_for(self, query: str, value: float, seconds: float = 10.0) -> float | None:
        """The answer, once it is `value`, or else the last one after `seconds`."""
        return wait_for(lambda: self.ask(query), value, seconds, every=0.2)
