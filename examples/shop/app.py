"""
A small shop, served by several processes that share one set of metrics.

    gunicorn -c examples/shop/gunicorn.conf.py
    curl -X POST 'http://127.0.0.1:8000/order?product=tea&pieces=2&amount=4.50'
    curl http://127.0.0.1:8000/metrics

A plain WSGI application, without a framework. Whichever worker answers /metrics, the page shows
what all of them did. Nothing here, nor in gunicorn's configuration, had to be written for that: the
metrics are declared and used as in a program of one process.
"""

import os
import random
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from mpmetrics import REGISTRY, Counter, Enum, Gauge, Histogram, Info, Summary, make_wsgi_app

ORDERS = Counter("shop_orders", "Orders, by what became of them.", ["product", "outcome"])
REVENUE = Counter("shop_revenue_euros", "What was paid for the orders that were sold.")
BASKET = Summary("shop_basket_pieces", "Pieces in each order that was sold.")
ERRORS = Counter("shop_errors", "Requests that were answered by an error.", ["kind"])
LATENCY = Histogram(
    "shop_request_seconds",
    "Time to answer a request.",
    ["route"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
)
# A gauge without a mode: one value for all processes, and the last writer wins.
STOCK = Gauge("shop_stock_pieces", "Pieces on the shelf when they were last counted.", ["product"])
STATE = Enum("shop_state", "Whether the shop is open.", states=["open", "closed"])
INFO = Info("shop", "The program that serves the shop.")

PRODUCTS = ("tea", "coffee", "cake")
CARD_LIMIT = 100.0

# Set once, in the master: its workers inherit the metrics, and add to them.
INFO.info({"version": "1.0"})
STATE.state("open")
# A series that is shown as 0 before its first order lets rate() see that order.
for _product in PRODUCTS:
    for _outcome in ("sold", "refused"):
        ORDERS.labels(_product, _outcome)

Query = dict[str, str]


class Problem(Exception):
    """An answer other than 200: the kind is a label value, so there are only a few of them."""

    def __init__(self, status: str, kind: str) -> None:
        super().__init__(kind)
        self.status = status
        self.kind = kind


def known(product: str) -> str:
    """The product, if we sell it. What a visitor typed must never become a label value unseen."""
    if product not in PRODUCTS:
        raise Problem("404 Not Found", "unknown_product")
    return product


def order(rest: str, query: Query) -> str:
    product = known(query["product"])
    pieces, amount = int(query["pieces"]), float(query["amount"])
    if not (pieces > 0 and amount >= 0):  # so written that a NaN is none either
        raise ValueError("no such order")
    if amount > CARD_LIMIT:
        ORDERS.labels(product, "refused").inc()
        raise Problem("402 Payment Required", "card_limit")
    ORDERS.labels(product, "sold").inc()
    REVENUE.inc(amount)
    BASKET.observe(pieces)
    return f"{pieces} of {product} sold"


def show(rest: str, query: Query) -> str:
    return f"a page about {known(rest)}"


def count_stock(rest: str, query: Query) -> str:
    product = known(rest)
    STOCK.labels(product).set(int(query["pieces"]))
    return f"{product} counted"


def close(rest: str, query: Query) -> str:
    STATE.state("closed")
    return "closed"


def fail(rest: str, query: Query) -> str:
    raise Problem("500 Internal Server Error", "till_jammed")


ROUTES: dict[tuple[str, str], Callable[[str, Query], str]] = {
    ("POST", "/order"): order,
    ("GET", "/product"): show,
    ("POST", "/stock"): count_stock,
    ("POST", "/close"): close,
    ("GET", "/fail"): fail,
}


def answer(method: str, path: str, query: Query) -> tuple[str, str]:
    """The status and the text for one request, counted and timed before they are sent."""
    route, _, rest = path[1:].partition("/")
    handler = ROUTES.get((method, "/" + route))
    with LATENCY.labels("/" + route if handler else "other").time():
        time.sleep(random.expovariate(500))  # stands for the database
        try:
            if handler is None:
                raise Problem("404 Not Found", "unknown_route")
            return "200 OK", handler(rest, query)
        except Problem as problem:
            ERRORS.labels(problem.kind).inc()
            return problem.status, problem.kind
        except (KeyError, ValueError):
            ERRORS.labels("bad_request").inc()
            return "400 Bad Request", "bad_request"


serve_metrics: Callable[..., Iterable[bytes]] = make_wsgi_app(REGISTRY)


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The WSGI application. Every answer says which worker gave it."""

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        return start_response(status, [*headers, ("X-Worker-Pid", str(os.getpid()))], exc_info)

    path = environ["PATH_INFO"]
    if path == "/metrics":
        return serve_metrics(environ, start)
    query = {name: values[-1] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    status, text = answer(environ["REQUEST_METHOD"], path, query)
    body = (text + "\n").encode()
    start(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
