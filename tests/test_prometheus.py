"""A real Prometheus scrapes the shop under load, and its answers to PromQL are the truth."""

import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
sys.path.insert(0, str(EXAMPLES))

from rig import page  # noqa: E402
from rig.load import Load  # noqa: E402
from rig.processes import wait_until  # noqa: E402
from rig.prometheus import LATENCY_90, ORDER_RATE, Prometheus, find_prometheus  # noqa: E402
from rig.server import Server  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

NEAR = 0.4  # rate() looks at another 5 s than we do, by up to a scrape at each end

# What PromQL must answer once the load has stopped, and which of our samples it adds up.
TOTALS = {
    "sum(shop_orders_total)": "shop_orders_total",
    "sum(shop_errors_total)": "shop_errors_total",
    "shop_revenue_euros_total": "shop_revenue_euros_total",
    "shop_basket_pieces_count": "shop_basket_pieces_count",
    "shop_basket_pieces_sum": "shop_basket_pieces_sum",
    "sum(shop_request_seconds_count)": "shop_request_seconds_count",
    'sum(shop_request_seconds_bucket{le="+Inf"})': "shop_request_seconds_count",
    "sum(shop_stock_pieces)": "shop_stock_pieces",
}

# One query each: resets() drops the name, and two series of the same labels would be an error.
GOES_UP = ("shop_orders_total", "shop_revenue_euros_total", "shop_request_seconds_bucket")


@dataclass(frozen=True)
class Observed:
    """What Prometheus said of one run of the shop, and what was true."""

    up: float | None
    order_rate: float | None
    true_order_rate: float
    latency_90: float | None
    resets: dict[str, float | None]
    totals: dict[str, float | None]
    true_totals: dict[str, float]
    page: str


def orders(load: Load) -> float:
    return page.total(load.truth.answered(), "shop_orders_total")


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Observed:
    """One run: four workers, load and a Prometheus, all of them ended before the tests look."""
    program = find_prometheus()
    if program is None:
        pytest.skip("no `prometheus` program on PATH (Debian: apt-get install prometheus)")
    folder = tmp_path_factory.mktemp("prometheus")
    with ExitStack() as everything:
        server = everything.enter_context(Server(folder))
        server.wait_ready()
        prometheus = everything.enter_context(Prometheus(program, server.address, folder))
        prometheus.wait_ready()
        load = Load(server.address)
        load.start()
        everything.callback(load.stop)

        # rate() over [5s] is about the truth only once it has seen 5 scrapes; then 5 s of both.
        scrapes = "count_over_time(shop_revenue_euros_total[5s])"
        wait_until(lambda: (prometheus.ask(scrapes) or 0) >= 5, 20, every=0.2)
        for _ in range(4):  # a scrape that comes late, or not at all, is the machine's
            began, before = time.monotonic(), orders(load)
            time.sleep(5)
            true_rate = (orders(load) - before) / (time.monotonic() - began)
            rate, latency = (prometheus.ask(query) for query in (ORDER_RATE, LATENCY_90))
            if latency is not None and rate == pytest.approx(true_rate, rel=NEAR):
                break

        load.stop()
        assert [] == load.problems
        truth = load.truth.at_rest()
        true_totals = {query: page.total(truth, name) for query, name in TOTALS.items()}
        return Observed(
            up=prometheus.wait_for("up", 1.0, 20),
            order_rate=rate,
            true_order_rate=true_rate,
            latency_90=latency,
            # The next scrape is at most a second away, and each of these waits for it.
            totals={query: prometheus.wait_for(query, true_totals[query], 20) for query in TOTALS},
            true_totals=true_totals,
            resets={name: prometheus.ask(f"sum(resets({name}[1m]))") for name in GOES_UP},
            page=server.scrape().text,
        )


def test_prometheus_reads_the_page(observed: Observed) -> None:
    """Prometheus scrapes the shop and finds nothing wrong with its page: `up` is 1."""
    assert 1.0 == observed.up


def test_rate_is_about_the_truth(observed: Observed) -> None:
    """`rate()` of the orders is the orders per second that the visitors made."""
    assert observed.true_order_rate > 0
    assert observed.order_rate == pytest.approx(observed.true_order_rate, rel=NEAR)


def test_quantile_lies_in_the_buckets(observed: Observed) -> None:
    """`histogram_quantile` over all workers answers with a time within the buckets."""
    assert observed.latency_90 is not None
    assert 0 < observed.latency_90 <= 1


def test_nothing_goes_backwards(observed: Observed) -> None:
    """Scrapes answered by different workers never look like a counter that began anew."""
    assert dict.fromkeys(GOES_UP, 0.0) == observed.resets


@pytest.mark.parametrize("query", TOTALS)
def test_total_is_exact(observed: Observed, query: str) -> None:
    """Once the load has stopped, what PromQL adds up is the truth to the last unit."""
    assert observed.true_totals[query] > 0
    assert observed.true_totals[query] == observed.totals[query]


def test_promtool_accepts_the_page(observed: Observed) -> None:
    """`promtool check metrics` has nothing to say about the page."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no `promtool` program on PATH (Debian: apt-get install prometheus)")
    command = [promtool, "check", "metrics"]
    checked = subprocess.run(
        command, input=observed.page, capture_output=True, text=True, timeout=20, check=False
    )
    assert (0, "") == (checked.returncode, checked.stdout + checked.stderr)
