"""
Serve the shop from several processes, load it, and hold every scrape against the truth.

    python examples/demo.py [--seconds N] [--workers 4] [--port 0] [--kill]

The load generator knows what it was answered, so it knows what the metrics must say. While it
runs, each line shows one worker's page beside the truth; a page that says less than was answered,
or more than was sent, is an error. At the end, which is Ctrl-C without `--seconds`, all workers are
scraped at rest and each page must equal the truth, sample for sample. The last line is the verdict,
the exit status is 1 if it is a bad one.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from http.client import HTTPException
from pathlib import Path

from rig import page
from rig.load import Load, close_shop
from rig.processes import Stopped
from rig.prometheus import LATENCY_90, ORDER_RATE, Prometheus, find_prometheus
from rig.server import Server

KILL_EVERY = 3  # seconds
QUERY_EVERY = 3  # seconds
SHOW_DIFFERENCES = 12


def say(text: str) -> None:
    print(text, flush=True)


def totals(values: page.Values) -> str:
    """The three numbers that a line shows."""
    orders = page.total(values, "shop_orders_total")
    errors = page.total(values, "shop_errors_total")
    revenue = values.get("shop_revenue_euros_total", 0.0)
    return f"{orders:,.0f} orders, {revenue:,.2f} revenue, {errors:,.0f} errors"


def watch(server: Server, load: Load, second: int) -> list[str]:
    """One scrape under load, beside the truth; what is wrong with it."""
    answered = load.truth.answered()
    scrape = server.scrape()
    sent = load.truth.sent()
    wrong = page.out_of_bounds(scrape.values, answered, sent)
    say(
        f"{second:4} s  worker {scrape.worker} says {totals(scrape.values)};"
        f" true {totals(answered)}; {load.truth.in_flight} in flight"
    )
    return wrong


def kill_a_worker(server: Server, load: Load) -> None:
    """SIGKILL the worker that answers next, while it has nothing else to do."""
    # Were a request in flight, nobody could know whether it was counted: the truth would be lost.
    with load.silence() as is_silent:
        if not is_silent:
            load.problems.append("the visitors didn't pause")
        else:
            victim = server.scrape().worker
            os.kill(victim, signal.SIGKILL)
            say(f"        worker {victim} killed")


def query(prometheus: Prometheus) -> None:
    """Print what Prometheus makes of the metrics, as soon as it has something to say."""
    up, rate, latency = (prometheus.ask(q) for q in ("up", ORDER_RATE, LATENCY_90))
    if up is not None and rate is not None and latency is not None:
        say(
            f"        prometheus: up {up:.0f}; {rate:.1f} orders/s by {ORDER_RATE};"
            f" 90 % within {1000 * latency:.1f} ms"
        )


def run(
    server: Server,
    load: Load,
    prometheus: Prometheus | None,
    options: argparse.Namespace,
    stop: threading.Event,
) -> list[str]:
    """Watch the load until the time is over or somebody stops us; what was wrong."""
    wrong: list[str] = []
    began = time.monotonic()
    second = 0
    while not wrong and not load.problems:
        second += 1
        if options.seconds is not None and second > options.seconds:
            break
        if stop.wait(max(0.0, began + second - time.monotonic())):
            break
        wrong += watch(server, load, second)
        if options.kill and second % KILL_EVERY == 0:
            kill_a_worker(server, load)
        if prometheus is not None and second % QUERY_EVERY == 0:
            query(prometheus)
    return wrong


def judge(server: Server, load: Load, prometheus: Prometheus | None) -> tuple[list[str], str]:
    """Everything at rest: what is wrong, and in a few words what was compared."""
    load.ask(close_shop())
    if load.problems:
        return load.problems, ""
    truth = load.truth.at_rest()
    scrapes = server.scrape_all()
    wrong = sorted({d for scrape in scrapes for d in page.differences(scrape.values, truth)})
    workers = len({scrape.worker for scrape in scrapes})
    if workers < server.workers:
        wrong.append(f"only {workers} of {server.workers} workers answered {len(scrapes)} scrapes")
    if prometheus is not None:
        query(prometheus)
        orders = page.total(truth, "shop_orders_total")
        answer = prometheus.wait_for("sum(shop_orders_total)", orders)
        say(f"        prometheus: sum(shop_orders_total) is {answer}")
        if answer != orders:
            wrong.append(f"prometheus says {answer} orders, true is {orders}")
    return wrong, f"{totals(truth)} equal in {len(scrapes)} scrapes of {workers} workers"


def demonstrate(options: argparse.Namespace, stop: threading.Event) -> int:
    """The whole demo, and its exit status; everything that was started is ended by then."""
    with ExitStack() as everything:
        folder = Path(tempfile.mkdtemp(prefix="mpmetrics-demo-"))
        everything.callback(shutil.rmtree, folder, ignore_errors=True)
        server = everything.enter_context(
            Server(folder, workers=options.workers, port=options.port)
        )
        server.wait_ready(stop=stop)
        say(f"the shop, {options.workers} workers: {server.url}/metrics")
        prometheus = None
        program = find_prometheus() if options.prometheus else None
        if program is not None:
            prometheus = everything.enter_context(Prometheus(program, server.address, folder))
            prometheus.wait_ready(stop=stop)
            say(f"prometheus, first answers after 6 s: {prometheus.url}/graph")

        load = Load(server.address, rate=options.rate, seed=time.time_ns())
        load.start()
        everything.callback(load.stop)
        wrong = run(server, load, prometheus, options, stop)
        load.stop()
        more, compared = judge(server, load, prometheus)
    wrong += more
    for line in wrong[1:SHOW_DIFFERENCES]:
        say(line)
    say(f"DIFFERENT: {wrong[0]}" if wrong else f"exact: {compared}")
    return 1 if wrong else 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Serve a shop from several processes and compare its metrics with the truth."
    )
    parser.add_argument("--seconds", type=int, help="end after so many; without it, at Ctrl-C")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument(
        "--kill", action="store_true", help=f"kill an idle worker every {KILL_EVERY} seconds"
    )
    parser.add_argument(
        "--no-prometheus", dest="prometheus", action="store_false", help="even if it is installed"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    stop = threading.Event()
    # A handler that only sets a flag: an exception could strike while a program is being started
    # or ended, and leave it behind. All that follows the flag is bounded.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        return demonstrate(options, stop)
    except Stopped:
        return 130
    except (RuntimeError, OSError, ValueError, HTTPException) as error:
        headline, _, details = (str(error) or repr(error)).partition("\n")
        if details:
            say(details)
        say(f"FAILED: {headline}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
